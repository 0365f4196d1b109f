//! Deadlines of many kinds in one ordered set.

use std::collections::BTreeSet;

use crate::id::{SessionId, Token};
use crate::lock::{Key, WaitId};
use crate::time::Time;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Timer {
    /// A session's lease may have ended. Armed once and moved on when it fires early, so that a renewal costs nothing.
    Lease(SessionId),
    /// A wait runs out.
    Wait(WaitId),
    /// A grant that nobody claimed passes on.
    Claim(Token),
    /// A lock-delay is over.
    Delay(Key),
}

#[derive(Debug, Default)]
pub(super) struct Timers {
    set: BTreeSet<(Time, Timer)>,
}

impl Timers {
    pub(super) fn arm(&mut self, at: Time, timer: Timer) {
        self.set.insert((at, timer));
    }

    pub(super) fn disarm(&mut self, at: Time, timer: Timer) {
        self.set.remove(&(at, timer));
    }

    pub(super) fn next(&self) -> Option<Time> {
        self.set.first().map(|(at, _)| *at)
    }

    /// Takes the first timer that is due.
    pub(super) fn pop(&mut self, now: Time) -> Option<(Time, Timer)> {
        if self.next()? <= now { self.set.pop_first() } else { None }
    }
}
