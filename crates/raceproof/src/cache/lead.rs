//! A caller that finds nothing, and the load that it starts.

use std::borrow::Borrow;
use std::hash::Hash;
use std::sync::Arc;
use std::task::Poll;

use raceproof_core::cache::FlightId;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::bounds::{Key, Value};
use super::shared::{Joined, Look, Shared};
use super::wait::Outcome;
use super::{Failure, LoadError};
use crate::attempt::{attempt, limited};
use crate::rt::{BoxFuture, Runtime};

/// A load, which begins when it is first polled.
pub(super) type Load<V, E> = BoxFuture<Result<Option<V>, Failure<E>>>;

/// What counts as found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Found {
    /// Only a value.
    Value,
    /// Also that there is none.
    Anything,
}

/// What is under `key`, where a look found nothing fresh: by a load, this caller's or another's.
pub(super) async fn find<K, V, E, Q, F, Fut>(
    shared: &Arc<Shared<K, V, E>>,
    key: &Q,
    load: F,
    wants: Found,
    looked: Look<V>,
) -> Outcome<V, E>
where
    K: Key + Borrow<Q>,
    V: Value,
    E: Send + Sync + 'static,
    Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
{
    let mut load = Some(load);
    if let Look::Stale(value) = looked {
        shared.counters.stale();
        if let (Some(runtime), Some(lead)) = (Runtime::current(), shared.refresh(key))
            && let Some(load) = load.take()
        {
            lead.go_on(&runtime, Instant::now(), Box::pin(attempt(load)));
        }
        return Ok(Some(value));
    }
    shared.counters.miss();
    loop {
        let queue =
            || -> Option<(Runtime, Load<V, E>)> { Some((Runtime::current()?, Box::pin(attempt(load.take()?)))) };
        let outcome = match shared.join(key, wants, queue) {
            Joined::Hit(value) => return Ok(value),
            Joined::Refused(error) => return Err(error),
            Joined::Queued(wait) => return wait.instrument(waiting()).await,
            Joined::Wait(wait) => wait.instrument(waiting()).await,
            Joined::Lead(lead) => {
                let Some(load) = load.take() else { return Err(LoadError::Load(Failure::Aborted)) };
                return lead.run(Box::pin(attempt(load))).await;
            }
        };
        // Another kind of load may have found that there is no value; this caller's own makes one.
        if wants == Found::Value && matches!(outcome, Ok(None)) {
            continue;
        }
        return outcome;
    }
}

/// Around a caller's wait for a load, for whoever subscribes to it.
fn waiting() -> tracing::Span {
    tracing::debug_span!("raceproof.cache.wait")
}

/// A load that is under way. It ends whatever happens to it.
pub(super) struct Lead<K: Key, V: Value, E: Send + Sync + 'static> {
    shared: Arc<Shared<K, V, E>>,
    key: K,
    id: FlightId,
    ended: bool,
}

impl<K: Key, V: Value, E: Send + Sync + 'static> Lead<K, V, E> {
    pub(super) fn new(shared: Arc<Shared<K, V, E>>, key: K, id: FlightId) -> Self {
        shared.counters.load();
        Self { shared, key, id, ended: false }
    }

    /// Runs the load in the caller until it first waits; from then on in a task, so that the caller may go, or may
    /// stop polling, without holding up anybody (K1).
    async fn run(self, mut load: Load<V, E>) -> Outcome<V, E> {
        let began = Instant::now();
        match std::future::poll_fn(|cx| Poll::Ready(load.as_mut().poll(cx))).await {
            Poll::Ready(found) => self.end_with(found.map_err(LoadError::Load)),
            Poll::Pending => match Runtime::current() {
                None => self.end_with(Err(LoadError::NoRuntime)),
                Some(runtime) => {
                    let wait = self.shared.wait(&self.key, self.id);
                    self.go_on(&runtime, began, load);
                    wait.instrument(waiting()).await
                }
            },
        }
    }

    /// Runs the load in a task.
    pub(super) fn go_on(self, runtime: &Runtime, began: Instant, load: Load<V, E>) {
        let limit = self.shared.load_timeout;
        let loading = async move {
            // Owned by the task from the start: it also ends the load of a task that is dropped.
            let lead = self;
            let found = limited(began, limit, load).await;
            lead.end(&found.map_err(LoadError::Load));
        };
        runtime.spawn(loading.instrument(tracing::debug_span!("raceproof.cache.load")));
    }

    fn end_with(self, outcome: Outcome<V, E>) -> Outcome<V, E> {
        self.end(&outcome);
        outcome
    }

    pub(super) fn end(mut self, outcome: &Outcome<V, E>) {
        self.finish(outcome);
    }

    fn finish(&mut self, outcome: &Outcome<V, E>) {
        self.ended = true;
        if let Err(error) = outcome {
            self.shared.counters.failed();
            let why = error.failure().map_or("no runtime to wait in", Failure::why);
            tracing::warn!(why, "a load failed");
        }
        self.shared.ended(&self.key, self.id, outcome);
    }
}

impl<K: Key, V: Value, E: Send + Sync + 'static> Drop for Lead<K, V, E> {
    fn drop(&mut self) {
        if !self.ended {
            self.finish(&Err(LoadError::Load(Failure::Aborted)));
        }
    }
}
