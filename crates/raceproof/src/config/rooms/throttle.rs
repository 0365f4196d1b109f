//! `[throttle]`: calls that are so far apart.

use std::time::Duration;

use crate::resilience::Throttle;

/// The section `[throttle]`: what a [`Throttle`] is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ThrottleConfig {
    /// How far apart calls begin.
    pub every: Duration,
    /// How many calls may wait.
    pub waiting_max: usize,
}

impl Default for ThrottleConfig {
    fn default() -> Self {
        Self { every: Duration::from_secs(1), waiting_max: 1_024 }
    }
}

impl ThrottleConfig {
    /// A throttle.
    #[must_use]
    pub fn throttle(&self) -> Throttle {
        Throttle::with_waiting_max(self.every, self.waiting_max)
    }
}

section! {
    ThrottleConfig, "throttle", "Throttles: calls begin at least so far apart.";
    "every" every: Duration, "how far apart calls begin";
    "waiting-max" waiting_max: usize = "waiters-max", "how many calls may wait";
    check |values| {
        super::some("every", values.every.is_zero())
    }
}
