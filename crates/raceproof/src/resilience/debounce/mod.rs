//! Many events, handled once, and the last of them always.
//!
//! Owns: the value that waits, and who is woken for it. When it is due is the
//! [machine's](raceproof_core::resilience::debounce). P4 is in its header.

mod receiver;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use raceproof_core::resilience::debounce::Debounce as Machine;
pub use raceproof_core::resilience::debounce::{Config, Pushed};
use tokio::sync::Notify;
use tracing::Instrument as _;

pub use self::receiver::Debounced;
use super::clock::Clock;
use crate::rt::{Runtime, caught};
use crate::sync::{Mutex, MutexGuard};

/// Takes many events and hands the newest of them on when it was quiet for a while. Clones push to the same place.
///
/// The last event is never lost (P4): it is handed on after [`quiet`](Builder::quiet), after
/// [`wait_max`](Builder::wait_max) however much comes, at once on [`flush`](Self::flush), and at once when the last
/// handle is dropped or [`close`](Self::close)d. Events that come while another is handled wait, merged into one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::sync::{Arc, Mutex};
/// use std::time::Duration;
/// use raceproof::resilience::Debounce;
///
/// let saved = Arc::new(Mutex::new(Vec::new()));
/// let save = {
///     let saved = Arc::clone(&saved);
///     Debounce::builder(Duration::from_millis(50)).spawn(move |text: &str| {
///         let saved = Arc::clone(&saved);
///         async move { saved.lock().expect("not poisoned").push(text) }
///     })
/// };
/// for text in ["h", "he", "hello"] {
///     save.push(text).expect("open");
/// }
/// save.close().await;
/// assert_eq!(*saved.lock().expect("not poisoned"), ["hello"]);
/// # }
/// ```
pub struct Debounce<T> {
    shared: Arc<Shared<T>>,
}

type Merge<T> = Box<dyn Fn(&mut T, T) + Send + Sync>;

struct Shared<T> {
    clock: Clock,
    merge: Merge<T>,
    state: Mutex<State<T>>,
    /// For the receiver: something is due earlier than it knows.
    changed: Notify,
    /// For those who close: the receiver is gone.
    gone: Notify,
}

struct State<T> {
    machine: Machine,
    /// There is one exactly while the machine has something pending.
    value: Option<T>,
    handles: usize,
    closed: bool,
    receiver_gone: bool,
    pushed: u64,
    handed_on: u64,
}

/// The value was not taken: everything is closed, or nobody is left to hand it to. It comes back.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the debounce is closed")]
#[non_exhaustive]
pub struct Closed<T>(pub T);

/// What happened so far at a [`Debounce`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Events that were pushed.
    pub pushed: u64,
    /// Values that were handed on, each of one event or of several.
    pub handed_on: u64,
    /// Whether one waits.
    pub pending: bool,
}

/// What a [`Debounce`] is made of.
#[must_use]
pub struct Builder<T> {
    config: Config,
    merge: Merge<T>,
}

impl<T> Builder<T> {
    /// How long it has to be quiet before what came is handed on.
    pub const fn quiet(mut self, quiet: Duration) -> Self {
        self.config.quiet = quiet;
        self
    }

    /// What came first waits no longer than this, however much comes after it. `None`: as long as it takes. Default:
    /// ten times the quiet.
    pub const fn wait_max(mut self, wait: Option<Duration>) -> Self {
        self.config.wait_max = wait;
        self
    }

    /// Hands the first event after a time of quiet on at once; those that follow it wait.
    pub const fn leading(mut self) -> Self {
        self.config.leading = true;
        self
    }

    /// How an event is merged with the one that waits. Default: the newer one replaces it. Runs under a lock: it has
    /// to be short, and must not use this debounce.
    pub fn merge(mut self, merge: impl Fn(&mut T, T) + Send + Sync + 'static) -> Self {
        self.merge = Box::new(merge);
        self
    }

    /// A handle to push with, and the other end.
    #[must_use]
    pub fn channel(self) -> (Debounce<T>, Debounced<T>) {
        let state = State {
            machine: Machine::new(self.config),
            value: None,
            handles: 1,
            closed: false,
            receiver_gone: false,
            pushed: 0,
            handed_on: 0,
        };
        let shared = Arc::new(Shared {
            clock: Clock::new(),
            merge: self.merge,
            state: Mutex::new(state),
            changed: Notify::new(),
            gone: Notify::new(),
        });
        (Debounce { shared: Arc::clone(&shared) }, Debounced { shared })
    }

    /// Runs `handler` for each value that is handed on, one at a time, in a task of its own. A handler that panics is
    /// logged, and the next value is handled. When the runtime shuts down the task goes with it: [`Debounce::close`]
    /// before.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    #[must_use]
    pub fn spawn<F, Fut>(self, mut handler: F) -> Debounce<T>
    where
        T: Send + 'static,
        F: FnMut(T) -> Fut + Send + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let (debounce, mut debounced) = self.channel();
        Runtime::current().expect("spawned outside of a Tokio runtime").spawn(async move {
            while let Some(value) = debounced.recv().await {
                let span = tracing::debug_span!("raceproof.debounce");
                if let Err(message) = caught(|| handler(value)).instrument(span).await {
                    tracing::error!(panic = &*message, "a debounced handler panicked");
                }
            }
        });
        debounce
    }
}

impl<T> Debounce<T> {
    /// Begins a debounce that hands on what came before so much quiet.
    pub fn builder(quiet: Duration) -> Builder<T> {
        Builder { config: Config::new(quiet), merge: Box::new(|waits, event| *waits = event) }
    }

    /// An event happens.
    ///
    /// # Errors
    /// The event, if everything is closed or the other end is gone.
    pub fn push(&self, event: T) -> Result<Pushed, Closed<T>> {
        let shared = &*self.shared;
        let mut state = shared.lock();
        if state.closed || state.receiver_gone {
            return Err(Closed(event));
        }
        match &mut state.value {
            // If this panics the older one is still there.
            Some(waits) => (shared.merge)(waits, event),
            None => state.value = Some(event),
        }
        state.pushed += 1;
        let pushed = state.machine.push(shared.clock.now());
        drop(state);
        if pushed == Pushed::First {
            shared.changed.notify_one();
        }
        Ok(pushed)
    }

    /// Hands on what waits, without waiting for quiet. Whether anything waited.
    pub fn flush(&self) -> bool {
        let flushed = self.shared.flush(&mut self.shared.lock());
        self.shared.changed.notify_one();
        flushed
    }

    /// Takes no further events, hands on what waits, and waits until it was handled: until the task of
    /// [`Builder::spawn`] has ended, or the other end of [`Builder::channel`] is dropped.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting; it is closed all the same.
    pub async fn close(&self) {
        let shared = &*self.shared;
        shared.lock().closed = true;
        self.flush();
        loop {
            let mut gone = std::pin::pin!(shared.gone.notified());
            gone.as_mut().enable();
            if shared.lock().receiver_gone {
                return;
            }
            gone.await;
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let state = self.shared.lock();
        Stats { pushed: state.pushed, handed_on: state.handed_on, pending: state.value.is_some() }
    }
}

impl<T> Shared<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Only a merge can panic under the lock, before anything else is changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn flush(&self, state: &mut State<T>) -> bool {
        state.machine.flush(self.clock.now())
    }
}

impl<T> Clone for Debounce<T> {
    fn clone(&self) -> Self {
        self.shared.lock().handles += 1;
        Self { shared: Arc::clone(&self.shared) }
    }
}

/// The last handle hands on what waits.
impl<T> Drop for Debounce<T> {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.handles -= 1;
        if state.handles == 0 {
            state.closed = true;
            self.shared.flush(&mut state);
            drop(state);
            self.shared.changed.notify_one();
        }
    }
}

impl<T> fmt::Debug for Debounce<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Debounce").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Builder<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("config", &self.config).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Closed<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Closed")
    }
}
