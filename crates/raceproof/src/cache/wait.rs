//! A caller that waits for a load.

use std::pin::Pin;
use std::sync::{Arc, PoisonError};
use std::task::{Context, Poll, Waker};

use raceproof_core::cache::FlightId;

use super::bounds::{Key, Value};
use super::shared::Shared;
use super::{Failure, LoadError};
use crate::sync::{Mutex, MutexGuard};
use crate::waiting::{Place, Waiting, wake};

/// What a load came to.
pub(super) type Outcome<V, E> = Result<Option<V>, LoadError<E>>;

/// A load that somebody waits for.
pub(super) struct Flight<K, V, E> {
    key: K,
    id: FlightId,
    waiting: Mutex<Waiting<Arc<Outcome<V, E>>>>,
}

impl<K, V, E> Flight<K, V, E> {
    pub(super) fn new(key: K, id: FlightId) -> Self {
        Self { key, id, waiting: Mutex::new(Waiting::new()) }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting<Arc<Outcome<V, E>>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Everybody who waits gets the outcome.
    pub(super) fn settle(&self, outcome: Outcome<V, E>) {
        let outcome = Arc::new(outcome);
        let wakers = self.lock().settle(|| Arc::clone(&outcome));
        wake(wakers);
    }
}

/// Waits for a load; whoever drops it leaves the load as it is.
pub(super) struct Wait<K: Key, V: Value, E: Send + Sync + 'static> {
    shared: Arc<Shared<K, V, E>>,
    flight: Arc<Flight<K, V, E>>,
    place: Option<Place>,
}

impl<K: Key, V: Value, E: Send + Sync + 'static> Wait<K, V, E> {
    pub(super) fn new(shared: Arc<Shared<K, V, E>>, flight: Arc<Flight<K, V, E>>) -> Self {
        let place = flight.lock().enter(&Context::from_waker(Waker::noop()));
        Self { shared, flight, place: Some(place) }
    }
}

impl<K: Key, V: Value, E: Send + Sync + 'static> Future for Wait<K, V, E> {
    type Output = Outcome<V, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(place) = self.place else { return Poll::Ready(Err(LoadError::Load(Failure::Aborted))) };
        let (poll, spent) = self.flight.lock().poll(place, cx);
        drop(spent);
        let Poll::Ready(outcome) = poll else { return Poll::Pending };
        self.place = None;
        // The last one to look need not clone.
        Poll::Ready(Arc::unwrap_or_clone(outcome))
    }
}

impl<K: Key, V: Value, E: Send + Sync + 'static> Drop for Wait<K, V, E> {
    fn drop(&mut self) {
        let Some(place) = self.place.take() else { return };
        let (waker, outcome) = self.flight.lock().leave(place);
        if outcome.is_none() {
            self.shared.leave(&self.flight.key, self.flight.id);
        }
        drop((waker, outcome));
    }
}
