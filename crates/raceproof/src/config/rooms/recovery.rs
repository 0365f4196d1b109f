//! `[recovery]`: how errors are recovered by their category.

use std::time::Duration;

use raceproof_core::resilience::recovery::{Config, Strategy};

use crate::resilience::Recovery;
use crate::resilience::recovery::Builder;

/// The section `[recovery]`: what a [`Recovery`] and its strategies are made of.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct RecoveryConfig {
    /// So many attempts in a row may fail.
    pub attempts: u32,
    /// So long between two attempts.
    pub cool_down: Duration,
    /// After so long without an attempt a category begins anew.
    pub forget_after: Duration,
    /// How many errors of a category within a minute are still not too many.
    pub alarm_per_minute: u32,
    /// How many errors are remembered.
    pub history_max: usize,
    /// How many categories are remembered.
    pub categories_max: usize,
}

impl Default for RecoveryConfig {
    fn default() -> Self {
        let Config { history_max, alarm_per_minute, categories_max, .. } = Config::default();
        let Strategy { attempts, cool_down, forget_after, .. } = Strategy::default();
        Self { attempts, cool_down, forget_after, alarm_per_minute, history_max, categories_max }
    }
}

impl RecoveryConfig {
    /// A recovery without strategies.
    pub fn builder<C: Ord + Clone + Send + Sync + 'static>(&self) -> Builder<C> {
        Recovery::builder()
            .alarm_per_minute(self.alarm_per_minute)
            .history_max(self.history_max)
            .categories_max(self.categories_max)
    }

    /// When a category is recovered.
    #[must_use]
    pub fn strategy(&self) -> Strategy {
        let mut strategy = Strategy::new(self.attempts, self.cool_down);
        strategy.forget_after = self.forget_after;
        strategy
    }
}

section! {
    RecoveryConfig, "recovery", "Recovering errors by their category.";
    "attempts" attempts: u32, "so many attempts in a row may fail";
    "cool-down" cool_down: Duration, "so long between two attempts";
    "forget-after" forget_after: Duration, "after so long without an attempt a category begins anew";
    "alarm-per-minute" alarm_per_minute: u32, "how many errors of a category within a minute are still not too many";
    "history-max" history_max: usize, "how many errors are remembered";
    "categories-max" categories_max: usize, "how many categories are remembered";
    check |values| {
        super::some("categories-max", values.categories_max == 0)
    }
}
