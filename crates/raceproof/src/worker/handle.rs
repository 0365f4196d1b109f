//! The handle of a worker.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use raceproof_core::worker::{Config, WorkerId};
use tracing::Instrument as _;

use super::call;
use super::error::{CallError, SpawnError, StopError};
use super::handler::Handler;
use super::run::run;
use super::shared::Shared;
use super::stats::Stats;
use crate::rt::Runtime;
use crate::waiting::until;

/// Answers requests `Q` with replies `R`, in the order in which they were made.
///
/// Clones are the same worker. When the last one is dropped, its tasks are stopped at their next `.await` (T2).
pub struct Worker<Q, R> {
    owner: Arc<Owner<Q, R>>,
}

struct Owner<Q, R> {
    shared: Arc<Shared<Q, R>>,
    timeout: Option<Duration>,
}

impl<Q, R> Drop for Owner<Q, R> {
    fn drop(&mut self) {
        self.shared.stop();
    }
}

impl<Q, R> Clone for Worker<Q, R> {
    fn clone(&self) -> Self {
        Self { owner: Arc::clone(&self.owner) }
    }
}

impl<Q, R> fmt::Debug for Worker<Q, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Worker").field("name", &self.name()).field("stats", &self.stats()).finish()
    }
}

impl Worker<(), ()> {
    /// Begins a worker; the name is for reports.
    pub fn builder(name: impl Into<Arc<str>>) -> Builder {
        Builder { name: name.into(), config: Config::default(), timeout: None, drops_abandoned: false }
    }
}

impl<Q, R> Worker<Q, R> {
    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.owner.shared.name
    }

    /// Makes a request and waits for its answer, for as long as [`Builder::timeout`] says.
    ///
    /// # Errors
    /// The request is given back if no worker had it: the mailbox is full or stopped, or the time was over. Else, what
    /// became of it.
    ///
    /// # Cancel safety
    /// If the future is dropped before a worker has the request, it is not started (T3); after that it is finished, or
    /// dropped if [`Builder::drop_abandoned`] says so.
    pub async fn call(&self, request: Q) -> Result<R, CallError<Q>> {
        call::call(&self.owner.shared, request, self.owner.timeout, false).await
    }

    /// [`call`](Self::call), but waits for room if the mailbox is full, before all who ask later. The time of
    /// [`Builder::timeout`] counts from the beginning.
    ///
    /// # Errors
    /// As [`call`](Self::call); the request is given back, too, if too many callers wait for room already.
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn call_patiently(&self, request: Q) -> Result<R, CallError<Q>> {
        call::call(&self.owner.shared, request, self.owner.timeout, true).await
    }

    /// [`call`](Self::call) with a time of its own.
    ///
    /// # Errors
    /// As [`call`](Self::call).
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn call_within(&self, request: Q, within: Duration) -> Result<R, CallError<Q>> {
        call::call(&self.owner.shared, request, Some(within), false).await
    }

    /// Takes no more requests, and waits until those that were taken are answered.
    ///
    /// # Cancel safety
    /// No more requests are taken from then on. Call it again to go on waiting.
    pub async fn stop(&self) {
        let shared = &self.owner.shared;
        shared.drain();
        until(&shared.ended, || shared.lock().workers() == 0).await;
    }

    /// [`stop`](Self::stop), but not for longer than this: then requests that wait are given back to their callers, and
    /// those in hand are dropped at their next `.await` (T2).
    ///
    /// # Errors
    /// How many there were of both.
    ///
    /// # Cancel safety
    /// As [`stop`](Self::stop).
    pub async fn stop_within(&self, wait: Duration) -> Result<(), StopError> {
        let shared = &self.owner.shared;
        if shared.clock.timeout(wait, self.stop()).await.is_some() {
            return Ok(());
        }
        let (in_hand, waiting) = shared.stop();
        Err(StopError { name: self.name().to_owned(), in_hand, waiting })
    }

    /// The worker at this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.owner.shared.stats()
    }
}

/// A worker that is being described; [`spawn`](Self::spawn) makes it.
#[derive(Clone, Debug)]
#[must_use = "there is no worker until `spawn` is called"]
pub struct Builder {
    name: Arc<str>,
    config: Config,
    timeout: Option<Duration>,
    drops_abandoned: bool,
}

impl Builder {
    /// How many requests are answered at a time, each by a task with a handler of its own. Default 1.
    pub const fn workers(mut self, workers: usize) -> Self {
        self.config.workers = workers;
        self
    }

    /// How many requests may wait for a worker; [`call`](Worker::call) is refused when they do. At least 1; default 64.
    pub const fn mailbox(mut self, requests: usize) -> Self {
        self.config.capacity = requests;
        self
    }

    /// How many callers may wait for room besides, by [`call_patiently`](Worker::call_patiently). Default 1,024.
    pub const fn patient_max(mut self, callers: usize) -> Self {
        self.config.patient_max = callers;
        self
    }

    /// How long a [`call`](Worker::call) waits for its answer. Default: as long as it takes.
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Drops a request in hand at its next `.await` when its caller has gone. Default: it is finished.
    pub const fn drop_abandoned(mut self) -> Self {
        self.drops_abandoned = true;
        self
    }

    /// The pauses of a worker that panics several times in a row, from the second panic: the first one (default 10 ms),
    /// which doubles, and the longest (default 1 s). Requests in the mailbox are kept meanwhile (T1).
    pub const fn backoff(mut self, first: Duration, cap: Duration) -> Self {
        self.config.backoff.first = first;
        self.config.backoff.cap = cap;
        self
    }

    /// After so many panics in a row and one more, a worker gives up; when the last one does, all requests are given
    /// back. Default: never.
    pub const fn restarts_max(mut self, restarts: u32) -> Self {
        self.config.backoff.restarts_max = restarts;
        self
    }

    /// Starts the worker. `make` makes the handler of each of its tasks, and another one after a panic.
    ///
    /// # Errors
    /// If there is no Tokio runtime here.
    pub fn spawn<Q, R, H>(self, make: impl Fn() -> H + Send + Sync + 'static) -> Result<Worker<Q, R>, SpawnError>
    where
        Q: Send + 'static,
        R: Send + 'static,
        H: Handler<Q, Reply = R>,
    {
        let runtime = Runtime::current().ok_or(SpawnError::NoRuntime)?;
        let shared = Arc::new(Shared::new(self.name, self.config));
        let make: Arc<dyn Fn() -> H + Send + Sync> = Arc::new(make);
        let workers = (0..self.config.workers.max(1)).map(|id| {
            let worker = run(Arc::clone(&shared), WorkerId(id), Arc::clone(&make), self.drops_abandoned);
            let span = tracing::debug_span!(parent: None, "raceproof.worker", worker = &*shared.name);
            runtime.task(worker.instrument(span)).abort_handle()
        });
        let workers: Vec<_> = workers.collect();
        *shared.tasks.lock().unwrap_or_else(PoisonError::into_inner) = workers;
        Ok(Worker { owner: Arc::new(Owner { shared, timeout: self.timeout }) })
    }
}
