//! What a breaker tells about itself.

use std::sync::Arc;

use raceproof_core::resilience::breaker::{Counters, State};

/// What happened so far at a [`Breaker`](super::Breaker).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Its name.
    pub name: Arc<str>,
    /// What it does with calls.
    pub state: State,
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

impl Stats {
    pub(super) fn new(name: &Arc<str>, state: State, counters: Counters) -> Self {
        let Counters { successes, failures, refused, abandoned, stale, opened } = counters;
        Self { name: Arc::clone(name), state, successes, failures, refused, abandoned, stale, opened }
    }
}
