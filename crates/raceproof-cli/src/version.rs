//! What `--version` says.

/// The version, the commit it was built from, and what was built in.
pub(crate) const LONG: &str =
    concat!(env!("CARGO_PKG_VERSION"), " (", env!("RACEPROOF_COMMIT"), "; stores: log, redb)");
