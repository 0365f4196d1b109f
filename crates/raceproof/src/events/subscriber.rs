//! The receiving side.

use std::collections::VecDeque;
use std::fmt;
use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use raceproof_core::events::{Gap, Outputs, Read, ReaderId};
use tokio::task::coop::poll_proceed;

use super::error::RecvError;
use super::shared::{Meta, Out, Shared};
use super::subscribe::Filter;
use crate::sync::atomic::Ordering;

/// So many events are taken from the ring under one lock.
const BATCH: usize = 64;

/// What a subscriber receives.
#[derive(Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Received<E> {
    /// An event, shared with all who receive it.
    Event(Arc<E>),
    /// In this place events are missing, because the subscriber was too far behind
    /// ([`Policy::DropOldest`](super::Policy::DropOldest)).
    Gap(Gap),
}

impl<E> Clone for Received<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Event(event) => Self::Event(Arc::clone(event)),
            Self::Gap(gap) => Self::Gap(*gap),
        }
    }
}

impl<E> Received<E> {
    /// The event, if it is one.
    #[must_use]
    pub fn event(self) -> Option<Arc<E>> {
        match self {
            Self::Event(event) => Some(event),
            Self::Gap(_) => None,
        }
    }
}

/// Receives the events of a bus in the order of publishing (B1).
///
/// Dropping it ends the subscription; what it had not received is lost to it, and nobody waits for it any more.
pub struct Subscriber<E> {
    shared: Arc<Shared<E>>,
    id: ReaderId,
    meta: Arc<Meta>,
    filter: Option<Filter<E>>,
    /// Taken from the ring, not yet received.
    taken: VecDeque<Arc<E>>,
    /// Kept for its memory.
    out: Out<E>,
    /// How many events were taken since it last parked.
    run: usize,
    /// Whether it has let other tasks run since it last took an event.
    rested: bool,
    ended: Option<RecvError>,
}

impl<E> fmt::Debug for Subscriber<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscriber").field("name", &self.meta.name).field("ended", &self.ended).finish_non_exhaustive()
    }
}

impl<E> Subscriber<E> {
    pub(super) fn new(shared: Arc<Shared<E>>, id: ReaderId, meta: Arc<Meta>, filter: Option<Filter<E>>) -> Self {
        let (taken, out) = (VecDeque::new(), Outputs::default());
        Self { shared, id, meta, filter, taken, out, run: 0, rested: false, ended: None }
    }

    /// The name it was given.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.meta.name
    }

    pub(super) fn shared(&self) -> &Arc<Shared<E>> {
        &self.shared
    }

    pub(super) fn count_panic(&self) {
        self.meta.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// The next event, or the gap in its place.
    ///
    /// # Errors
    /// Once the bus is closed and everything was received, or the subscriber was cut off; from then on every call says
    /// the same.
    ///
    /// # Cancel safety
    /// Nothing is lost if the future is dropped.
    pub async fn recv(&mut self) -> Result<Received<E>, RecvError> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// The next event, or the gap in its place, if there is one at this moment.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn try_recv(&mut self) -> Result<Option<Received<E>>, RecvError> {
        loop {
            if let Some(event) = self.next_wanted() {
                return Ok(Some(Received::Event(event)));
            }
            match self.fetch()? {
                Fetched::Events => {}
                Fetched::Gap(gap) => return Ok(Some(Received::Gap(gap))),
                Fetched::Nothing => return Ok(None),
            }
        }
    }

    /// [`recv`](Self::recv) for those who poll. With the feature `stream` a subscriber is a stream as well.
    ///
    /// # Errors
    /// As [`recv`](Self::recv).
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received<E>, RecvError>> {
        loop {
            // Once for each event or batch of unwanted ones, so that a loop over `recv` lets other tasks run.
            let coop = ready!(poll_proceed(cx));
            if let Some(event) = self.next_wanted() {
                coop.made_progress();
                return Poll::Ready(Ok(Received::Event(event)));
            }
            match self.fetch() {
                Ok(Fetched::Events) => coop.made_progress(),
                Ok(Fetched::Gap(gap)) => {
                    coop.made_progress();
                    return Poll::Ready(Ok(Received::Gap(gap)));
                }
                Ok(Fetched::Nothing) => {
                    // Who got several at a time gets more soon: looking again, after other tasks, costs everybody less
                    // than being woken for each.
                    if self.run > 1 && !self.rested {
                        self.rested = true;
                        cx.waker().wake_by_ref();
                        return Poll::Pending;
                    }
                    self.run = 0;
                    let waker = cx.waker().clone();
                    if self.shared.input(|machine, out| machine.park(self.id, waker, out)) {
                        return Poll::Pending;
                    }
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }

    fn next_wanted(&mut self) -> Option<Arc<E>> {
        loop {
            let event = self.taken.pop_front()?;
            if self.filter.as_mut().is_none_or(|wants| wants(&event)) {
                return Some(event);
            }
        }
    }

    fn fetch(&mut self) -> Result<Fetched, RecvError> {
        if let Some(error) = self.ended {
            return Err(error);
        }
        let ended = match self.shared.read(self.id, BATCH, &mut self.taken, &mut self.out) {
            Read::Events { count, .. } => {
                self.run += count;
                self.rested = false;
                return Ok(Fetched::Events);
            }
            Read::Gap(gap) => {
                tracing::debug!(subscriber = &*self.meta.name, missed = gap.missed, "a subscriber lost events");
                return Ok(Fetched::Gap(gap));
            }
            Read::Disconnected(gap) => {
                tracing::warn!(subscriber = &*self.meta.name, missed = gap.missed, "a subscriber was cut off");
                RecvError::Disconnected { missed: gap.missed }
            }
            Read::Closed => RecvError::Closed,
            Read::Empty => return Ok(Fetched::Nothing),
        };
        self.ended = Some(ended);
        Err(ended)
    }
}

/// What is received, until the bus is closed and everything was received; one that is cut off ends with the error.
#[cfg(feature = "stream")]
impl<E> futures_core::Stream for Subscriber<E> {
    type Item = Result<Received<E>, RecvError>;

    fn poll_next(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let told = self.ended.is_some();
        Poll::Ready(match ready!(self.poll_recv(cx)) {
            Ok(received) => Some(Ok(received)),
            Err(error @ RecvError::Disconnected { .. }) if !told => Some(Err(error)),
            Err(_) => None,
        })
    }
}

enum Fetched {
    Events,
    Gap(Gap),
    Nothing,
}

impl<E> Drop for Subscriber<E> {
    fn drop(&mut self) {
        self.shared.unsubscribe(self.id);
    }
}
