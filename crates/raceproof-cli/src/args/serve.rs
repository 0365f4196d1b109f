//! `serve`.

use clap::{Args, ValueEnum};

pub(super) const HELP: &str = "\
Runs a server until SIGTERM or SIGINT. It prints its address, its data directory and the link of its dashboard. \
A non-loopback address without --auth-token-file is refused unless --insecure is said.";

const EXAMPLES: &str = "\
Examples:
  raceproof serve
  raceproof serve --listen 0.0.0.0:7117 --auth-token-file /etc/raceproof/token
  raceproof serve --listen 127.0.0.1:0               # a free port, which it prints";

/// Runs a server.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Serve {
    /// Where to listen; port 0 takes a free one [default: 127.0.0.1:7117]
    #[arg(long, value_name = "ADDRESS")]
    pub listen: Option<String>,
    /// Where to keep the store [default: $XDG_STATE_HOME/raceproof]
    #[arg(long, value_name = "DIR")]
    pub data: Option<String>,
    /// Ask for a token: one a line in this file, any of them is good
    #[arg(long, value_name = "FILE")]
    pub auth_token_file: Option<String>,
    /// Let pages of this origin call; may be repeated
    #[arg(long, value_name = "ORIGIN")]
    pub allow_origin: Vec<String>,
    /// A name that this machine is called by in links to a loopback server; may be repeated
    #[arg(long, value_name = "HOST")]
    pub allow_host: Vec<String>,
    /// Accept a non-loopback address without a token
    #[arg(long)]
    pub insecure: bool,
    /// `text` or `json` [default: text]
    #[arg(long, value_name = "FORMAT", value_enum, hide_possible_values = true)]
    pub log_format: Option<LogFormat>,
    /// What keeps the store: `log` or `redb` [default: what is there, else log]
    #[arg(long, value_name = "KIND", value_enum, hide_possible_values = true)]
    pub store: Option<StoreArg>,
}

/// How log lines look.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum LogFormat {
    /// For people
    Text,
    /// One JSON object a line
    Json,
}

/// What keeps a store.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum StoreArg {
    /// An append log with snapshots
    Log,
    /// A redb database
    Redb,
}

impl From<StoreArg> for raceproof::store::Kind {
    fn from(kind: StoreArg) -> Self {
        match kind {
            StoreArg::Log => Self::Log,
            StoreArg::Redb => Self::Redb,
        }
    }
}
