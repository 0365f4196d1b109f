//! Who waits for a turn, in order and not without end.

use tokio::sync::{Semaphore, SemaphorePermit};

use crate::sync::atomic::{AtomicUsize, Ordering};

/// As many wait as may.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{waiting_max} wait already, which is the limit")]
#[non_exhaustive]
pub struct QueueFull {
    /// The limit.
    pub waiting_max: usize,
}

/// One has the turn; the others wait behind it.
#[derive(Debug)]
pub(super) struct Queue {
    turn: Semaphore,
    waiting: AtomicUsize,
    waiting_max: usize,
}

/// Its owner has the turn. Dropping it passes it on.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    _permit: SemaphorePermit<'a>,
    _place: Place<'a>,
}

/// One of those who wait.
#[derive(Debug)]
pub(super) struct Place<'a>(&'a AtomicUsize);

impl Queue {
    pub(super) fn new(waiting_max: usize) -> Self {
        Self { turn: Semaphore::new(1), waiting: AtomicUsize::new(0), waiting_max }
    }

    /// Waits for the turn. Whoever has it counts as waiting too: it waits for what it has the turn for.
    pub(super) async fn turn(&self) -> Result<Turn<'_>, QueueFull> {
        let place = Place::take(&self.waiting, self.waiting_max)?;
        let permit = self.turn.acquire().await.expect("the semaphore is never closed");
        Ok(Turn { _permit: permit, _place: place })
    }

    pub(super) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }
}

impl<'a> Place<'a> {
    pub(super) fn take(waiting: &'a AtomicUsize, waiting_max: usize) -> Result<Self, QueueFull> {
        let place = Self(waiting);
        if waiting.fetch_add(1, Ordering::Relaxed) >= waiting_max.max(1) {
            return Err(QueueFull { waiting_max });
        }
        Ok(place)
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
