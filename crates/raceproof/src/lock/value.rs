//! A lock and what it protects in one.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::panic::Location;
use std::sync::Arc;
use std::time::Duration;

use raceproof_core::id::Token;
use raceproof_core::wire::LostReason;

use super::{GuardFuture, Lock, LockGuard, Locks, Stats};
use crate::error::{AcquireError, ReleaseError};
use crate::guard::Guard;
use crate::sync::Slot;

/// A value that one task uses at a time, across `.await`s. Clones share it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), raceproof::Error> {
/// use raceproof::lock::AsyncLock;
///
/// let visits = AsyncLock::new(0);
/// let mut tasks = tokio::task::JoinSet::new();
/// for _ in 0..10 {
///     let visits = visits.clone();
///     tasks.spawn(async move {
///         let mut visits = visits.acquire().await?;
///         let before = *visits;
///         tokio::task::yield_now().await;
///         *visits = before + 1;
///         Ok::<_, raceproof::AcquireError>(())
///     });
/// }
/// for result in tasks.join_all().await {
///     result?;
/// }
/// assert_eq!(*visits.acquire().await?, 10);
/// # Ok(()) }
/// ```
///
/// A panic while it is held gives it back as it is then; nobody is told. Dropping the last clone and guard drops the
/// value.
pub struct AsyncLock<T> {
    lock: Lock,
    /// `unsafe` would be needed to lend the value from there.
    slot: Arc<Slot<T>>,
}

impl<T: Send + 'static> AsyncLock<T> {
    /// A lock of its own. Only waits for itself are part of its search for deadlocks; [`Locks::protect`] makes one
    /// that is seen together with others.
    #[must_use]
    pub fn new(value: T) -> Self {
        Locks::single().protect("value", value)
    }

    pub(super) fn of(lock: Lock, value: T) -> Self {
        Self { lock, slot: Arc::new(Slot::new(Box::new(value))) }
    }

    fn map(mut self, change: impl FnOnce(Lock) -> Lock) -> Self {
        self.lock = change(self.lock);
        self
    }

    /// How long [`AsyncLock::acquire`] of this clone waits. For ever by default.
    #[must_use]
    pub fn wait(self, wait: Duration) -> Self {
        self.map(|lock| lock.wait(wait))
    }

    /// See [`Lock::owner`].
    #[must_use]
    pub fn owner(self, owner: impl Into<Arc<str>>) -> Self {
        self.map(|lock| lock.owner(owner))
    }

    /// See [`Lock::detached`].
    #[must_use]
    pub fn detached(self) -> Self {
        self.map(Lock::detached)
    }

    /// Takes the value, after a wait if need be: first come, first served (L3).
    ///
    /// # Errors
    /// See [`AcquireError`]. [`AcquireError::Deadlock`] also when this very task has it.
    ///
    /// # Cancel safety
    /// As [`Lock::acquire`].
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<AsyncGuard<T>, AcquireError>> + Send {
        let site = Location::caller();
        async move { self.lend(self.lock.acquire_from(site).await?) }
    }

    /// Takes the value if that is possible at once.
    ///
    /// # Errors
    /// [`AcquireError::Held`] when it is not; see there for the others.
    ///
    /// # Cancel safety
    /// As [`Lock::acquire`].
    #[inline]
    #[track_caller]
    pub fn try_acquire(&self) -> impl Future<Output = Result<AsyncGuard<T>, AcquireError>> + Send {
        let site = Location::caller();
        async move { self.lend(self.lock.try_acquire_from(site).await?) }
    }

    /// What is known of the locks that it is seen together with: itself, unless [`Locks::protect`] made it.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.lock.coordinator().coordinator.lock_stats()
    }

    fn lend(&self, held: Guard) -> Result<AsyncGuard<T>, AcquireError> {
        // It is out if its grant was taken away by force. It is nobody else's before it is back.
        let value = self.slot.take().ok_or(AcquireError::Lost(LostReason::Stolen))?;
        Ok(AsyncGuard { loan: Loan { value: Some(value), slot: Arc::clone(&self.slot) }, held })
    }
}

impl<T> Clone for AsyncLock<T> {
    fn clone(&self) -> Self {
        Self { lock: self.lock.clone(), slot: Arc::clone(&self.slot) }
    }
}

impl<T> fmt::Debug for AsyncLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncLock").field("lock", &self.lock).finish_non_exhaustive()
    }
}

/// The value of an [`AsyncLock`], until this is dropped or released.
#[must_use = "dropping a guard gives the value back"]
pub struct AsyncGuard<T> {
    /// Dropped first: the value is back before anyone else holds the lock.
    loan: Loan<T>,
    held: Guard,
}

struct Loan<T> {
    /// There until the end.
    value: Option<Box<T>>,
    slot: Arc<Slot<T>>,
}

impl<T> Drop for Loan<T> {
    #[inline]
    fn drop(&mut self) {
        self.slot.put(self.value.take());
    }
}

impl<T> AsyncGuard<T> {
    /// See [`Guard::token`].
    #[must_use]
    pub const fn token(&self) -> Token {
        self.held.token()
    }

    /// See [`Guard::is_valid`].
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.held.is_valid()
    }

    /// See [`Guard::lost`].
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub fn lost(&self) -> impl Future<Output = LostReason> + Send + use<T> {
        self.held.lost()
    }

    /// Gives the value back and waits until that is confirmed, which takes no time within one process.
    ///
    /// # Errors
    /// When the lock was lost before.
    ///
    /// # Cancel safety
    /// The value is given back also if the future is dropped, polled or not.
    pub async fn release(self) -> Result<(), ReleaseError> {
        let Self { loan, held } = self;
        drop(loan);
        held.release().await
    }
}

impl<T> Deref for AsyncGuard<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        self.loan.value.as_deref().expect("it is taken out only by the drop")
    }
}

impl<T> DerefMut for AsyncGuard<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        self.loan.value.as_deref_mut().expect("it is taken out only by the drop")
    }
}

impl<T> fmt::Debug for AsyncGuard<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AsyncGuard").field("held", &self.held).finish_non_exhaustive()
    }
}

impl<T: Send + Sync + 'static> LockGuard for AsyncGuard<T> {
    fn token(&self) -> Token {
        Self::token(self)
    }

    fn is_valid(&self) -> bool {
        Self::is_valid(self)
    }

    fn lost(&self) -> GuardFuture<LostReason> {
        Box::pin(Self::lost(self))
    }

    fn release_boxed(self: Box<Self>) -> GuardFuture<Result<(), ReleaseError>> {
        Box::pin(Self::release(*self))
    }
}
