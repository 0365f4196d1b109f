//! The limits within one process.

use crate::hub::Config;

/// How many may wait in one process, here and where the shell has them wait by itself.
pub const WAITERS_MAX: usize = 250_000;

/// One session does everything here, so that its limits are the hub's.
pub(super) fn config() -> Config {
    Config {
        waiters_max: WAITERS_MAX,
        waiters_per_session_max: WAITERS_MAX,
        waiters_per_name_max: WAITERS_MAX,
        grants_per_session_max: usize::MAX,
        ..Config::default()
    }
}
