//! Requests in their order, and the workers that take them.

use std::collections::VecDeque;
use std::time::Duration;

use super::config::Config;
use super::error::OfferError;
use crate::time::Time;

/// Names a request of one mailbox. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(u64);

/// One of the workers, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub usize);

/// What a worker finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// The oldest request that somebody waits for.
    Request(T),
    /// There is none.
    Empty,
    /// There is none, and there will be none.
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
    /// Requests that were taken into the mailbox.
    pub accepted: u64,
    /// Requests that were given back because the mailbox was full.
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

#[derive(Debug)]
pub(super) struct Entry<T> {
    id: RequestId,
    deadline: Option<Time>,
    /// None once it was abandoned.
    request: Option<T>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Open,
    /// What waits is still handed out.
    Draining,
    Stopped,
}

/// Requests `T` that wait for workers, who leave a `W` when there is none.
#[derive(Debug)]
pub struct Mailbox<T, W> {
    config: Config,
    rng: fastrand::Rng,
    /// In the order of their ids; the first and the last were not abandoned.
    pub(super) queue: VecDeque<Entry<T>>,
    live: usize,
    /// How many of those that wait have a deadline.
    timed: usize,
    next_id: u64,
    /// The one that parked last is woken first: its memory is the warmest.
    parked: Vec<(WorkerId, W)>,
    /// Panics in a row of each worker that is not over.
    workers: Vec<Option<u32>>,
    in_hand: usize,
    phase: Phase,
    counters: Counters,
}

impl<T, W> Mailbox<T, W> {
    /// An empty mailbox. The seed is for the pauses after panics.
    #[must_use]
    pub fn new(mut config: Config, seed: u64) -> Self {
        config.capacity = config.capacity.max(1);
        config.workers = config.workers.max(1);
        Self {
            config,
            rng: fastrand::Rng::with_seed(seed),
            queue: VecDeque::new(),
            live: 0,
            timed: 0,
            next_id: 0,
            parked: Vec::new(),
            workers: vec![Some(0); config.workers],
            in_hand: 0,
            phase: Phase::Open,
            counters: Counters::default(),
        }
    }

    /// Takes a request, and gives the waker of a worker for it if one is free.
    ///
    /// # Errors
    /// The request, if the mailbox is full or stopped.
    pub fn offer(&mut self, request: T, deadline: Option<Time>) -> Result<(RequestId, Option<W>), OfferError<T>> {
        if self.phase != Phase::Open {
            return Err(OfferError::Stopped(request));
        }
        if self.live >= self.config.capacity {
            self.counters.refused += 1;
            return Err(OfferError::Full(request));
        }
        let id = RequestId(self.next_id);
        self.next_id += 1;
        self.queue.push_back(Entry { id, deadline, request: Some(request) });
        self.live += 1;
        self.timed += usize::from(deadline.is_some());
        self.counters.accepted += 1;
        Ok((id, self.parked.pop().map(|(_, waker)| waker)))
    }

    /// Nobody waits for this request any more. It is given back if no worker has it, and its place is free (T3).
    pub fn abandon(&mut self, id: RequestId) -> Option<T> {
        let at = self.queue.binary_search_by_key(&id, |entry| entry.id).ok()?;
        let entry = self.queue.get_mut(at)?;
        let request = entry.request.take()?;
        self.live -= 1;
        self.timed -= usize::from(entry.deadline.is_some());
        self.counters.abandoned += 1;
        let gone = |entry: Option<&Entry<T>>| entry.is_some_and(|entry| entry.request.is_none());
        while gone(self.queue.back()) {
            self.queue.pop_back();
        }
        while gone(self.queue.front()) {
            self.queue.pop_front();
        }
        // What is abandoned between two that wait takes memory, but never more than as many again as may wait.
        if self.queue.len() > 2 * self.config.capacity {
            self.queue.retain(|entry| entry.request.is_some());
        }
        Some(request)
    }

    /// Whether [`take`](Self::take) looks at the time.
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        self.timed > 0
    }

    /// Hands the oldest request to a worker. Those whose time is over are not handed out, but given to `expired` (T3).
    pub fn take(&mut self, now: Time, expired: &mut Vec<T>) -> Taken<T> {
        while let Some(entry) = self.queue.pop_front() {
            let Some(request) = entry.request else { continue };
            self.live -= 1;
            self.timed -= usize::from(entry.deadline.is_some());
            if entry.deadline.is_some_and(|deadline| deadline <= now) {
                self.counters.expired += 1;
                expired.push(request);
                continue;
            }
            self.in_hand += 1;
            return Taken::Request(request);
        }
        match self.phase {
            Phase::Open => Taken::Empty,
            Phase::Draining | Phase::Stopped => Taken::Stopped,
        }
    }

    /// Leaves a waker with an idle worker. What was there is given back; so is `waker`, and false, if there is something
    /// to take.
    pub fn park(&mut self, worker: WorkerId, waker: W) -> (bool, Option<W>) {
        if self.live > 0 || self.phase != Phase::Open {
            return (false, Some(waker));
        }
        if let Some((_, parked)) = self.parked.iter_mut().find(|(id, _)| *id == worker) {
            return (true, Some(std::mem::replace(parked, waker)));
        }
        self.parked.push((worker, waker));
        (true, None)
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
    pub fn gone(&mut self, worker: WorkerId, had_request: bool) -> (Vec<T>, Option<W>) {
        self.in_hand -= usize::from(had_request);
        self.parked.retain(|(id, _)| *id != worker);
        if let Some(state) = self.workers.get_mut(worker.0) {
            *state = None;
        }
        if self.workers.iter().all(Option::is_none) {
            return (self.stop(&mut Vec::new()), None);
        }
        let waker = if self.live > 0 { self.parked.pop().map(|(_, waker)| waker) } else { None };
        (Vec::new(), waker)
    }

    /// Takes no more requests; what waits is still handed out. Every idle worker has to look.
    pub fn drain(&mut self, wakes: &mut Vec<W>) {
        if self.phase == Phase::Open {
            self.phase = Phase::Draining;
        }
        wakes.extend(self.parked.drain(..).map(|(_, waker)| waker));
    }

    /// Takes no more requests and hands none out; what waits is given back. Every idle worker has to look.
    pub fn stop(&mut self, wakes: &mut Vec<W>) -> Vec<T> {
        self.drain(wakes);
        self.phase = Phase::Stopped;
        (self.live, self.timed) = (0, 0);
        self.queue.drain(..).filter_map(|entry| entry.request).collect()
    }

    /// How many requests wait.
    #[must_use]
    pub const fn waiting(&self) -> usize {
        self.live
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

    /// Whether no more requests are taken.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.phase != Phase::Open
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }
}
