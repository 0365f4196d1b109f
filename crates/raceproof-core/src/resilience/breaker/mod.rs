//! A circuit breaker: stops calling what fails, and probes it before it is trusted again.
//!
//! Owns: whether a call is admitted, what its result means, and when the state changes. Refuses to know how long a
//! call takes, and to hear a verdict from a call of an earlier generation.
//!
//! - P1: half-open admits exactly [`Config::probes`] calls; a probe that ends without a verdict, or has none after
//!   [`Config::probe_timeout`], frees its place. Every change of state begins a generation, and a result of an older
//!   one is ignored, whether it is a success or a failure.

mod config;
mod error;
mod window;

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub use config::{Config, Threshold, Window};
pub use error::Refused;

use self::window::Counts;
use crate::time::Time;

/// What a breaker does with calls.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// Admits all.
    Closed,
    /// Refuses all until its period is over, or until somebody closes it.
    Open,
    /// Admits probes.
    HalfOpen,
}

/// One period in one state. Results are counted in the generation that admitted their call.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Generation(u64);

impl Generation {
    /// The generation with this number.
    #[must_use]
    pub const fn new(number: u64) -> Self {
        Self(number)
    }

    /// Its number; the first is 0.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// A call that was admitted. It has to be given back with a verdict or without one.
#[must_use = "an admitted call has to be recorded or abandoned"]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Admission {
    /// The generation that admitted it.
    pub generation: Generation,
}

/// What a call says about what it called.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It works.
    Success,
    /// It does not.
    Failure,
}

/// What became of a result.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Recorded {
    /// It was counted, and the state is the same.
    Counted,
    /// It changed the state to this one.
    Changed(State),
    /// It belongs to an earlier generation and changed nothing.
    Stale,
}

/// What happened so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Counters {
    /// Successes that were counted.
    pub successes: u64,
    /// Failures that were counted.
    pub failures: u64,
    /// Calls that were refused.
    pub refused: u64,
    /// Admitted calls that ended without a verdict.
    pub abandoned: u64,
    /// Results of earlier generations, ignored.
    pub stale: u64,
    /// How many times it opened, by hand or by itself.
    pub opened: u64,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Closed,
    /// `until` is `None` when it was opened by hand.
    Open {
        until: Option<Time>,
    },
    HalfOpen {
        /// Probes that have no verdict.
        pending: u32,
        successes: u32,
        /// When the pending probes are given up.
        lost_at: Time,
    },
}

/// The machine. See the [module](self).
#[derive(Clone, Debug)]
pub struct Breaker {
    config: Config,
    phase: Phase,
    generation: Generation,
    counts: Counts,
    counters: Counters,
    /// How many open periods in a row ended in another.
    reopened: u32,
    /// The latest time that was seen: callers on several threads may bring theirs out of order.
    now: Time,
}

impl Breaker {
    /// A closed breaker.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            phase: Phase::Closed,
            generation: Generation(0),
            counts: Counts::new(config.threshold),
            counters: Counters::default(),
            reopened: 0,
            now: Time::ZERO,
            config,
        }
    }

    /// Asks to make a call.
    ///
    /// # Errors
    /// [`Refused`] while it is open, and while every probe is under way.
    pub fn admit(&mut self, now: Time) -> Result<Admission, Refused> {
        let now = self.advance(now);
        if let Phase::Open { until: Some(until) } = self.phase
            && until <= now
        {
            self.enter(Phase::HalfOpen { pending: 0, successes: 0, lost_at: Time::MAX });
        }
        let (probes, timeout) = (self.config.probes.max(1), self.config.probe_timeout);
        let refused = match &mut self.phase {
            Phase::Closed => None,
            Phase::Open { until } => Some(Refused { retry_at: *until }),
            Phase::HalfOpen { pending, successes, lost_at } => {
                if *pending > 0 && *lost_at <= now {
                    // Whatever those probes say later is of an earlier generation.
                    (*pending, *successes) = (0, 0);
                    self.generation.0 += 1;
                }
                if *pending + *successes < probes {
                    *pending += 1;
                    *lost_at = now + timeout;
                    None
                } else {
                    Some(Refused { retry_at: Some(*lost_at) })
                }
            }
        };
        match refused {
            Some(refused) => {
                self.counters.refused += 1;
                Err(refused)
            }
            None => Ok(Admission { generation: self.generation }),
        }
    }

    /// Takes the verdict of an admitted call.
    pub fn record(&mut self, now: Time, admission: Admission, verdict: Verdict) -> Recorded {
        let now = self.advance(now);
        if admission.generation != self.generation {
            self.counters.stale += 1;
            return Recorded::Stale;
        }
        match verdict {
            Verdict::Success => self.counters.successes += 1,
            Verdict::Failure => self.counters.failures += 1,
        }
        match (&mut self.phase, verdict) {
            (Phase::Closed, _) => {
                if self.counts.push(now, verdict) {
                    self.reopened = 0;
                    return self.open_for_a_while(now);
                }
            }
            (Phase::HalfOpen { .. }, Verdict::Failure) => {
                self.reopened = self.reopened.saturating_add(1);
                return self.open_for_a_while(now);
            }
            (Phase::HalfOpen { pending, successes, .. }, Verdict::Success) => {
                *pending = pending.saturating_sub(1);
                *successes += 1;
                if *successes >= self.config.probes.max(1) {
                    return self.enter(Phase::Closed);
                }
            }
            // Nothing is admitted in this generation.
            (Phase::Open { .. }, _) => {}
        }
        Recorded::Counted
    }

    /// Takes back an admitted call that has no verdict: it was cancelled, or refused further on. A probe frees its
    /// place.
    pub fn abandon(&mut self, admission: Admission) -> Recorded {
        if admission.generation != self.generation {
            self.counters.stale += 1;
            return Recorded::Stale;
        }
        self.counters.abandoned += 1;
        if let Phase::HalfOpen { pending, .. } = &mut self.phase {
            *pending = pending.saturating_sub(1);
        }
        Recorded::Counted
    }

    /// Opens it until somebody closes it.
    pub fn open(&mut self) {
        self.counters.opened += 1;
        self.enter(Phase::Open { until: None });
    }

    /// Closes it, with nothing counted.
    pub fn close(&mut self) {
        self.reopened = 0;
        self.enter(Phase::Closed);
    }

    /// What it does with calls. One that is open admits a probe once [`retry_at`](Self::retry_at) has come.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Closed => State::Closed,
            Phase::Open { .. } => State::Open,
            Phase::HalfOpen { .. } => State::HalfOpen,
        }
    }

    /// When its open period ends. `None` while it is not open, or was opened by hand.
    #[must_use]
    pub const fn retry_at(&self) -> Option<Time> {
        match self.phase {
            Phase::Open { until } => until,
            Phase::Closed | Phase::HalfOpen { .. } => None,
        }
    }

    /// The present generation.
    #[must_use]
    pub const fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether a success would change nothing but its counter, so that a shell may count it by itself.
    #[must_use]
    pub const fn ignores_success(&self) -> bool {
        matches!(self.phase, Phase::Closed) && self.counts.ignores_success()
    }

    /// What happened so far, here: what a shell counts by itself is not in it.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }

    /// What it was made with.
    #[must_use]
    pub const fn config(&self) -> &Config {
        &self.config
    }

    fn advance(&mut self, now: Time) -> Time {
        self.now = self.now.max(now);
        self.now
    }

    fn open_for_a_while(&mut self, now: Time) -> Recorded {
        self.counters.opened += 1;
        let period = doubled(self.config.open_for, self.reopened).min(self.config.open_for_max);
        self.enter(Phase::Open { until: Some(now + period.max(self.config.open_for)) })
    }

    fn enter(&mut self, phase: Phase) -> Recorded {
        self.generation.0 += 1;
        self.counts.clear();
        self.phase = phase;
        Recorded::Changed(self.state())
    }
}

fn doubled(period: Duration, times: u32) -> Duration {
    period.saturating_mul(2_u32.saturating_pow(times))
}
