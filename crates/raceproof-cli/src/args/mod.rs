//! The command line.

mod guarded;
mod look;
mod serve;

use clap::{Args, Parser, Subcommand, ValueEnum};

pub(crate) use guarded::{ClassArg, Elect, Guarded, Lock, OnLostArg, ttl};
pub(crate) use look::{Listing, Release, Store, StoreAction};
pub(crate) use serve::{LogFormat, Serve, StoreArg};

/// Exit codes: one table for help, manual and documents.
pub(crate) const EXIT_CODES: &str = "\
Exit codes:
  0        success
  1        the operation failed
  2        wrong usage
  69       no server answers
  70       the lease was lost, or an internal error
  75       the lock was not got (lock -E changes it), or it is held by another
  78       wrong configuration
  126 127  the command cannot be executed, is not found
  128+n    ended by signal n
  A command that runs under `lock` or `elect` passes its own code on.";

const ENVIRONMENT: &str = "\
Settings come from flags, then RACEPROOF_* variables, then ./raceproof.toml, then
$XDG_CONFIG_HOME/raceproof/config.toml; `raceproof config show --origin` lists them.
  RACEPROOF_SERVER      the server, http://127.0.0.1:7117 by default
  RACEPROOF_AUTH_TOKEN  the token that the server asks for";

const EXAMPLES: &str = "\
Examples:
  raceproof serve
  raceproof lock deploy -- ./deploy.sh
  raceproof lock nightly --try -E 0 -- ./backup
  raceproof elect primary -- ./serve
  raceproof locks --watch";

/// Locks and leaders that cannot race: a server, and commands that run under its locks.
#[derive(Debug, Parser)]
#[command(
    name = "raceproof",
    version,
    long_version = crate::version::LONG,
    disable_help_subcommand = true,
    max_term_width = 100,
    after_help = EXAMPLES,
    after_long_help = format!("{EXAMPLES}\n\n{ENVIRONMENT}\n\n{EXIT_CODES}")
)]
pub(crate) struct Cli {
    /// When to colour our lines [default: auto]
    #[arg(long, global = true, value_name = "WHEN", hide_possible_values = true)]
    pub color: Option<ColorArg>,
    #[command(subcommand)]
    pub command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a server
    #[command(long_about = serve::HELP)]
    Serve(Serve),
    /// Run a command while holding locks
    #[command(long_about = guarded::LOCK_HELP)]
    Lock(Lock),
    /// Run a command while leading an election
    #[command(long_about = guarded::ELECT_HELP)]
    Elect(Elect),
    /// List locks, their holders and waiters
    #[command(long_about = look::LOCKS_HELP, after_help = look::LOCKS_EXAMPLES)]
    Locks(Listing),
    /// List elections, their leaders and candidates
    #[command(long_about = look::ELECTIONS_HELP, after_help = look::ELECTIONS_EXAMPLES)]
    Elections(Listing),
    /// List sessions
    #[command(long_about = look::SESSIONS_HELP, after_help = look::SESSIONS_EXAMPLES)]
    Sessions(Listing),
    /// Take a lock away from its holders
    Release(Release),
    /// Look after a server's store
    Store(Store),
    /// Show the settings and where they come from
    Config(Config),
    /// Check that everything works here
    Doctor(Client),
    /// Print a completion script for a shell
    Completions {
        /// bash, zsh, fish, elvish or powershell
        #[arg(hide_possible_values = true)]
        shell: clap_complete::Shell,
    },
    /// Print the manual in roff: try `raceproof man | man -l -`
    Man {
        /// The page of one command
        command: Option<String>,
    },
}

/// How to reach a server.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct Client {
    /// The server [default: http://127.0.0.1:7117]
    #[arg(long, value_name = "URL")]
    pub server: Option<String>,
    /// A file that holds the token that the server asks for
    #[arg(long, value_name = "FILE")]
    pub auth_token_file: Option<String>,
}

/// Settings.
#[derive(Debug, Args)]
pub(crate) struct Config {
    #[command(subcommand)]
    pub action: ConfigAction,
}

/// What to do with settings.
#[derive(Debug, Subcommand)]
pub(crate) enum ConfigAction {
    /// Print every setting
    Show {
        /// Also where each comes from
        #[arg(long)]
        origin: bool,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
}

/// When to colour.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum ColorArg {
    /// On a terminal that wants it
    Auto,
    /// Everywhere
    Always,
    /// Nowhere
    Never,
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use clap::CommandFactory as _;

    use raceproof::config::duration;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn durations_need_units() {
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        assert_eq!(duration("1m30s"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("0s"), Ok(Duration::ZERO));
        assert_eq!(duration("10"), Err("a unit is missing: 10s, 10ms, 10m".into()));
        assert_eq!(duration("0"), Err("a unit is missing: 10s, 250ms, 2m".into()));
        assert!(duration("fast").is_err());
    }
}
