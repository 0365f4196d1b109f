//! `[retry]`: attempts that follow a failed one.

use std::time::Duration;

use raceproof_core::resilience::retry::Config;

use crate::resilience::Retry;
use crate::resilience::retry::{Budget, Builder};

/// The section `[retry]`: what a [`Retry`] is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RetryConfig {
    /// How many attempts there are at most, the first included.
    pub attempts_max: u32,
    /// The bound of the first wait; each further one is twice the one before.
    pub delay: Duration,
    /// No bound is longer than this.
    pub delay_max: Duration,
    /// No attempt begins later than this after the first.
    pub time_max: Option<Duration>,
    /// How many retries the budget has at the start, and at most.
    pub budget: u32,
    /// How much of a retry each call adds to it.
    pub budget_percent: u32,
}

impl Default for RetryConfig {
    fn default() -> Self {
        let Config { attempts_max, delay, delay_max, time_max, .. } = Config::default();
        Self { attempts_max, delay, delay_max, time_max, budget: 10, budget_percent: 10 }
    }
}

impl RetryConfig {
    /// A retry with a budget of its own.
    pub fn builder(&self) -> Builder {
        Retry::builder()
            .attempts_max(self.attempts_max)
            .delay(self.delay)
            .delay_max(self.delay_max)
            .time_max(self.time_max)
            .budget(Budget::new(self.budget, self.budget_percent))
    }
}

section! {
    RetryConfig, "retry", "Retries: how often, how far apart, and out of which budget.";
    "attempts-max" attempts_max: u32, "how many attempts there are at most, the first included";
    "delay" delay: Duration, "the bound of the first wait; each further one is twice the one before";
    "delay-max" delay_max: Duration, "no bound is longer than this";
    "time-max" time_max: Option<Duration>, "no attempt begins later than this after the first";
    "budget" budget: u32, "how many retries all callers have together at the start, and at most";
    "budget-percent" budget_percent: u32, "how many retries a hundred calls add to it";
    check |values| {
        super::some("attempts-max", values.attempts_max == 0)?;
        super::ordered("delay", values.delay, "delay-max", values.delay_max)
    }
}
