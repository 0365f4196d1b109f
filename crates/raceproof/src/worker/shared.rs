//! What the handles and the tasks of one worker share: the core's mailbox behind a lock.

use std::sync::{Arc, PoisonError};
use std::task::Waker;

use raceproof_core::worker::{Config, Inbox, Mailbox, OfferError, RequestId, Terms, WorkerId};
use tokio::sync::{Notify, oneshot};

use super::stats::Stats;
use crate::rt::{AbortHandle, Clock, discarded};
use crate::sync::{Mutex, MutexGuard};

/// Why a request that was taken is not answered.
#[derive(Debug)]
pub(super) enum Fault<Q> {
    Panicked(String),
    Stopped(Q),
    Expired(Q),
}

pub(super) type Reply<Q, R> = oneshot::Sender<Result<R, Fault<Q>>>;

/// A request and where its answer goes.
#[derive(Debug)]
pub(super) struct Job<Q, R> {
    pub(super) request: Q,
    pub(super) reply: Reply<Q, R>,
}

/// In a cache line that nothing else is in: callers take the one lock, workers the other.
#[repr(align(128))]
struct Apart<T>(Mutex<T>);

pub(super) struct Shared<Q, R> {
    pub(super) name: Arc<str>,
    mailbox: Apart<Mailbox<Job<Q, R>>>,
    /// Locked after the mailbox where both are.
    inbox: Apart<Inbox<Job<Q, R>, Waker>>,
    pub(super) clock: Clock,
    pub(super) tasks: Mutex<Vec<AbortHandle>>,
    /// Told when a worker has ended.
    pub(super) ended: Notify,
}

impl<Q, R> Shared<Q, R> {
    pub(super) fn new(name: Arc<str>, config: Config) -> Self {
        let (mailbox, inbox) = Mailbox::new(config, fastrand::u64(..));
        Self {
            name,
            mailbox: Apart(Mutex::new(mailbox)),
            inbox: Apart(Mutex::new(inbox)),
            clock: Clock::new(),
            tasks: Mutex::new(Vec::new()),
            ended: Notify::new(),
        }
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, Mailbox<Job<Q, R>>> {
        self.mailbox.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[inline]
    pub(super) fn inbox(&self) -> MutexGuard<'_, Inbox<Job<Q, R>, Waker>> {
        self.inbox.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a request, and wakes a worker for it.
    pub(super) fn offer(&self, job: Job<Q, R>, terms: Terms) -> Result<RequestId, OfferError<Job<Q, R>>> {
        let offered = self.inbox().offer(job, terms);
        let (id, waker) = match offered {
            Err(OfferError::Full(job) | OfferError::TooManyWaiting(job)) => {
                let (now, mut expired) = (self.clock.now(), Vec::new());
                let mut mailbox = self.lock();
                let offered = mailbox.offer(&mut self.inbox(), (job, terms), now, &mut expired);
                drop(mailbox);
                expire(&mut expired);
                offered?
            }
            offered => offered?,
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(id)
    }

    /// Takes a request back, if no worker has it (T3).
    pub(super) fn take_back(&self, id: RequestId) -> Option<Job<Q, R>> {
        let here = self.inbox().withdraw(id);
        // Requests only move from the inbox to the mailbox.
        here.or_else(|| self.lock().abandon(id))
    }

    /// Takes no more requests; those that wait are still answered.
    pub(super) fn drain(&self) {
        let mut wakes = Vec::new();
        self.lock().drain(&mut self.inbox(), &mut wakes);
        wakes.into_iter().for_each(Waker::wake);
    }

    /// Takes no more requests, gives back those that wait, and drops those in hand at their next `.await`. How many
    /// there were of both.
    pub(super) fn stop(&self) -> (usize, usize) {
        let mut wakes = Vec::new();
        let mut mailbox = self.lock();
        let in_hand = mailbox.in_hand();
        let waiting = mailbox.stop(&mut self.inbox(), &mut wakes);
        drop(mailbox);
        let count = waiting.len();
        give_back(waiting);
        let tasks = std::mem::take(&mut *self.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        for task in tasks {
            task.abort();
        }
        wakes.into_iter().for_each(Waker::wake);
        (in_hand, count)
    }

    /// A worker has ended, however it did.
    pub(super) fn gone(&self, worker: WorkerId, had_request: bool) {
        let (left, waker) = self.lock().gone(&mut self.inbox(), worker, had_request);
        if !left.is_empty() {
            tracing::error!(worker = &*self.name, requests = left.len(), "no worker is left for these requests");
        }
        give_back(left);
        if let Some(waker) = waker {
            waker.wake();
        }
        self.ended.notify_waiters();
    }

    pub(super) fn stats(&self) -> Stats {
        let mailbox = self.lock();
        let inbox = self.inbox();
        let (counters, waiting) = (mailbox.counters(&inbox), mailbox.waiting(&inbox));
        Stats {
            waiting: waiting.requests,
            patient: waiting.patient,
            in_hand: mailbox.in_hand(),
            workers: mailbox.workers(),
            stopped: inbox.is_stopped(),
            accepted: counters.accepted,
            refused: counters.refused,
            abandoned: counters.abandoned,
            expired: counters.expired,
            answered: counters.done,
            panicked: counters.panicked,
        }
    }
}

fn give_back<Q, R>(jobs: Vec<Job<Q, R>>) {
    for Job { request, reply } in jobs {
        answer(reply, Err(Fault::Stopped(request)));
    }
}

/// Answers those that waited for too long; their callers' own clocks may be behind.
pub(super) fn expire<Q, R>(jobs: &mut Vec<Job<Q, R>>) {
    for Job { request, reply } in jobs.drain(..) {
        answer(reply, Err(Fault::Expired(request)));
    }
}

/// Tells a caller. If it has gone nobody wants what it is told, and a panic in the drop of that is not whose task this
/// is.
pub(super) fn answer<Q, R>(reply: Reply<Q, R>, answer: Result<R, Fault<Q>>) {
    discarded(|| drop(reply.send(answer)));
}
