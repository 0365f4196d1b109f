//! How often and how far apart.

use std::time::Duration;

/// What decides about the attempts of a call.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Config {
    /// How many attempts there are at most, the first included. Default: 3.
    pub attempts_max: u32,
    /// The bound of the first wait; each further one is twice the one before. Default: 100 ms.
    pub delay: Duration,
    /// No bound is longer than this. Default: 10 s.
    pub delay_max: Duration,
    /// No attempt begins later than this after the first one. `None` for no limit. Default: 30 s.
    pub time_max: Option<Duration>,
}

impl Config {
    /// The longest that the wait after the `failed`-th failure may be. The wait is anything from zero to this.
    #[must_use]
    pub fn delay_bound(&self, failed: u32) -> Duration {
        self.delay.saturating_mul(2_u32.saturating_pow(failed.saturating_sub(1))).min(self.delay_max)
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            attempts_max: 3,
            delay: Duration::from_millis(100),
            delay_max: Duration::from_secs(10),
            time_max: Some(Duration::from_secs(30)),
        }
    }
}
