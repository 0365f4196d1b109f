//! The publishing side.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use raceproof_core::events::{self, Config, Published, ReaderConfig, WaitError, WriterId, Writing};
use tokio::task::coop::consume_budget;
use tracing::Instrument as _;

use super::error::{DrainError, PublishError, TryPublishError};
use super::handler::HandlerPanic;
use super::shared::{PanicHook, Shared};
use super::stats::Stats;
use super::subscribe::Subscribe;
use crate::waiting::until;

/// Publishes events of one type to everybody who subscribed.
///
/// Clones publish on the same bus. When the last one is dropped the bus is closed: subscribers receive what was
/// published, then [`RecvError::Closed`](super::RecvError::Closed).
///
/// Events are shared, not copied: each subscriber receives the same `Arc<E>`, and an event is dropped once everybody has
/// it (or after that, as far as the bus replays).
pub struct Bus<E> {
    handle: Arc<Handle<E>>,
}

/// Closes the bus when the last publisher is gone.
struct Handle<E> {
    shared: Arc<Shared<E>>,
}

impl<E> Drop for Handle<E> {
    fn drop(&mut self) {
        self.shared.close();
    }
}

impl<E> Clone for Bus<E> {
    fn clone(&self) -> Self {
        Self { handle: Arc::clone(&self.handle) }
    }
}

impl<E> fmt::Debug for Bus<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Bus").field("stats", &self.handle.shared.stats()).finish()
    }
}

impl<E> Default for Bus<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E> Bus<E> {
    /// A bus that holds up to 1,024 events.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A bus with limits of its own.
    #[must_use]
    pub fn builder() -> Builder<E> {
        Builder { config: Config::default(), on_panic: None, event: PhantomData }
    }

    /// Publishes an event, after all that were published before it (B1). Waits as long as a subscriber is full that
    /// asked to be waited for; publishers that wait are served in their order (B2).
    ///
    /// # Errors
    /// The event is given back if too many publishers wait, or if the bus is closed, also while this one waits.
    ///
    /// # Cancel safety
    /// A future that is dropped while it waits has published its event or never will: if there was room for it by then
    /// the event is published, and nobody behind it waited for this future to be polled.
    pub async fn publish(&self, event: E) -> Result<Published, PublishError<E>> {
        consume_budget().await;
        let event = match self.offer(Arc::new(event)) {
            Ok(published) => return Ok(published),
            Err(events::PublishError::Closed(event)) => return Err(PublishError::Closed(alone(event))),
            Err(events::PublishError::Full(event)) => event,
        };
        let mut waiting = Waiting { shared: &self.handle.shared, event: Some(event), id: None };
        let span = tracing::debug_span!("raceproof.events.wait");
        poll_fn(|cx| waiting.poll(cx)).instrument(span).await
    }

    /// Publishes an event if nobody has to be waited for.
    ///
    /// # Errors
    /// The event is given back if a subscriber is full that asked to be waited for, or the bus is closed.
    pub fn try_publish(&self, event: E) -> Result<Published, TryPublishError<E>> {
        self.offer(Arc::new(event)).map_err(|error| match error {
            events::PublishError::Full(event) => TryPublishError::Full(alone(event)),
            events::PublishError::Closed(event) => TryPublishError::Closed(alone(event)),
        })
    }

    fn offer(&self, event: Arc<E>) -> Result<Published, events::PublishError<Arc<E>>> {
        self.handle.shared.input(|machine, out| machine.publish(event, out))
    }

    /// Begins a subscription; the name is for reports and [`stats`](Self::stats).
    pub fn subscribe(&self, name: impl Into<Arc<str>>) -> Subscribe<E> {
        Subscribe::new(Arc::clone(&self.handle.shared), name.into(), ReaderConfig::default())
    }

    /// Takes no more events. Publishers that wait get theirs back; subscribers receive what was published, then
    /// [`RecvError::Closed`](super::RecvError::Closed).
    pub fn close(&self) {
        self.handle.shared.close();
    }

    /// Closes the bus and waits until every subscriber has received and every handler has handled what was published,
    /// or is gone.
    ///
    /// # Cancel safety
    /// The bus stays closed. Call it again to go on waiting.
    pub async fn drain(&self) {
        self.close();
        let shared = &self.handle.shared;
        until(&shared.emptied, || shared.left().is_empty()).await;
    }

    /// [`drain`](Self::drain), but not for longer than this.
    ///
    /// # Errors
    /// The names of those who were not done.
    ///
    /// # Cancel safety
    /// As [`drain`](Self::drain).
    pub async fn drain_within(&self, wait: Duration) -> Result<(), DrainError> {
        let shared = &self.handle.shared;
        let drained = shared.clock.timeout(wait, self.drain()).await;
        drained.ok_or_else(|| DrainError { stuck: shared.left() })
    }

    /// The bus at this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.handle.shared.stats()
    }
}

/// An event that waits for room; it is taken back when this is dropped.
struct Waiting<'a, E> {
    shared: &'a Shared<E>,
    event: Option<Arc<E>>,
    id: Option<WriterId>,
}

impl<E> Waiting<'_, E> {
    fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<Published, PublishError<E>>> {
        let waker = cx.waker().clone();
        if let Some(event) = self.event.take() {
            match self.shared.input(|machine, out| machine.enqueue(event, waker, out)) {
                Ok(id) => self.id = Some(id),
                Err(WaitError::TooManyWaiting(event)) => {
                    return Poll::Ready(Err(PublishError::TooManyWaiting(alone(event))));
                }
                Err(WaitError::Closed(event)) => return Poll::Ready(Err(PublishError::Closed(alone(event)))),
            }
            return Poll::Pending;
        }
        let Some(id) = self.id else { return Poll::Pending };
        match self.shared.input(|machine, out| machine.poll_enqueued(id, waker, out)) {
            Writing::Waiting => Poll::Pending,
            Writing::Published(published) => {
                self.id = None;
                Poll::Ready(Ok(published))
            }
            Writing::Closed(event) => {
                self.id = None;
                Poll::Ready(Err(PublishError::Closed(alone(event))))
            }
        }
    }
}

impl<E> Drop for Waiting<'_, E> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            drop(self.shared.input(|machine, out| machine.forget(id, out)));
        }
    }
}

/// An event that was refused, so that nobody else has seen it.
fn alone<E>(event: Arc<E>) -> E {
    Arc::into_inner(event).expect("an event that was not published has one owner")
}

/// The limits of a bus.
pub struct Builder<E> {
    config: Config,
    on_panic: Option<PanicHook>,
    event: PhantomData<fn(E)>,
}

impl<E> fmt::Debug for Builder<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<E> Builder<E> {
    /// How many events the bus holds, which is as far as any subscriber may be behind. Default 1,024.
    #[must_use]
    pub const fn capacity(mut self, capacity: usize) -> Self {
        self.config.capacity = capacity;
        self
    }

    /// How many past events are kept for those who subscribe later and ask for them; no more than the capacity.
    /// Default 0.
    #[must_use]
    pub const fn replay(mut self, replay: usize) -> Self {
        self.config.replay = replay;
        self
    }

    /// How many subscribers there may be. Default 1,024.
    #[must_use]
    pub const fn subscribers_max(mut self, max: usize) -> Self {
        self.config.subscribers_max = max;
        self
    }

    /// How many publishers may wait for room. Default 1,024.
    #[must_use]
    pub const fn publishers_waiting_max(mut self, max: usize) -> Self {
        self.config.publishers_waiting_max = max;
        self
    }

    /// Called for each panic of a handler, in the task of that handler (B3). Each is also a `tracing` event and counted
    /// in the [`Stats`].
    #[must_use]
    pub fn on_panic(mut self, report: impl Fn(&HandlerPanic) + Send + Sync + 'static) -> Self {
        self.on_panic = Some(Box::new(report));
        self
    }

    /// The bus.
    #[must_use]
    pub fn build(self) -> Bus<E> {
        Bus { handle: Arc::new(Handle { shared: Arc::new(Shared::new(self.config, self.on_panic)) }) }
    }
}
