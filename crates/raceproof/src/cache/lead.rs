//! A caller that finds nothing, and the load that it starts.

use std::borrow::Borrow;
use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::task::Poll;

use raceproof_core::cache::FlightId;
use tokio::time::Instant;

use super::LoadError;
use super::shared::{Joined, Look, Shared};
use super::wait::Outcome;
use crate::rt::{BoxFuture, Runtime, caught, message};

/// A load that has not begun.
pub(super) type Load<V, E> = Box<dyn FnOnce() -> BoxFuture<Result<Option<V>, E>> + Send>;

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
    K: Borrow<Q> + Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
    Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    F: FnOnce() -> Fut + Send + 'static,
    Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
{
    let mut load = Some(load);
    let boxed = |load: F| -> Load<V, E> { Box::new(move || Box::pin(load())) };
    if let Look::Stale(value) = looked {
        shared.counters.stale();
        if let (Some(runtime), Some(lead)) = (Runtime::current(), shared.refresh(key))
            && let Some(load) = load.take()
        {
            lead.spawn(&runtime, boxed(load));
        }
        return Ok(Some(value));
    }
    shared.counters.miss();
    loop {
        let queue = || Some((Runtime::current()?, boxed(load.take()?)));
        let outcome = match shared.join(key, wants, queue) {
            Joined::Hit(value) => return Ok(value),
            Joined::Refused(error) => return Err(error),
            Joined::Queued(wait) => return wait.await,
            Joined::Wait(wait) => wait.await,
            Joined::Lead(lead) => {
                let Some(load) = load.take() else { return Err(LoadError::Aborted) };
                return lead.run(load).await;
            }
        };
        // Another kind of load may have found that there is no value; this caller's own makes one.
        if wants == Found::Value && matches!(outcome, Ok(None)) {
            continue;
        }
        return outcome;
    }
}

/// A load that is under way. It ends whatever happens to it.
pub(super) struct Lead<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    shared: Arc<Shared<K, V, E>>,
    key: K,
    id: FlightId,
    ended: bool,
}

impl<K, V, E> Lead<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    pub(super) fn new(shared: Arc<Shared<K, V, E>>, key: K, id: FlightId) -> Self {
        shared.counters.load();
        Self { shared, key, id, ended: false }
    }

    /// Runs the load in the caller until it first waits; from then on in a task, so that the caller may go, or may
    /// stop polling, without holding up anybody (K1).
    async fn run<F, Fut>(self, load: F) -> Outcome<V, E>
    where
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
    {
        let began = Instant::now();
        let mut future = match std::panic::catch_unwind(AssertUnwindSafe(|| Box::pin(load()))) {
            Ok(future) => future,
            Err(panic) => return self.end_with(Err(LoadError::Panicked(message(&*panic)))),
        };
        let first = std::future::poll_fn(|cx| {
            Poll::Ready(std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))))
        });
        match first.await {
            Ok(Poll::Ready(result)) => self.end_with(result.map_err(|error| LoadError::Failed(Arc::new(error)))),
            Err(panic) => self.end_with(Err(LoadError::Panicked(message(&*panic)))),
            Ok(Poll::Pending) => match Runtime::current() {
                None => self.end_with(Err(LoadError::NoRuntime)),
                Some(runtime) => {
                    let wait = self.shared.wait(&self.key, self.id);
                    self.go_on(&runtime, began, || future);
                    wait.await
                }
            },
        }
    }

    /// Runs the load in a task.
    pub(super) fn spawn(self, runtime: &Runtime, load: Load<V, E>) {
        self.go_on(runtime, Instant::now(), load);
    }

    fn go_on(
        self,
        runtime: &Runtime,
        began: Instant,
        load: impl FnOnce() -> BoxFuture<Result<Option<V>, E>> + Send + 'static,
    ) {
        let limit = self.shared.load_timeout;
        runtime.spawn(async move {
            // Owned by the task from the start: it also ends the load of a task that is dropped.
            let lead = self;
            let caught = match limit {
                None => caught(load).await,
                Some(limit) => match tokio::time::timeout_at(began + limit, caught(load)).await {
                    Ok(caught) => caught,
                    Err(_) => return lead.end(&Err(LoadError::TimedOut(limit))),
                },
            };
            lead.end(&match caught {
                Ok(result) => result.map_err(|error| LoadError::Failed(Arc::new(error))),
                Err(message) => Err(LoadError::Panicked(message)),
            });
        });
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
        if outcome.is_err() {
            self.shared.counters.failed();
        }
        self.shared.ended(&self.key, self.id, outcome);
    }
}

impl<K, V, E> Drop for Lead<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn drop(&mut self) {
        if !self.ended {
            self.finish(&Err(LoadError::Aborted));
        }
    }
}
