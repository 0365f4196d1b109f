//! What the handles and the tasks of one worker share: the core's mailbox behind a lock.

use std::sync::{Arc, PoisonError};
use std::task::Waker;

use raceproof_core::worker::{Config, Mailbox, WorkerId};
use tokio::sync::{Notify, oneshot};

use super::stats::Stats;
use crate::rt::{AbortHandle, Clock};
use crate::sync::{Mutex, MutexGuard};

/// Why a request that was taken is not answered.
#[derive(Debug)]
pub(super) enum Fault<Q> {
    Panicked(String),
    Stopped(Q),
    Expired(Q),
}

/// A request and where its answer goes.
#[derive(Debug)]
pub(super) struct Job<Q, R> {
    pub(super) request: Q,
    pub(super) reply: oneshot::Sender<Result<R, Fault<Q>>>,
}

pub(super) struct Shared<Q, R> {
    pub(super) name: Arc<str>,
    mailbox: Mutex<Mailbox<Job<Q, R>, Waker>>,
    pub(super) clock: Clock,
    pub(super) tasks: Mutex<Vec<AbortHandle>>,
    /// Told when a worker has ended.
    pub(super) ended: Notify,
}

impl<Q, R> Shared<Q, R> {
    pub(super) fn new(name: Arc<str>, config: Config) -> Self {
        Self {
            name,
            mailbox: Mutex::new(Mailbox::new(config, fastrand::u64(..))),
            clock: Clock::new(),
            tasks: Mutex::new(Vec::new()),
            ended: Notify::new(),
        }
    }

    #[inline]
    pub(super) fn lock(&self) -> MutexGuard<'_, Mailbox<Job<Q, R>, Waker>> {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes no more requests; those that wait are still answered.
    pub(super) fn drain(&self) {
        let mut wakes = Vec::new();
        self.lock().drain(&mut wakes);
        wakes.into_iter().for_each(Waker::wake);
    }

    /// Takes no more requests, gives back those that wait, and drops those in hand at their next `.await`. How many
    /// there were of both.
    pub(super) fn stop(&self) -> (usize, usize) {
        let mut wakes = Vec::new();
        let mut mailbox = self.lock();
        let in_hand = mailbox.in_hand();
        let waiting = mailbox.stop(&mut wakes);
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
        let (left, waker) = self.lock().gone(worker, had_request);
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
        let counters = mailbox.counters();
        Stats {
            waiting: mailbox.waiting(),
            in_hand: mailbox.in_hand(),
            workers: mailbox.workers(),
            stopped: mailbox.is_stopped(),
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
        // Fails if the caller has gone; then nobody wants it.
        let _ = reply.send(Err(Fault::Stopped(request)));
    }
}

/// Answers those that waited for too long; their callers' own clocks may be behind.
pub(super) fn expire<Q, R>(jobs: &mut Vec<Job<Q, R>>) {
    for Job { request, reply } in jobs.drain(..) {
        let _ = reply.send(Err(Fault::Expired(request)));
    }
}
