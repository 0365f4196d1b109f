//! A value that is made once, when it is first wanted, and shared by all who want it.
//!
//! Owns: the task that makes the value, the value, and everybody who waits for it. Decides nothing: see
//! [`raceproof_core::service`].
//!
//! - V1: one initialiser at a time; whoever comes meanwhile gets its result.
//! - V2: it survives the cancellation of any caller, because it runs in a task of its own. A failure or a panic is
//!   told to those who waited, and the next caller tries again.
//! - V3: when the value is there, [`Service::get`] takes no lock.

mod builder;
mod done;
mod error;
mod get;
mod reader;
mod shared;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use builder::Builder;
pub use done::Done;
pub use error::{CleanUpError, GetError};
pub use raceproof_core::service::Phase;
pub use reader::Reader;

pub use crate::attempt::Failure;

use self::shared::Shared;

/// A value that is made once and shared: a database pool, a connection, a client.
///
/// ```
/// use raceproof::service::Service;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let database = Service::new(|| async { Ok::<_, std::io::Error>("a pool of connections".to_owned()) });
/// let (a, b) = tokio::join!(database.get(), database.get());
/// assert!(std::sync::Arc::ptr_eq(&a.unwrap(), &b.unwrap()));
/// assert_eq!(database.stats().started, 1);
/// # }
/// ```
///
/// Clones are handles of the same service. When the last one goes, the value is dropped once nobody else holds it, and
/// its clean-up is *not* run; an initialisation that is under way ends unheard. Call [`close`](Self::close) to be sure.
pub struct Service<T, E> {
    shared: Arc<Shared<T, E>>,
}

impl<T, E> Service<T, E>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// A service that calls `init` when it is first asked, and again after a failure or a [`reset`](Self::reset).
    pub fn new<F, Fut>(init: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        Self::builder(init).build()
    }

    /// A service with a name, a time limit, a back-off or a clean-up.
    pub fn builder<F, Fut>(init: F) -> Builder<T, E>
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
    {
        Builder::new(Box::new(move || Box::pin(init())))
    }

    /// The value. If it is not there, this starts its initialisation, or waits for the one that is under way.
    ///
    /// The initialisation runs as a task in the Tokio runtime of whoever started it. A value that is there is read
    /// without a lock (V3); a [`Reader`] reads it without even counting its owners.
    ///
    /// # Errors
    /// [`GetError`]. A failure is told to all who waited for the attempt that failed.
    ///
    /// # Cancel safety
    /// Cancel safe. The initialisation goes on, and the next call finds its result (V2).
    #[inline]
    pub fn get(&self) -> impl Future<Output = Result<Arc<T>, GetError<E>>> + Send + use<'_, T, E> {
        get::Get::new(&self.shared)
    }

    /// The value, if it is there. Starts nothing.
    #[must_use]
    pub fn try_get(&self) -> Option<Arc<T>> {
        self.shared.ready().or_else(|| self.shared.value().map(|(_, value)| value))
    }

    /// A handle that keeps the value it saw last, so that reading it again costs one atomic load.
    #[must_use]
    pub fn reader(&self) -> Reader<T, E> {
        Reader::new(self.clone())
    }

    /// Gives the value up: whoever asks from now on gets one whose initialisation began after this call. The clean-up
    /// of the value runs first. An initialisation that is under way ends first too, its value is cleaned up, and those
    /// who waited for it get the next one. Also forgives past failures.
    ///
    /// Takes effect at once. The future tells when what was given up is cleaned up; it need not be awaited.
    ///
    /// # Cancel safety
    /// Cancel safe: the clean-up goes on.
    pub fn reset(&self) -> Done<T, E> {
        Shared::reset(&self.shared)
    }

    /// Ends the service: the value is cleaned up, once, also if it is still being made; whoever waits or asks is told
    /// that it is closed.
    ///
    /// Takes effect at once. The future tells when everything is cleaned up; it need not be awaited, and may be
    /// called and awaited more than once.
    ///
    /// # Cancel safety
    /// Cancel safe: the clean-up goes on.
    pub fn close(&self) -> Done<T, E> {
        Shared::close(&self.shared)
    }

    /// What the service is doing.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }
}

impl<T, E> Clone for Service<T, E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<T, E> fmt::Debug for Service<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Service").field("name", &self.shared.name).field("stats", &self.shared.stats()).finish()
    }
}

/// What a service is doing, and what it has done since it was made.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Where it is.
    pub phase: Phase,
    /// Callers that wait.
    pub waiters: usize,
    /// For how long there has been one; no wait is longer.
    pub waited: Duration,
    /// Initialisations that were started.
    pub started: u64,
    /// Those that failed.
    pub failed: u64,
    /// Those whose value came too late to be wanted, and was cleaned up.
    pub discarded: u64,
    /// Callers that waited for an initialisation that another had started.
    pub coalesced: u64,
}
