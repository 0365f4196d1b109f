//! How much is remembered, and how often is too often.

use std::time::Duration;

/// How bad an error is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Severity {
    /// Worth counting.
    Low,
    /// Something did not work.
    Medium,
    /// Something does not work.
    High,
    /// Somebody has to be told at once.
    Critical,
}

/// How a category is recovered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Strategy {
    /// So many attempts in a row may fail. Default: 3.
    pub attempts: u32,
    /// So long between two attempts, also after one that recovered: an error that comes back at once is not recovered
    /// in a loop. Default: 5 s.
    pub cool_down: Duration,
    /// After so long without an attempt the category begins anew. Default: 10 minutes.
    pub forget_after: Duration,
}

impl Strategy {
    /// So many attempts in a row, so far apart.
    #[must_use]
    pub fn new(attempts: u32, cool_down: Duration) -> Self {
        Self { attempts, cool_down, ..Self::default() }
    }
}

impl Default for Strategy {
    fn default() -> Self {
        Self { attempts: 3, cool_down: Duration::from_secs(5), forget_after: Duration::from_secs(600) }
    }
}

/// What a [`Recovery`](super::Recovery) is told at the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Config {
    /// How many errors are remembered. Default: 100.
    pub history_max: usize,
    /// How many errors of a category within a minute are still not too many. Default: 10.
    pub alarm_per_minute: u32,
    /// How many categories are remembered. Default: 256.
    pub categories_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { history_max: 100, alarm_per_minute: 10, categories_max: 256 }
    }
}
