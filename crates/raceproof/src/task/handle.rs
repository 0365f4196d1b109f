//! One task that was taken.

use std::fmt;
use std::sync::Arc;

use raceproof_core::task::{Accepted, Outcome, RunId};
use tokio::sync::SetOnce;

use super::shared::Shared;

/// A task that was taken.
///
/// Dropping it changes nothing: the task belongs to its supervisor.
#[derive(Clone)]
pub struct TaskHandle {
    pub(super) shared: Arc<Shared>,
    pub(super) name: Arc<str>,
    pub(super) run: RunId,
    pub(super) how: Accepted,
    pub(super) settled: Arc<SetOnce<Outcome>>,
}

impl fmt::Debug for TaskHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TaskHandle")
            .field("name", &self.name)
            .field("run", &self.run)
            .field("outcome", &self.settled.get())
            .finish_non_exhaustive()
    }
}

impl TaskHandle {
    /// The name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Which task of this name. Handles of coalesced tasks have the same.
    #[must_use]
    pub const fn run(&self) -> RunId {
        self.run
    }

    /// Whether it was started at once, waits, or is the same as one that waited already.
    #[must_use]
    pub const fn accepted(&self) -> Accepted {
        self.how
    }

    /// Asks the task to stop: it never starts if it waits, and is stopped by force if it does not end within the grace.
    pub fn cancel(&self) {
        self.shared.input(|machine, now| machine.cancel(now, self.run));
    }

    /// What became of it, restarts included, if it is over.
    #[must_use]
    pub fn try_outcome(&self) -> Option<Outcome> {
        self.settled.get().cloned()
    }

    /// Waits until it is over, restarts included, and says what became of it. Its body has been dropped by then.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped; the task goes on.
    pub async fn outcome(&self) -> Outcome {
        self.settled.wait().await.clone()
    }
}
