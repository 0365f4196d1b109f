//! The end of a clean-up.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use super::CleanUpError;
use super::shared::{Inner, Shared};
use crate::waiting::Place;

/// Tells when what a reset or a close gave up is cleaned up. What it waits for happens without it, too.
///
/// # Cancel safety
/// Cancel safe: dropping it changes nothing.
pub struct Done<T, E> {
    waits: Option<(Arc<Shared<T, E>>, Place)>,
}

impl<T, E> Done<T, E> {
    pub(super) const fn now() -> Self {
        Self { waits: None }
    }

    pub(super) fn later(shared: &Arc<Shared<T, E>>, inner: &mut Inner<T, E>) -> Self {
        let place = inner.settlers.enter(&Context::from_waker(Waker::noop()));
        Self { waits: Some((Arc::clone(shared), place)) }
    }
}

impl<T, E> Future for Done<T, E> {
    type Output = Result<(), CleanUpError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some((shared, place)) = &self.waits else { return Poll::Ready(Ok(())) };
        let (poll, spent) = shared.lock().settlers.poll(*place, cx);
        drop(spent);
        if poll.is_ready() {
            self.waits = None;
        }
        poll
    }
}

impl<T, E> Drop for Done<T, E> {
    fn drop(&mut self) {
        let Some((shared, place)) = self.waits.take() else { return };
        let left = shared.lock().settlers.leave(place);
        // A waker may own what takes the lock.
        drop(left);
    }
}

impl<T, E> fmt::Debug for Done<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Done").field("waits", &self.waits.is_some()).finish()
    }
}
