//! Semaphores: locks that several may hold at one time.

use std::num::NonZeroU32;
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use raceproof_core::wire::Class;

use crate::error::AcquireError;
use crate::guard::Guard;
use crate::handle::Raceproof;
use crate::lock::{Lock, Stats};

/// A semaphore, and how its permits are wanted: one of them, for as long as it takes, unless said otherwise.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), raceproof::Error> {
/// let rp = raceproof::Raceproof::local();
/// let first = rp.semaphore("db", 3).acquire().await?;
/// let others = rp.semaphore("db", 3).take(2).acquire().await?;
/// assert!(rp.semaphore("db", 3).try_acquire().await.is_err(), "all three are taken");
/// # drop((first, others)); Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is held before `acquire`"]
pub struct Semaphore {
    lock: Lock,
    permits: u32,
}

impl Semaphore {
    /// A semaphore of its own: nobody else can reach it. Clones share it.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), raceproof::Error> {
    /// use raceproof::lock::Semaphore;
    ///
    /// let downloads = Semaphore::new(const { std::num::NonZeroU32::new(3).unwrap() });
    /// let one = downloads.acquire().await?;
    /// let two = downloads.acquire_many(2).await?;
    /// assert!(downloads.try_acquire().await.is_err());
    /// # drop((one, two)); Ok(()) }
    /// ```
    pub fn new(permits: NonZeroU32) -> Self {
        Raceproof::single().semaphore("semaphore", permits.get())
    }

    pub(crate) fn of(lock: Lock, permits: u32) -> Self {
        Self { lock: lock.permits(permits, 1), permits }
    }

    fn map(mut self, change: impl FnOnce(Lock) -> Lock) -> Self {
        self.lock = change(self.lock);
        self
    }

    /// How many permits one guard holds: from 1, the default, to all.
    pub fn take(mut self, permits: u32) -> Self {
        self.lock = self.lock.permits(self.permits, permits);
        self
    }

    /// See [`Lock::class`].
    pub fn class(self, class: Class) -> Self {
        self.map(|lock| lock.class(class))
    }

    /// See [`Lock::wait`].
    pub fn wait(self, wait: Duration) -> Self {
        self.map(|lock| lock.wait(wait))
    }

    /// See [`Lock::priority`].
    pub fn priority(self, priority: u8) -> Self {
        self.map(|lock| lock.priority(priority))
    }

    /// See [`Lock::lock_delay`].
    pub fn lock_delay(self, delay: Duration) -> Self {
        self.map(|lock| lock.lock_delay(delay))
    }

    /// See [`Lock::owner`].
    pub fn owner(self, owner: impl Into<Arc<str>>) -> Self {
        self.map(|lock| lock.owner(owner))
    }

    /// See [`Lock::detached`].
    pub fn detached(self) -> Self {
        self.map(Lock::detached)
    }

    /// Takes the permits, after a wait if need be.
    ///
    /// # Errors
    /// See [`AcquireError`].
    ///
    /// # Cancel safety
    /// As [`Lock::acquire`].
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<Guard, AcquireError>> + Send {
        self.lock.acquire()
    }

    /// Takes so many permits at once, after a wait if need be: all of them or none.
    ///
    /// # Errors
    /// See [`AcquireError`].
    ///
    /// # Cancel safety
    /// As [`Lock::acquire`]: no permit is lost.
    #[track_caller]
    pub fn acquire_many(&self, permits: u32) -> impl Future<Output = Result<Guard, AcquireError>> + Send + use<> {
        let (many, site) = (self.clone().take(permits), Location::caller());
        async move { many.lock.acquire_from(site).await }
    }

    /// Takes the permits if that is possible at once.
    ///
    /// # Errors
    /// [`AcquireError::Held`] when it is not; see there for the others.
    ///
    /// # Cancel safety
    /// As [`Lock::acquire`].
    #[inline]
    #[track_caller]
    pub fn try_acquire(&self) -> impl Future<Output = Result<Guard, AcquireError>> + Send {
        self.lock.try_acquire()
    }

    /// What is known of the semaphores and locks of the same coordinator: this one alone, if [`Semaphore::new`] made
    /// it.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.lock.coordinator().coordinator.lock_stats()
    }
}
