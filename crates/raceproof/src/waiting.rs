//! Tasks that wait for an outcome that somebody else brings, or for a state that somebody else changes.
//!
//! Owns: one place for each future that waits, with its waker and then its outcome. Refuses: locking, which is its
//! owner's, and waking under that lock: what has to be woken is handed out.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use tokio::sync::Notify;

/// The place of one future, which gives it back by [`Waiting::poll`] or [`Waiting::leave`], once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Place(usize);

#[derive(Debug)]
enum Slot<R> {
    Free,
    Waits(Waker),
    Has(R),
}

/// Every future that waits for an `R`.
#[derive(Debug)]
pub(crate) struct Waiting<R> {
    slots: Vec<Slot<R>>,
    free: Vec<usize>,
}

impl<R> Waiting<R> {
    pub(crate) const fn new() -> Self {
        Self { slots: Vec::new(), free: Vec::new() }
    }

    /// A place for a future that is about to wait.
    pub(crate) fn enter(&mut self, cx: &Context<'_>) -> Place {
        let slot = Slot::Waits(cx.waker().clone());
        if let Some(place) = self.free.pop()
            && let Some(free) = self.slots.get_mut(place)
        {
            *free = slot;
            return Place(place);
        }
        self.slots.push(slot);
        Place(self.slots.len() - 1)
    }

    /// The outcome, once there is one; then the place is gone. A waker that is not needed any more comes back, to be
    /// dropped outside the lock.
    pub(crate) fn poll(&mut self, place: Place, cx: &Context<'_>) -> (Poll<R>, Option<Waker>) {
        match self.slots.get_mut(place.0) {
            Some(Slot::Waits(waker)) if waker.will_wake(cx.waker()) => (Poll::Pending, None),
            Some(Slot::Waits(waker)) => (Poll::Pending, Some(std::mem::replace(waker, cx.waker().clone()))),
            _ => match self.take(place) {
                Slot::Has(outcome) => (Poll::Ready(outcome), None),
                Slot::Free | Slot::Waits(_) => (Poll::Pending, None),
            },
        }
    }

    /// The future of a place is gone. Gives what is to be dropped outside the lock: its waker if it still waited, and
    /// the outcome if it had one.
    pub(crate) fn leave(&mut self, place: Place) -> (Option<Waker>, Option<R>) {
        match self.take(place) {
            Slot::Waits(waker) => (Some(waker), None),
            Slot::Has(outcome) => (None, Some(outcome)),
            Slot::Free => (None, None),
        }
    }

    /// Everybody who waits gets an outcome. Wake what comes back.
    #[must_use]
    pub(crate) fn settle(&mut self, mut outcome: impl FnMut() -> R) -> Vec<Waker> {
        let mut wakers = Vec::with_capacity(self.slots.len() - self.free.len());
        for slot in &mut self.slots {
            if matches!(slot, Slot::Waits(_))
                && let Slot::Waits(waker) = std::mem::replace(slot, Slot::Has(outcome()))
            {
                wakers.push(waker);
            }
        }
        wakers
    }

    fn take(&mut self, place: Place) -> Slot<R> {
        let Some(slot) = self.slots.get_mut(place.0) else { return Slot::Free };
        let taken = std::mem::replace(slot, Slot::Free);
        if !matches!(taken, Slot::Free) {
            self.free.push(place.0);
        }
        // What a rush of waiters took is given back with the last of them.
        if self.free.len() == self.slots.len() {
            self.slots = Vec::new();
            self.free = Vec::new();
        }
        taken
    }
}

/// Waits until it is so. All who wait have to be told whenever it may have become so.
pub(crate) async fn until(told: &Notify, mut is_so: impl FnMut() -> bool) {
    let mut next = pin!(told.notified());
    loop {
        // Enabled before the look, so that no change goes unnoticed between the two.
        next.as_mut().enable();
        if is_so() {
            return;
        }
        next.as_mut().await;
        next.set(told.notified());
    }
}

/// Wakes each.
pub(crate) fn wake(wakers: Vec<Waker>) {
    wakers.into_iter().for_each(Waker::wake);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_given_again_only_when_it_was_given_back() {
        let cx = Context::from_waker(Waker::noop());
        let mut waiting = Waiting::new();
        let (a, b) = (waiting.enter(&cx), waiting.enter(&cx));
        assert_eq!(waiting.settle(|| 1).len(), 2);
        let c = waiting.enter(&cx);
        assert!(c != a && c != b);
        assert_eq!(waiting.poll(a, &cx).0, Poll::Ready(1));
        assert_eq!(waiting.enter(&cx), a);
        assert_eq!(waiting.leave(b).1, Some(1));
        assert!(waiting.leave(a).0.is_some() && waiting.poll(c, &cx).0.is_pending());
        assert!(waiting.leave(c).0.is_some());
        assert!(waiting.slots.is_empty() && waiting.free.is_empty());
    }
}
