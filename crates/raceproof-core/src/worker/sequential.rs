//! A mailbox and its inbox as one, for tests: each call does what a shell does with its locks.

use super::{Config, Counters, Inbox, Mailbox, Next, OfferError, Refilled, RequestId, Terms, WorkerId};
use crate::time::Time;

/// What a worker finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Taken<T> {
    Request(T),
    Empty,
    Stopped,
}

pub(super) struct Sequential<T, W> {
    pub(super) mailbox: Mailbox<T>,
    pub(super) inbox: Inbox<T, W>,
}

impl<T, W> Sequential<T, W> {
    pub(super) fn new(config: Config) -> Self {
        let (mailbox, inbox) = Mailbox::new(config, 7);
        Self { mailbox, inbox }
    }

    pub(super) fn offer(
        &mut self,
        request: T,
        terms: Terms,
        now: Time,
        expired: &mut Vec<T>,
    ) -> Result<(RequestId, Option<W>), OfferError<T>> {
        match self.inbox.offer(request, terms) {
            Err(OfferError::Full(request) | OfferError::TooManyWaiting(request)) => {
                self.mailbox.offer(&mut self.inbox, (request, terms), now, expired)
            }
            offered => offered,
        }
    }

    pub(super) fn abandon(&mut self, id: RequestId) -> Option<T> {
        self.inbox.withdraw(id).or_else(|| self.mailbox.abandon(id))
    }

    pub(super) fn take(&mut self, now: Time, expired: &mut Vec<T>) -> Taken<T> {
        loop {
            if let Some(request) = self.mailbox.take(now, expired) {
                return Taken::Request(request);
            }
            match self.mailbox.refill(&mut self.inbox) {
                Refilled::Some => {}
                Refilled::Empty => return Taken::Empty,
                Refilled::Stopped => return Taken::Stopped,
            }
        }
    }

    pub(super) fn park(&mut self, worker: WorkerId, waker: W) -> (bool, Option<W>) {
        self.inbox.park(worker, waker)
    }

    pub(super) fn done(&mut self, worker: WorkerId) {
        self.mailbox.done(worker);
    }

    pub(super) fn panicked(&mut self, worker: WorkerId) -> Next {
        self.mailbox.panicked(worker, true)
    }

    pub(super) fn gone(&mut self, worker: WorkerId) -> (Vec<T>, Option<W>) {
        self.mailbox.gone(&mut self.inbox, worker, false)
    }

    pub(super) fn drain(&mut self, wakes: &mut Vec<W>) {
        self.mailbox.drain(&mut self.inbox, wakes);
    }

    pub(super) fn stop(&mut self, wakes: &mut Vec<W>) -> Vec<T> {
        self.mailbox.stop(&mut self.inbox, wakes)
    }

    /// Requests that wait, those of patient callers included.
    pub(super) fn waiting(&self) -> usize {
        let waiting = self.mailbox.waiting(&self.inbox);
        waiting.requests + waiting.patient
    }

    pub(super) fn counters(&self) -> Counters {
        self.mailbox.counters(&self.inbox)
    }
}
