//! A subscriber that is a function: one task, one event at a time.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tokio::sync::Notify;
use tracing::Instrument as _;

use super::subscribe::OnGap;
use super::subscriber::{Received, Subscriber};
use crate::rt::{JoinHandle, Runtime, caught};

/// A handler that panicked (B3).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandlerPanic {
    /// The name of the subscriber.
    pub subscriber: String,
    /// What it said.
    pub message: String,
}

/// A task that handles the events of a bus.
///
/// It ends when the bus is closed and its last event handled. Dropping it ends the task at its next `.await`, also in
/// the middle of an event; [`stop`](Self::stop) lets it finish the event, and [`detach`](Self::detach) leaves the task
/// to the bus.
#[derive(Debug)]
pub struct Handler {
    name: Arc<str>,
    stop: Arc<Notify>,
    task: Option<JoinHandle<()>>,
}

impl Handler {
    /// The name of the subscriber.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether its task has ended.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.task.as_ref().is_none_or(JoinHandle::is_finished)
    }

    /// Ends the subscription after the event in hand.
    ///
    /// # Cancel safety
    /// Dropping the future ends the task at its next `.await`, as dropping the handler does.
    pub async fn stop(mut self) {
        self.stop.notify_one();
        if let Some(task) = &mut self.task {
            // The task catches panics; it can only have been cancelled with its runtime, which is an end, too.
            let _ = task.await;
        }
    }

    /// Leaves the task to the bus: it ends when the bus is closed and its last event handled.
    pub fn detach(mut self) {
        self.task = None;
    }
}

impl Drop for Handler {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

pub(super) fn spawn<E, H, F>(runtime: &Runtime, subscriber: Subscriber<E>, on_gap: Option<OnGap>, handle: H) -> Handler
where
    E: Send + Sync + 'static,
    H: FnMut(Arc<E>) -> F + Send + 'static,
    F: Future<Output = ()> + Send + 'static,
{
    let name: Arc<str> = Arc::from(subscriber.name());
    let stop = Arc::new(Notify::new());
    let span = tracing::debug_span!(parent: None, "raceproof.events.handler", subscriber = &*name);
    let task = runtime.task(run(subscriber, on_gap, handle, Arc::clone(&stop)).instrument(span));
    Handler { name, stop, task: Some(task) }
}

async fn run<E, H, F>(mut subscriber: Subscriber<E>, mut on_gap: Option<OnGap>, mut handle: H, stop: Arc<Notify>)
where
    H: FnMut(Arc<E>) -> F,
    F: Future<Output = ()>,
{
    loop {
        // The filter and the hook are foreign code as well.
        let step = caught(|| async {
            let received = tokio::select! {
                biased;
                () = stop.notified() => return false,
                received = subscriber.recv() => received,
            };
            match received {
                Ok(Received::Event(event)) => handle(event).await,
                Ok(Received::Gap(gap)) => {
                    if let Some(hook) = &mut on_gap {
                        hook(gap);
                    }
                }
                Err(_) => return false,
            }
            true
        });
        match step.await {
            Ok(true) => {}
            Ok(false) => return,
            Err(message) => report(&subscriber, &message),
        }
    }
}

fn report<E>(subscriber: &Subscriber<E>, message: &str) {
    subscriber.count_panic();
    tracing::error!(subscriber = subscriber.name(), panic = message, "a handler of events panicked");
    if let Some(hook) = &subscriber.shared().on_panic {
        let panic = HandlerPanic { subscriber: subscriber.name().to_owned(), message: message.to_owned() };
        if catch_unwind(AssertUnwindSafe(|| hook(&panic))).is_err() {
            tracing::error!(subscriber = subscriber.name(), "the hook for panics panicked itself");
        }
    }
}
