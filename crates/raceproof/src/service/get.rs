//! A caller that waits for the value.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use raceproof_core::service;

use super::{Failure, GetError, Shared};
use crate::rt::Runtime;
use crate::waiting::Place;

type Outcome<T, E> = Result<Arc<T>, GetError<E>>;

/// Written by hand, so that a caller that finds the value pays for nothing else.
pub(super) struct Get<'a, T, E> {
    shared: &'a Arc<Shared<T, E>>,
    place: Option<Place>,
}

impl<'a, T, E> Get<'a, T, E> {
    #[inline]
    pub(super) const fn new(shared: &'a Arc<Shared<T, E>>) -> Self {
        Self { shared, place: None }
    }
}

impl<T, E> Future for Get<'_, T, E>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    type Output = Outcome<T, E>;

    // Always: a call and the result's way through memory would take longer than the read itself.
    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.place.is_none()
            && let Some(value) = self.shared.ready()
        {
            return Poll::Ready(Ok(value));
        }
        self.wait(cx)
    }
}

impl<T, E> Get<'_, T, E>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    #[cold]
    #[inline(never)]
    fn wait(&mut self, cx: &Context<'_>) -> Poll<Outcome<T, E>> {
        let Some(place) = self.place else { return self.ask(cx) };
        let (poll, spent) = self.shared.lock().getters.poll(place, cx);
        drop(spent);
        if poll.is_ready() {
            self.place = None;
        }
        poll
    }

    fn ask(&mut self, cx: &Context<'_>) -> Poll<Outcome<T, E>> {
        let Some(runtime) = Runtime::current() else {
            return Poll::Ready(self.shared.value().map(|(_, value)| value).ok_or(GetError::NoRuntime));
        };
        let now = self.shared.now();
        let mut inner = self.shared.lock();
        let started = match inner.machine.get(now) {
            service::Get::Ready => {
                if let Some((_, value)) = inner.value() {
                    return Poll::Ready(Ok(value));
                }
                return Poll::Ready(Err(GetError::Closed));
            }
            service::Get::Closed => return Poll::Ready(Err(GetError::Closed)),
            service::Get::Full => {
                return Poll::Ready(Err(GetError::Full { limit: self.shared.waiters_max() }));
            }
            service::Get::BackingOff { until } => {
                let last = inner.last_failure.clone().unwrap_or(Failure::Aborted);
                return Poll::Ready(Err(GetError::BackingOff { retry_in: until.since(now), last }));
            }
            service::Get::Start(generation) => {
                inner.runtime = Some(runtime.clone());
                Some(generation)
            }
            service::Get::Wait => None,
        };
        self.place = Some(inner.getters.enter(cx));
        drop(inner);
        if let Some(generation) = started {
            Shared::start(self.shared, &runtime, generation);
        }
        Poll::Pending
    }
}

impl<T, E> Drop for Get<'_, T, E> {
    #[inline]
    fn drop(&mut self) {
        if let Some(place) = self.place.take() {
            leave(self.shared, place);
        }
    }
}

#[cold]
#[inline(never)]
fn leave<T, E>(shared: &Shared<T, E>, place: Place) {
    let mut inner = shared.lock();
    let (waker, outcome) = inner.getters.leave(place);
    if outcome.is_none() && waker.is_some() {
        inner.machine.leave();
    }
    // They may own what takes this lock.
    drop(inner);
    drop((waker, outcome));
}
