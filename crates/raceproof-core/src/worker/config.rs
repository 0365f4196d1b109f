//! Limits of a mailbox, and how its workers go on after a panic.

use std::time::Duration;

use crate::task::Backoff;

/// Limits of a mailbox, and how its workers go on after a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How many requests may wait; those in a worker's hands do not count. At least 1; default 64.
    pub capacity: usize,
    /// How many callers may wait for room besides. Default 1,024.
    pub patient_max: usize,
    /// How many workers there are. At least 1; default 1.
    pub workers: usize,
    /// The pauses after panics in a row. The first panic is followed by none. Default: from 10 ms to 1 s, for ever.
    pub backoff: Backoff,
}

impl Default for Config {
    fn default() -> Self {
        let backoff = Backoff {
            first: Duration::from_millis(10),
            cap: Duration::from_secs(1),
            restarts_max: u32::MAX,
            ..Backoff::default()
        };
        Self { capacity: 64, patient_max: 1_024, workers: 1, backoff }
    }
}
