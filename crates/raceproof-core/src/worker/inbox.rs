//! Where callers leave requests, and idle workers their wakers.

use super::config::Config;
use super::error::OfferError;
use super::mailbox::WorkerId;
use super::queue::{Queue, RequestId};
use crate::time::Time;

/// What a caller asks for with its request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Terms {
    /// When the request need not be begun any more.
    pub deadline: Option<Time>,
    /// Whether the caller waits for room if as many requests wait as may.
    pub patient: bool,
}

impl Terms {
    /// Without a deadline, and without patience.
    #[must_use]
    pub const fn new() -> Self {
        Self { deadline: None, patient: false }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Open,
    /// What waits is still handed out.
    Draining,
    Stopped,
}

/// Requests `T` that no worker has looked at, and what idle workers leave: a `W` each.
///
/// It may be under a lock of its own, taken after that of the [`Mailbox`](super::Mailbox) where both are: then callers
/// meet workers only when the mailbox has run empty.
#[derive(Debug)]
pub struct Inbox<T, W> {
    capacity: usize,
    patient_max: usize,
    pub(super) queue: Queue<T>,
    /// No more than this many wait in the mailbox; it may be too high, never too low.
    pub(super) moved: usize,
    next_id: u64,
    /// The one that parked last is woken first: its memory is the warmest.
    parked: Vec<(WorkerId, W)>,
    pub(super) phase: Phase,
    pub(super) accepted: u64,
    pub(super) refused: u64,
    pub(super) abandoned: u64,
}

impl<T, W> Inbox<T, W> {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            capacity: config.capacity.max(1),
            patient_max: config.patient_max,
            queue: Queue::new(),
            moved: 0,
            next_id: 0,
            parked: Vec::new(),
            phase: Phase::Open,
            accepted: 0,
            refused: 0,
            abandoned: 0,
        }
    }

    /// Takes a request, and gives the waker of a worker for it if one is free.
    ///
    /// # Errors
    /// The request, if there is no room or no more are taken. What is said of room is final only from
    /// [`Mailbox::offer`](super::Mailbox::offer), which knows how many wait: ask there.
    pub fn offer(&mut self, request: T, terms: Terms) -> Result<(RequestId, Option<W>), OfferError<T>> {
        if self.phase != Phase::Open {
            return Err(OfferError::Stopped(request));
        }
        let waiting = self.queue.len() + self.moved;
        if waiting >= self.capacity {
            if !terms.patient {
                return Err(OfferError::Full(request));
            }
            if waiting - self.capacity >= self.patient_max {
                return Err(OfferError::TooManyWaiting(request));
            }
        }
        let id = RequestId(self.next_id);
        self.next_id += 1;
        self.queue.push(id, terms.deadline, request);
        self.accepted += 1;
        Ok((id, self.parked.pop().map(|(_, waker)| waker)))
    }

    /// Nobody waits for this request any more. It is given back if it is here; else ask
    /// [`Mailbox::abandon`](super::Mailbox::abandon).
    pub fn withdraw(&mut self, id: RequestId) -> Option<T> {
        let request = self.queue.remove(id);
        self.abandoned += u64::from(request.is_some());
        request
    }

    /// Leaves a waker with an idle worker. What was there is given back; so is `waker`, and false, if there is something
    /// to take.
    pub fn park(&mut self, worker: WorkerId, waker: W) -> (bool, Option<W>) {
        if self.queue.len() > 0 || self.phase != Phase::Open {
            return (false, Some(waker));
        }
        if let Some((_, parked)) = self.parked.iter_mut().find(|(id, _)| *id == worker) {
            return (true, Some(std::mem::replace(parked, waker)));
        }
        self.parked.push((worker, waker));
        (true, None)
    }

    pub(super) fn forget(&mut self, worker: WorkerId) {
        self.parked.retain(|(id, _)| *id != worker);
    }

    pub(super) fn wake_one(&mut self) -> Option<W> {
        self.parked.pop().map(|(_, waker)| waker)
    }

    pub(super) fn wake_all(&mut self, wakes: &mut Vec<W>) {
        wakes.extend(self.parked.drain(..).map(|(_, waker)| waker));
    }

    pub(super) const fn capacity(&self) -> usize {
        self.capacity
    }

    /// Whether no more requests are taken.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.phase != Phase::Open
    }
}
