//! `[timeout]`: limits on the time that calls take.

use std::time::Duration;

use crate::resilience::Timeout;

/// The section `[timeout]`: what a [`Timeout`] is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TimeoutConfig {
    /// How long a call may take.
    pub limit: Duration,
}

impl Default for TimeoutConfig {
    fn default() -> Self {
        Self { limit: Duration::from_secs(30) }
    }
}

impl TimeoutConfig {
    /// The limit as a handle.
    #[must_use]
    pub fn timeout(&self) -> Timeout {
        Timeout::new(self.limit)
    }
}

section! {
    TimeoutConfig, "timeout", "Limits on the time that calls take.";
    "limit" limit: Duration = "timeout", "how long a call may take";
}
