//! Requests in their order, and the workers that take them.

use std::time::Duration;

use super::config::Config;
use super::error::OfferError;
use super::inbox::{Inbox, Phase, Terms};
use super::queue::{Queue, RequestId};
use crate::time::Time;

/// One of the workers, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub usize);

/// What there is to take when the mailbox has run empty.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refilled {
    /// More: take again.
    Some,
    /// Nothing.
    Empty,
    /// Nothing, and there will be nothing.
    Stopped,
}

/// What a worker does after a panic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on after this pause.
    Restart {
        /// The pause.
        after: Duration,
    },
    /// It has panicked too often in a row and is over.
    GiveUp,
}

/// What happened since the mailbox was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Requests that were taken.
    pub accepted: u64,
    /// Requests that were given back because there was no room.
    pub refused: u64,
    /// Requests that were abandoned, and not started or not finished.
    pub abandoned: u64,
    /// Requests whose time was over before a worker had them.
    pub expired: u64,
    /// Requests that were done.
    pub done: u64,
    /// Panics of workers.
    pub panicked: u64,
}

/// What waits, and for whom.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Waiting {
    /// Requests in the mailbox.
    pub requests: usize,
    /// Requests of callers that wait for room in it.
    pub patient: usize,
}

/// Requests `T` that wait for workers.
#[derive(Debug)]
pub struct Mailbox<T> {
    config: Config,
    rng: fastrand::Rng,
    pub(super) queue: Queue<T>,
    /// Panics in a row of each worker that is not over.
    workers: Vec<Option<u32>>,
    in_hand: usize,
    counters: Counters,
}

impl<T> Mailbox<T> {
    /// An empty mailbox, and where requests for it are left. The seed is for the pauses after panics.
    #[must_use]
    pub fn new<W>(mut config: Config, seed: u64) -> (Self, Inbox<T, W>) {
        config.workers = config.workers.max(1);
        let mailbox = Self {
            config,
            rng: fastrand::Rng::with_seed(seed),
            queue: Queue::new(),
            workers: vec![Some(0); config.workers],
            in_hand: 0,
            counters: Counters::default(),
        };
        (mailbox, Inbox::new(&config))
    }

    /// [`Inbox::offer`], after a look at how many wait, of which those whose time is over hold no place: they are given
    /// to `expired` (T3).
    ///
    /// # Errors
    /// The request, if there is no room or no more are taken.
    pub fn offer<W>(
        &mut self,
        inbox: &mut Inbox<T, W>,
        (request, terms): (T, Terms),
        now: Time,
        expired: &mut Vec<T>,
    ) -> Result<(RequestId, Option<W>), OfferError<T>> {
        let before = expired.len();
        self.queue.remove_expired(now, expired);
        inbox.queue.remove_expired(now, expired);
        self.counters.expired += (expired.len() - before) as u64;
        inbox.moved = self.queue.len();
        let offered = inbox.offer(request, terms);
        inbox.refused += u64::from(matches!(offered, Err(OfferError::Full(_) | OfferError::TooManyWaiting(_))));
        offered
    }

    /// Nobody waits for this request any more, and it is not in the inbox. It is given back if no worker has it, and its
    /// place is free (T3).
    pub fn abandon(&mut self, id: RequestId) -> Option<T> {
        let request = self.queue.remove(id);
        self.counters.abandoned += u64::from(request.is_some());
        request
    }

    /// Whether [`take`](Self::take) looks at the time.
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        self.queue.is_timed()
    }

    /// Hands the oldest request to a worker. Those whose time is over are not handed out, but given to `expired` (T3).
    pub fn take(&mut self, now: Time, expired: &mut Vec<T>) -> Option<T> {
        while let Some((request, deadline)) = self.queue.pop() {
            if deadline.is_some_and(|deadline| deadline <= now) {
                self.counters.expired += 1;
                expired.push(request);
                continue;
            }
            self.in_hand += 1;
            return Some(request);
        }
        None
    }

    /// Moves what has come meanwhile into the mailbox, behind what is there.
    pub fn refill<W>(&mut self, inbox: &mut Inbox<T, W>) -> Refilled {
        self.queue.append(&mut inbox.queue);
        inbox.moved = self.queue.len();
        match inbox.phase {
            _ if inbox.moved > 0 => Refilled::Some,
            Phase::Open => Refilled::Empty,
            Phase::Draining | Phase::Stopped => Refilled::Stopped,
        }
    }

    /// A worker has answered what it had.
    pub fn done(&mut self, worker: WorkerId) {
        self.in_hand -= 1;
        self.counters.done += 1;
        if let Some(Some(panics)) = self.workers.get_mut(worker.0) {
            *panics = 0;
        }
    }

    /// A worker let go of what it had, because nobody waits for it any more (T3).
    pub const fn skipped(&mut self) {
        self.in_hand -= 1;
        self.counters.abandoned += 1;
    }

    /// A worker panicked, with a request in its hand or while it was set up (T1).
    pub fn panicked(&mut self, worker: WorkerId, had_request: bool) -> Next {
        self.in_hand -= usize::from(had_request);
        self.counters.panicked += 1;
        let Some(panics) = self.workers.get_mut(worker.0).and_then(Option::as_mut) else { return Next::GiveUp };
        *panics = panics.saturating_add(1);
        if *panics > self.config.backoff.restarts_max {
            return Next::GiveUp;
        }
        let after = match *panics {
            1 => Duration::ZERO,
            many => self.config.backoff.pause(many - 1, &mut self.rng),
        };
        Next::Restart { after }
    }

    /// A worker is over, whatever it had. If it was the last, all that waits is given back; else another may have to be
    /// woken in its place.
    pub fn gone<W>(&mut self, inbox: &mut Inbox<T, W>, worker: WorkerId, had_request: bool) -> (Vec<T>, Option<W>) {
        self.in_hand -= usize::from(had_request);
        inbox.forget(worker);
        if let Some(state) = self.workers.get_mut(worker.0) {
            *state = None;
        }
        if self.workers.iter().all(Option::is_none) {
            return (self.stop(inbox, &mut Vec::new()), None);
        }
        let waits = self.queue.len() + inbox.queue.len() > 0;
        (Vec::new(), if waits { inbox.wake_one() } else { None })
    }

    /// Takes no more requests; what waits is still handed out. Every idle worker has to look.
    pub fn drain<W>(&self, inbox: &mut Inbox<T, W>, wakes: &mut Vec<W>) {
        if inbox.phase == Phase::Open {
            inbox.phase = Phase::Draining;
        }
        inbox.wake_all(wakes);
    }

    /// Takes no more requests and hands none out; what waits is given back. Every idle worker has to look.
    pub fn stop<W>(&mut self, inbox: &mut Inbox<T, W>, wakes: &mut Vec<W>) -> Vec<T> {
        inbox.wake_all(wakes);
        inbox.phase = Phase::Stopped;
        self.queue.drain().chain(inbox.queue.drain()).collect()
    }

    /// What waits.
    #[must_use]
    pub fn waiting<W>(&self, inbox: &Inbox<T, W>) -> Waiting {
        let all = self.queue.len() + inbox.queue.len();
        let patient = all.saturating_sub(inbox.capacity());
        Waiting { requests: all - patient, patient }
    }

    /// How many requests are in workers' hands.
    #[must_use]
    pub const fn in_hand(&self) -> usize {
        self.in_hand
    }

    /// How many workers are not over.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.workers.iter().flatten().count()
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters<W>(&self, inbox: &Inbox<T, W>) -> Counters {
        let abandoned = self.counters.abandoned + inbox.abandoned;
        Counters { accepted: inbox.accepted, refused: inbox.refused, abandoned, ..self.counters }
    }
}
