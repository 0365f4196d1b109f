//! What a subscriber asks for.

use std::fmt;
use std::sync::Arc;

use raceproof_core::events::{Gap, Policy, ReaderConfig};

use super::error::SubscribeError;
use super::handler::{self, Handler};
use super::shared::Shared;
use super::subscriber::Subscriber;
use crate::rt::Runtime;

pub(super) type Filter<E> = Box<dyn FnMut(&E) -> bool + Send>;
pub(super) type OnGap = Box<dyn FnMut(Gap) + Send>;

/// A subscription that is being described; [`receiver`](Self::receiver) or [`handler`](Self::handler) makes it.
#[must_use = "nothing is subscribed until `receiver` or `handler` is called"]
pub struct Subscribe<E> {
    shared: Arc<Shared<E>>,
    name: Arc<str>,
    wanted: ReaderConfig,
    filter: Option<Filter<E>>,
    on_gap: Option<OnGap>,
}

impl<E> fmt::Debug for Subscribe<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subscribe").field("name", &self.name).field("wanted", &self.wanted).finish_non_exhaustive()
    }
}

impl<E> Subscribe<E> {
    pub(super) fn new(shared: Arc<Shared<E>>, name: Arc<str>, wanted: ReaderConfig) -> Self {
        Self { shared, name, wanted, filter: None, on_gap: None }
    }

    /// What happens when it is full (B2). Default: publishers wait for it.
    pub const fn policy(mut self, policy: Policy) -> Self {
        self.wanted.policy = policy;
        self
    }

    /// How many unread events make it full. Default and most: the capacity of the bus. A receiver takes up to 64 events
    /// at a time from the bus; those are no longer counted.
    pub const fn limit(mut self, events: usize) -> Self {
        self.wanted.limit = Some(events);
        self
    }

    /// Receives the last `events` events first, as far as the bus keeps them
    /// ([`Builder::replay`](super::Builder::replay)).
    pub const fn replay(mut self, events: usize) -> Self {
        self.wanted.replay = events;
        self
    }

    /// Receives only these events. The filter runs when an event is received, not when it is published, so a slow one
    /// slows only its subscriber; the events of a [`Gap`] are counted unfiltered.
    pub fn filter(mut self, wants: impl FnMut(&E) -> bool + Send + 'static) -> Self {
        self.filter = Some(Box::new(wants));
        self
    }

    /// Called by a [`handler`](Self::handler) in the place of events that were lost. A receiver gets the gap itself.
    pub fn on_gap(mut self, hook: impl FnMut(Gap) + Send + 'static) -> Self {
        self.on_gap = Some(Box::new(hook));
        self
    }

    /// Subscribes, to receive with [`Subscriber::recv`].
    ///
    /// # Errors
    /// If the bus is closed or has too many subscribers.
    pub fn receiver(self) -> Result<Subscriber<E>, SubscribeError> {
        let (id, meta) = self.shared.subscribe(self.name, self.wanted)?;
        Ok(Subscriber::new(self.shared, id, meta, self.filter))
    }
}

impl<E: Send + Sync + 'static> Subscribe<E> {
    /// Subscribes with a task that calls `handle` for each event, one at a time and in order (B1). If it panics, that is
    /// reported, and the task goes on with the next event (B3).
    ///
    /// # Errors
    /// If the bus is closed or has too many subscribers, or there is no Tokio runtime here.
    pub fn handler<H, F>(mut self, handle: H) -> Result<Handler, SubscribeError>
    where
        H: FnMut(Arc<E>) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let runtime = Runtime::current().ok_or(SubscribeError::NoRuntime)?;
        let on_gap = self.on_gap.take();
        Ok(handler::spawn(&runtime, self.receiver()?, on_gap, handle))
    }
}
