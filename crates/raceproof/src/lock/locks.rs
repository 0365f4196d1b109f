//! Locks and semaphores by key.

use std::num::NonZeroU32;
use std::sync::Arc;

use super::{AsyncLock, Blocked, Lock, Semaphore, Stats};
use crate::handle::Raceproof;

/// Of how many waits [`Locks::blocked`] tells.
const BLOCKED_MAX: usize = 1_000;

/// Locks by key, within this process. Whatever is made by one `Locks` and its clones is seen together: a deadlock among
/// them is found, and [`Locks::stats`] counts them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), raceproof::Error> {
/// use raceproof::lock::Locks;
/// use std::time::Duration;
///
/// let accounts = Locks::new();
/// let guard = accounts.lock("17").acquire().await?;
/// assert!(accounts.lock("17").try_acquire().await.is_err());
/// let reader = accounts.lock("18").shared().wait(Duration::from_secs(1)).acquire().await?;
/// assert_eq!(accounts.stats().held, 2);
/// # drop((guard, reader)); Ok(()) }
/// ```
///
/// A key that nobody holds or waits for takes no memory. [`Locks::over`] a server gives the same locks to many
/// processes.
#[derive(Clone, Debug)]
pub struct Locks {
    rp: Raceproof,
}

impl Locks {
    /// Locks of their own: nobody else can reach them.
    #[must_use]
    pub fn new() -> Self {
        Self::over(Raceproof::local())
    }

    /// The locks of a coordinator: of a server, by `Raceproof::connect`, and so of many processes.
    #[must_use]
    pub const fn over(rp: Raceproof) -> Self {
        Self { rp }
    }

    /// For one lock alone.
    pub(super) fn single() -> Self {
        Self::over(Raceproof::single())
    }

    /// The lock of this key.
    pub fn lock(&self, key: impl Into<Arc<str>>) -> Lock {
        self.rp.lock(key)
    }

    /// Several locks at once: see [`Raceproof::lock_all`].
    pub fn lock_all<K: Into<Arc<str>>>(&self, keys: impl IntoIterator<Item = K>) -> Lock {
        self.rp.lock_all(keys)
    }

    /// The semaphore of this key: see [`Raceproof::semaphore`]. A key is either a lock or a semaphore.
    pub fn semaphore(&self, key: impl Into<Arc<str>>, permits: u32) -> Semaphore {
        self.rp.semaphore(key, permits)
    }

    /// A value that whoever holds the lock of this key may use. Each call makes one of its own.
    #[must_use]
    pub fn protect<T: Send + 'static>(&self, key: impl Into<Arc<str>>, value: T) -> AsyncLock<T> {
        AsyncLock::of(self.lock(key), value)
    }

    /// Who waits for whom, since when, and from which line of the program: the first 1,000 waits, in the order of
    /// asking. Empty over a server; see `Raceproof::locks` there.
    #[must_use]
    pub fn blocked(&self) -> Vec<Blocked> {
        self.rp.coordinator.blocked(BLOCKED_MAX)
    }

    /// What is held and waited for. Over a server, by this process alone.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.rp.coordinator.lock_stats()
    }
}

impl Default for Locks {
    fn default() -> Self {
        Self::new()
    }
}

/// Semaphores by key, each of as many permits, within this process. What is said of [`Locks`] is true of them.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), raceproof::Error> {
/// use raceproof::lock::Semaphores;
///
/// let tenants = Semaphores::new(const { std::num::NonZeroU32::new(2).unwrap() });
/// let first = tenants.semaphore("acme").acquire().await?;
/// let second = tenants.semaphore("acme").acquire().await?;
/// assert!(tenants.semaphore("acme").try_acquire().await.is_err());
/// assert!(tenants.semaphore("globex").acquire_many(2).await.is_ok());
/// # drop((first, second)); Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Semaphores {
    locks: Locks,
    permits: NonZeroU32,
}

impl Semaphores {
    /// Semaphores of their own, each of so many permits.
    #[must_use]
    pub fn new(permits: NonZeroU32) -> Self {
        Self::over(Raceproof::local(), permits)
    }

    /// The semaphores of a coordinator: of a server, by `Raceproof::connect`, and so of many processes.
    #[must_use]
    pub const fn over(rp: Raceproof, permits: NonZeroU32) -> Self {
        Self { locks: Locks::over(rp), permits }
    }

    /// The semaphore of this key.
    pub fn semaphore(&self, key: impl Into<Arc<str>>) -> Semaphore {
        self.locks.semaphore(key, self.permits.get())
    }

    /// See [`Locks::blocked`].
    #[must_use]
    pub fn blocked(&self) -> Vec<Blocked> {
        self.locks.blocked()
    }

    /// See [`Locks::stats`].
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.locks.stats()
    }
}
