//! Tasks that wait for an outcome that somebody else brings.
//!
//! Owns: one place for each future that waits, with its waker and then its outcome. Refuses: locking, which is its
//! owner's, and waking under that lock: what has to be woken is handed out.

use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};

/// The place of one future.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Place(u64);

/// Every future that waits for an `R`.
#[derive(Debug)]
pub(crate) struct Waiting<R> {
    places: BTreeMap<Place, Waker>,
    outcomes: BTreeMap<Place, R>,
    next: u64,
}

impl<R> Waiting<R> {
    pub(crate) const fn new() -> Self {
        Self { places: BTreeMap::new(), outcomes: BTreeMap::new(), next: 0 }
    }

    /// A place for a future that is about to wait.
    pub(crate) fn enter(&mut self, cx: &Context<'_>) -> Place {
        let place = Place(self.next);
        self.next += 1;
        self.places.insert(place, cx.waker().clone());
        place
    }

    /// The outcome, once there is one; then the place is gone. A waker that is not needed any more comes back, to be
    /// dropped outside the lock.
    pub(crate) fn poll(&mut self, place: Place, cx: &Context<'_>) -> (Poll<R>, Option<Waker>) {
        if let Some(outcome) = self.outcomes.remove(&place) {
            return (Poll::Ready(outcome), None);
        }
        let spent = match self.places.get_mut(&place) {
            Some(waker) if !waker.will_wake(cx.waker()) => Some(std::mem::replace(waker, cx.waker().clone())),
            _ => None,
        };
        (Poll::Pending, spent)
    }

    /// The future of a place is gone. Says whether it still waited, and what is to be dropped outside the lock.
    pub(crate) fn leave(&mut self, place: Place) -> (Option<Waker>, Option<R>) {
        (self.places.remove(&place), self.outcomes.remove(&place))
    }

    /// Everybody who waits gets an outcome. Wake what comes back.
    #[must_use]
    pub(crate) fn settle(&mut self, mut outcome: impl FnMut() -> R) -> Vec<Waker> {
        let mut wakers = Vec::with_capacity(self.places.len());
        for (place, waker) in std::mem::take(&mut self.places) {
            self.outcomes.insert(place, outcome());
            wakers.push(waker);
        }
        wakers
    }
}

/// Wakes each.
pub(crate) fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}
