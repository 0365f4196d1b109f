//! What a policy tells about itself.

use super::PolicyError;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// What happened so far at a [`Policy`](super::Policy).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that are under way.
    pub running: usize,
    /// Attempts that wait for room.
    pub waiting: usize,
    /// Calls, each with one attempt or more.
    pub calls: u64,
    /// Attempts, those that were refused included.
    pub attempts: u64,
    /// Calls that have no result. One that was cancelled is none of them.
    pub failed: u64,
    /// Those of them that took too long, all attempts together.
    pub timed_out: u64,
    /// Attempts that were refused for lack of room.
    pub busy: u64,
}

#[derive(Debug, Default)]
pub(super) struct Counters {
    running: AtomicUsize,
    calls: AtomicU64,
    pub(super) attempts: AtomicU64,
    failed: AtomicU64,
    timed_out: AtomicU64,
    pub(super) busy: AtomicU64,
}

impl Counters {
    pub(super) fn ended<T, E>(&self, result: &Result<T, PolicyError<E>>) {
        if let Err(error) = result {
            self.failed.fetch_add(1, Ordering::Relaxed);
            self.timed_out.fetch_add(u64::from(matches!(error, PolicyError::TimedOut(_))), Ordering::Relaxed);
        }
    }

    pub(super) fn stats(&self, waiting: usize) -> Stats {
        let Self { running, calls, attempts, failed, timed_out, busy } = self;
        Stats {
            running: running.load(Ordering::Relaxed),
            waiting,
            calls: calls.load(Ordering::Relaxed),
            attempts: attempts.load(Ordering::Relaxed),
            failed: failed.load(Ordering::Relaxed),
            timed_out: timed_out.load(Ordering::Relaxed),
            busy: busy.load(Ordering::Relaxed),
        }
    }
}

/// A call that is under way.
pub(super) struct Running<'a>(&'a Counters);

impl<'a> Running<'a> {
    pub(super) fn begin(counters: &'a Counters) -> Self {
        counters.calls.fetch_add(1, Ordering::Relaxed);
        counters.running.fetch_add(1, Ordering::Relaxed);
        Self(counters)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}
