//! What is asked for a task.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use raceproof_core::overlap::Overlap;
use raceproof_core::task::{Restart, Spec};

use super::body::{Body, Finish};
use super::error::SpawnError;
use super::handle::TaskHandle;
use super::shared::Shared;
use super::token::CancelToken;

/// A task that is being described; [`spawn`](Self::spawn) or [`supervise`](Self::supervise) makes it.
#[must_use = "nothing runs until `spawn` or `supervise` is called"]
pub struct Submit {
    shared: Arc<Shared>,
    name: Arc<str>,
    spec: Spec,
}

impl fmt::Debug for Submit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Submit").field("name", &self.name).field("spec", &self.spec).finish_non_exhaustive()
    }
}

impl Submit {
    pub(super) fn new(shared: Arc<Shared>, name: Arc<str>) -> Self {
        let mut spec = Spec::default();
        spec.backoff = shared.backoff;
        Self { shared, name, spec }
    }

    /// What happens if a task of this name runs. Default: [`Overlap::Skip`], this one is refused.
    pub const fn overlap(mut self, overlap: Overlap) -> Self {
        self.spec.overlap = overlap;
        self
    }

    /// The pause before the first restart, which doubles with every failure in a row, and the longest one. Default: the
    /// supervisor's, 100 ms and 30 s. Each pause is a random point in the upper half of that.
    pub const fn backoff(mut self, first: Duration, cap: Duration) -> Self {
        self.spec.backoff.first = first;
        self.spec.backoff.cap = cap;
        self
    }

    /// How many failures in a row are followed by a restart; the next one ends the task with
    /// [`Outcome::GaveUp`](super::Outcome::GaveUp). Default 10.
    pub const fn restarts_max(mut self, restarts: u32) -> Self {
        self.spec.backoff.restarts_max = restarts;
        self
    }

    /// How long a body has to run for the failures before it not to count any more. Default 60 s.
    pub const fn healthy_after(mut self, ran: Duration) -> Self {
        self.spec.backoff.healthy_after = ran;
        self
    }

    /// Runs `body` once, when the overlap lets it. It is given a token that is cancelled when it has to stop.
    ///
    /// # Errors
    /// Why not; `body` has not been called.
    pub fn spawn<B, F>(self, body: B) -> Result<TaskHandle, SpawnError>
    where
        B: FnOnce(CancelToken) -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: Finish,
    {
        self.shared.submit(self.name, self.spec, Body::once(body))
    }

    /// Runs `body`, and runs it again when it has ended as `restart` says. The name stays taken in between.
    ///
    /// # Errors
    /// Why not; `body` has not been called.
    pub fn supervise<B, F>(mut self, restart: Restart, body: B) -> Result<TaskHandle, SpawnError>
    where
        B: FnMut(CancelToken) -> F + Send + 'static,
        F: Future + Send + 'static,
        F::Output: Finish,
    {
        self.spec.restart = restart;
        self.shared.submit(self.name, self.spec, Body::many(body))
    }
}
