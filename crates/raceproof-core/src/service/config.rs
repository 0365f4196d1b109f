//! How long a failure is remembered.

use std::time::Duration;

/// Waits that double from `first` to `max`.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Backoff {
    /// The wait after the first failure.
    pub first: Duration,
    /// The longest wait.
    pub max: Duration,
}

impl Backoff {
    /// The wait after so many failures in a row; zero after none.
    #[must_use]
    pub fn after(&self, failures: u32) -> Duration {
        let Some(doublings) = failures.checked_sub(1) else { return Duration::ZERO };
        let factor = 1_u32.checked_shl(doublings).unwrap_or(u32::MAX);
        self.first.saturating_mul(factor).min(self.max)
    }
}

/// What a [`Service`](super::Service) is told at the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// Callers that come this soon after a failure are refused; none lets the next caller try at once.
    pub backoff: Option<Backoff>,
    /// Callers that may wait at a time.
    pub waiters_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self { backoff: None, waiters_max: 100_000 }
    }
}
