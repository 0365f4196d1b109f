//! The machine itself.

use std::time::Duration;

use super::Config;
use crate::time::Time;

/// One initialisation and the value it makes. Counted from one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Generation(u64);

impl Generation {
    /// The number.
    #[must_use]
    pub const fn as_u64(self) -> u64 {
        self.0
    }
}

/// Where a service is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Nobody has asked yet, the last attempt failed, or it was reset.
    Idle,
    /// An initialisation is under way.
    Starting,
    /// The value is there.
    Ready,
    /// An earlier value is being cleaned up.
    CleaningUp,
    /// For good.
    Closed,
}

/// What a caller gets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Get {
    /// The value is there.
    Ready,
    /// It waits, until [`Verdict::Accept`] or [`Verdict::Fail`] or the end; its shell starts this initialisation first.
    Start(Generation),
    /// It waits.
    Wait,
    /// The last attempt failed not long ago.
    BackingOff {
        /// When the next attempt may begin.
        until: Time,
    },
    /// As many wait as may.
    Full,
    /// There will be no value any more.
    Closed,
}

/// What becomes of an initialisation that ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// The value is the service's; everybody who waits gets it.
    Accept,
    /// Everybody who waits gets the failure.
    Fail,
    /// The value is nobody's: it is cleaned up, and [`Service::cleaned_up`] is called afterwards.
    CleanUp,
    /// It failed and nobody cares; this follows.
    Then(Next),
    /// It is not the initialisation that is under way.
    Ignore,
}

/// What follows a clean-up.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// Callers wait: the shell starts this initialisation.
    Start(Generation),
    /// Nothing, until somebody asks.
    Rest,
    /// The service is closed now.
    Closed,
}

/// What a reset does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reset {
    /// There is no value to give up.
    Nothing,
    /// The value is cleaned up, and [`Service::cleaned_up`] is called afterwards.
    CleanUp,
    /// What is under way will be cleaned up when it ends.
    Later,
}

/// What a close does.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Close {
    /// The value is cleaned up, and [`Service::cleaned_up`] is called afterwards.
    CleanUp,
    /// What is under way ends first. Whoever waits for a value is told.
    Later,
    /// The service is closed. Whoever waits for a value is told.
    Done,
}

/// Counters since the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Stats {
    /// Initialisations that were started.
    pub started: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those whose value came too late to be wanted.
    pub discarded: u64,
    /// Callers that waited for another's initialisation.
    pub coalesced: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum State {
    Idle,
    Starting { generation: Generation, wanted: bool },
    Ready,
    CleaningUp,
    Closed,
}

/// Decides for one value.
#[derive(Debug)]
pub struct Service {
    config: Config,
    state: State,
    closing: bool,
    last: u64,
    waiters: usize,
    /// Since when there have been waiters.
    waits_since: Time,
    failures_in_row: u32,
    not_before: Time,
    stats: Stats,
}

impl Service {
    /// A service that nobody has asked for.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            state: State::Idle,
            closing: false,
            last: 0,
            waiters: 0,
            waits_since: Time::ZERO,
            failures_in_row: 0,
            not_before: Time::ZERO,
            stats: Stats::default(),
        }
    }

    /// Somebody wants the value.
    pub fn get(&mut self, now: Time) -> Get {
        if self.closing {
            return Get::Closed;
        }
        match self.state {
            State::Ready => return Get::Ready,
            State::Closed => return Get::Closed,
            State::Idle if now < self.not_before => return Get::BackingOff { until: self.not_before },
            _ => {}
        }
        if self.waiters >= self.config.waiters_max {
            return Get::Full;
        }
        if self.waiters == 0 {
            self.waits_since = now;
        }
        self.waiters += 1;
        if self.state == State::Idle {
            return Get::Start(self.start());
        }
        self.stats.coalesced += 1;
        Get::Wait
    }

    /// A caller that was told to wait is gone.
    pub fn leave(&mut self) {
        self.waiters = self.waiters.saturating_sub(1);
    }

    /// An initialisation ended, with a value or without.
    pub fn ended(&mut self, now: Time, generation: Generation, ok: bool) -> Verdict {
        let State::Starting { generation: current, wanted } = self.state else { return Verdict::Ignore };
        if current != generation {
            return Verdict::Ignore;
        }
        if !ok {
            self.stats.failed += 1;
        }
        let wanted = wanted && !self.closing;
        match (ok, wanted) {
            (true, true) => {
                self.state = State::Ready;
                self.waiters = 0;
                self.failures_in_row = 0;
                Verdict::Accept
            }
            (false, true) => {
                self.state = State::Idle;
                self.waiters = 0;
                self.failures_in_row = self.failures_in_row.saturating_add(1);
                if let Some(backoff) = self.config.backoff {
                    self.not_before = now + backoff.after(self.failures_in_row);
                }
                Verdict::Fail
            }
            (true, false) => {
                self.stats.discarded += 1;
                self.state = State::CleaningUp;
                Verdict::CleanUp
            }
            (false, false) => Verdict::Then(self.next()),
        }
    }

    /// Gives the value up, and whatever is being made. Also forgives past failures.
    pub fn reset(&mut self) -> Reset {
        self.failures_in_row = 0;
        self.not_before = Time::ZERO;
        match &mut self.state {
            State::Idle | State::Closed => Reset::Nothing,
            State::CleaningUp => Reset::Later,
            State::Starting { wanted, .. } => {
                *wanted = false;
                Reset::Later
            }
            State::Ready => {
                self.state = State::CleaningUp;
                Reset::CleanUp
            }
        }
    }

    /// Ends the service. Callers that wait get no value any more.
    pub fn close(&mut self) -> Close {
        self.closing = true;
        self.waiters = 0;
        match self.state {
            State::Idle => {
                self.state = State::Closed;
                Close::Done
            }
            State::Closed => Close::Done,
            State::Starting { .. } | State::CleaningUp => Close::Later,
            State::Ready => {
                self.state = State::CleaningUp;
                Close::CleanUp
            }
        }
    }

    /// A clean-up ended, however.
    pub fn cleaned_up(&mut self) -> Next {
        if self.state != State::CleaningUp {
            return Next::Rest;
        }
        self.next()
    }

    /// Where it is.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        match self.state {
            State::Idle => Phase::Idle,
            State::Starting { .. } => Phase::Starting,
            State::Ready => Phase::Ready,
            State::CleaningUp => Phase::CleaningUp,
            State::Closed => Phase::Closed,
        }
    }

    /// Callers that wait.
    #[must_use]
    pub const fn waiters(&self) -> usize {
        self.waiters
    }

    /// For how long there has been a caller that waits; no wait is longer. Zero if nobody waits.
    #[must_use]
    pub fn waited(&self, now: Time) -> Duration {
        if self.waiters == 0 { Duration::ZERO } else { now.since(self.waits_since) }
    }

    /// Counters since the start.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        self.stats
    }

    /// The generation that was started last; none before the first.
    #[must_use]
    pub const fn generation(&self) -> Option<Generation> {
        if self.last == 0 { None } else { Some(Generation(self.last)) }
    }

    fn next(&mut self) -> Next {
        if self.closing {
            self.state = State::Closed;
            Next::Closed
        } else if self.waiters > 0 {
            Next::Start(self.start())
        } else {
            self.state = State::Idle;
            Next::Rest
        }
    }

    fn start(&mut self) -> Generation {
        self.last += 1;
        self.stats.started += 1;
        let generation = Generation(self.last);
        self.state = State::Starting { generation, wanted: true };
        generation
    }
}
