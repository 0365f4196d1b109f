//! `locks`, `sessions`, `release`, `store`.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::{Client, guarded};

/// Lists what a server has.
#[derive(Debug, Args)]
pub(crate) struct Listing {
    /// Only names that start so
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

/// Takes a lock away.
#[derive(Debug, Args)]
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
