//! What is done about errors, by category, and who is told.
//!
//! Owns: how often a category fails, whether its strategy runs, how often it may, and a bounded history. Refuses to run
//! two attempts of one category at a time, and to hear of an attempt from before a [`Recovery::reset`].
//!
//! - One attempt of a category at a time, at most [`Strategy::attempts`] that fail in a row, each at least
//!   [`Strategy::cool_down`] after the last one. A category without an attempt for [`Strategy::forget_after`] begins
//!   anew.
//! - Every critical error is told at once; a category that fails more than [`Config::alarm_per_minute`] times within a
//!   minute is told once, until it failed less.

mod config;
mod rate;

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::ops::Add;
use std::sync::Arc;

pub use config::{Config, Severity, Strategy};

use self::rate::Rate;
use crate::time::Time;

/// What is done about a reported error.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Decision {
    /// Its strategy is to be run; the attempt has to be [ended](Recovery::ended).
    Recover(Attempt),
    /// An attempt of its category is under way.
    UnderWay,
    /// The last attempt of its category was too short a time ago.
    CoolingDown {
        /// When there may be another.
        until: Time,
    },
    /// As many attempts of its category failed in a row as may.
    Exhausted {
        /// When its category begins anew.
        until: Time,
    },
    /// Its category has no strategy.
    NoStrategy,
    /// There are as many categories as are remembered. The error is in the history.
    TooManyCategories,
}

/// An attempt to recover.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Attempt {
    /// The first is 1.
    pub number: u32,
    generation: u64,
}

/// How an attempt ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Ending {
    /// What it was about works again.
    Recovered,
    /// It does not.
    Failed,
}

/// An error that was reported.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Entry<C> {
    /// When.
    pub at: Time,
    /// Its category.
    pub category: C,
    /// How bad it is.
    pub severity: Severity,
    /// What it says.
    pub message: Arc<str>,
    /// What was done about it.
    pub decision: Decision,
}

/// What came of a report.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Reported {
    /// What is done about it.
    pub decision: Decision,
    /// It is critical, and somebody has to be told.
    pub notify: bool,
    /// With it its category fails too often, and somebody has to be told.
    pub alarm: bool,
    /// How often its category failed within the last minute, this time included.
    pub per_minute: u32,
}

/// What happened in a category so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Errors that were reported.
    pub reported: u64,
    /// Those of them that were critical.
    pub critical: u64,
    /// Attempts that recovered.
    pub recovered: u64,
    /// Attempts that did not.
    pub failed: u64,
    /// Times that it failed too often.
    pub alarms: u64,
}

impl Add for Counters {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            reported: self.reported + other.reported,
            critical: self.critical + other.critical,
            recovered: self.recovered + other.recovered,
            failed: self.failed + other.failed,
            alarms: self.alarms + other.alarms,
        }
    }
}

#[derive(Clone, Debug, Default)]
struct Category {
    strategy: Option<Strategy>,
    rate: Rate,
    alarmed: bool,
    under_way: Option<u64>,
    /// Attempts in a row that did not recover.
    failed: u32,
    ended_at: Option<Time>,
    counters: Counters,
}

/// The machine. See the [module](self).
#[derive(Clone, Debug)]
pub struct Recovery<C> {
    config: Config,
    categories: BTreeMap<C, Category>,
    history: VecDeque<Entry<C>>,
    generation: u64,
}

impl<C: Ord + Clone> Recovery<C> {
    /// One that knows no strategy.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self { config, categories: BTreeMap::new(), history: VecDeque::new(), generation: 0 }
    }

    /// Gives a category a strategy. Categories that have one are always remembered.
    pub fn set_strategy(&mut self, category: C, strategy: Strategy) {
        self.categories.entry(category).or_default().strategy = Some(strategy);
    }

    /// An error happened.
    pub fn report(&mut self, now: Time, category: C, severity: Severity, message: Arc<str>) -> Reported {
        let known = self.categories.contains_key(&category) || self.categories.len() < self.config.categories_max;
        let mut reported = Reported {
            decision: Decision::TooManyCategories,
            notify: severity == Severity::Critical,
            alarm: false,
            per_minute: 0,
        };
        if known {
            let state = self.categories.entry(category.clone()).or_default();
            state.counters.reported += 1;
            state.counters.critical += u64::from(severity == Severity::Critical);
            reported.per_minute = state.rate.count(now);
            reported.alarm = state.alarm(reported.per_minute > self.config.alarm_per_minute);
            reported.decision = state.decide(now, &mut self.generation);
        }
        while self.history.len() >= self.config.history_max.max(1) {
            self.history.pop_front();
        }
        self.history.push_back(Entry { at: now, category, severity, message, decision: reported.decision });
        reported
    }

    /// An attempt ended. One from before a reset is ignored; whether it was not.
    pub fn ended(&mut self, now: Time, category: &C, attempt: Attempt, ending: Ending) -> bool {
        let Some(state) = self.categories.get_mut(category) else { return false };
        if state.under_way != Some(attempt.generation) {
            return false;
        }
        state.under_way = None;
        state.ended_at = Some(now);
        match ending {
            Ending::Recovered => {
                state.failed = 0;
                state.counters.recovered += 1;
            }
            Ending::Failed => {
                state.failed = state.failed.saturating_add(1);
                state.counters.failed += 1;
            }
        }
        true
    }

    /// Lets a category begin anew: no attempt counts, and one under way is ignored when it ends.
    pub fn reset(&mut self, category: &C) {
        if let Some(state) = self.categories.get_mut(category) {
            (state.under_way, state.failed, state.ended_at) = (None, 0, None);
        }
    }

    /// The latest errors, the oldest first.
    pub fn history(&self) -> impl Iterator<Item = &Entry<C>> {
        self.history.iter()
    }

    /// Every category that is remembered, how often it failed within the last minute, and what happened in it.
    pub fn categories(&mut self, now: Time) -> impl Iterator<Item = (&C, u32, Counters)> {
        self.categories.iter_mut().map(move |(name, state)| (name, state.rate.per_minute(now), state.counters))
    }
}

impl Category {
    fn alarm(&mut self, too_often: bool) -> bool {
        let begins = too_often && !self.alarmed;
        self.alarmed = too_often;
        self.counters.alarms += u64::from(begins);
        begins
    }

    fn decide(&mut self, now: Time, generation: &mut u64) -> Decision {
        let Some(strategy) = self.strategy else { return Decision::NoStrategy };
        if self.under_way.is_some() {
            return Decision::UnderWay;
        }
        if let Some(ended_at) = self.ended_at {
            let (cool_at, anew_at) = (ended_at + strategy.cool_down, ended_at + strategy.forget_after);
            if now >= anew_at {
                self.failed = 0;
            } else if self.failed >= strategy.attempts.max(1) {
                return Decision::Exhausted { until: anew_at };
            }
            if now < cool_at {
                return Decision::CoolingDown { until: cool_at };
            }
        }
        *generation += 1;
        self.under_way = Some(*generation);
        Decision::Recover(Attempt { number: self.failed + 1, generation: *generation })
    }
}
