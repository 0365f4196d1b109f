//! Semaphores: locks that several may hold at one time.

use std::sync::Arc;
use std::time::Duration;

use raceproof_core::wire::Class;

use crate::error::AcquireError;
use crate::guard::Guard;
use crate::lock::Lock;

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
    take: u32,
}

impl Semaphore {
    pub(crate) const fn new(lock: Lock, permits: u32) -> Self {
        Self { lock, permits, take: 1 }
    }

    fn map(mut self, change: impl FnOnce(Lock) -> Lock) -> Self {
        self.lock = change(self.lock);
        self
    }

    /// How many permits one guard holds: from 1, the default, to all.
    pub fn take(mut self, permits: u32) -> Self {
        self.take = permits;
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
    pub async fn acquire(&self) -> Result<Guard, AcquireError> {
        self.lock.clone().permits(self.permits, self.take).acquire().await
    }

    /// Takes the permits if that is possible at once.
    ///
    /// # Errors
    /// [`AcquireError::Held`] when it is not; see there for the others.
    ///
    /// # Cancel safety
    /// As [`Lock::acquire`].
    pub async fn try_acquire(&self) -> Result<Guard, AcquireError> {
        self.lock.clone().permits(self.permits, self.take).try_acquire().await
    }
}
