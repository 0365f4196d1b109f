//! `locks`, `elections`, `sessions`, `release`, `store`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Client, guarded};

pub(super) const LOCKS_HELP: &str = "\
Lists locks that are held or waited for, with their holders, in the order of their names. Who leads an election is \
listed by `raceproof elections`.";

pub(super) const LOCKS_EXAMPLES: &str = "\
Examples:
  raceproof locks
  raceproof locks db/ --watch                        # names that begin with db/
  raceproof locks --json | jq '.locks[].name'

Elections have a list of their own: raceproof elections";

pub(super) const ELECTIONS_HELP: &str = "\
Lists elections that somebody leads or stands for, in the order of their names: the term, the leader, how long it has \
led, how many candidates stand behind it, and what it says of itself. --json also names the candidates, in the order \
in which they will lead.";

pub(super) const ELECTIONS_EXAMPLES: &str = "\
Examples:
  raceproof elections
  raceproof elections db/ --watch                    # names that begin with db/
  raceproof elections --json | jq -r '.elections[] | select(.election == \"primary\") | .leader.value'";

pub(super) const SESSIONS_HELP: &str = "\
Lists the clients that the server knows, each with its lease, in the order in which they came.";

pub(super) const SESSIONS_EXAMPLES: &str = "\
Examples:
  raceproof sessions
  raceproof sessions host7: --watch                  # names that begin with host7:";

/// Lists what a server has.
#[derive(Debug, Args)]
pub(crate) struct Listing {
    /// Only names that begin with this
    #[arg(default_value = "", hide_default_value = true)]
    pub prefix: String,
    /// As JSON: one object, or with --watch one a line
    #[arg(long)]
    pub json: bool,
    /// Again at every change, until interrupted
    #[arg(long)]
    pub watch: bool,
    #[command(flatten)]
    pub client: Client,
}

const RELEASE_EXAMPLES: &str = "\
Examples:
  raceproof locks                                    # who holds it
  raceproof release deploy --steal";

/// Takes a lock away.
#[derive(Debug, Args)]
#[command(after_help = RELEASE_EXAMPLES)]
pub(crate) struct Release {
    /// The lock
    #[arg(value_parser = guarded::name)]
    pub name: String,
    /// Say that you mean it: its holders are not asked, and are told that it is lost
    #[arg(long, required = true)]
    pub steal: bool,
    #[command(flatten)]
    pub client: Client,
}

/// Looks after a store.
#[derive(Debug, Args)]
pub(crate) struct Store {
    #[command(subcommand)]
    pub action: StoreAction,
}

/// What to do with a store.
#[derive(Debug, Subcommand)]
pub(crate) enum StoreAction {
    /// Verify every record of a store that no server uses
    Check {
        /// The data directory
        dir: PathBuf,
    },
}
