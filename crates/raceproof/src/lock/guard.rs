//! What all guards have in common.

use std::fmt;
use std::pin::Pin;

use raceproof_core::id::Token;
use raceproof_core::wire::LostReason;

use crate::error::ReleaseError;
use crate::guard::Guard;

/// The future of a [`LockGuard`].
pub type GuardFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// Something held under a fencing token, wherever that was decided: in this process or by a server. Code that takes
/// guards by this trait need not know. `Box<dyn LockGuard>` is one, too.
///
/// ```
/// use raceproof::lock::{AsyncLock, LockGuard, Locks};
///
/// async fn publish(guard: impl LockGuard) -> Result<(), raceproof::ReleaseError> {
///     println!("written under token {}", guard.token());
///     guard.release().await
/// }
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), raceproof::Error> {
/// publish(Locks::new().lock("report").acquire().await?).await?;
/// publish(AsyncLock::new(3).acquire().await?).await?;
/// let either: Box<dyn LockGuard> = Box::new(Locks::new().lock("report").acquire().await?);
/// publish(either).await?;
/// # Ok(()) }
/// ```
pub trait LockGuard: fmt::Debug + Send + Sync + 'static {
    /// The fencing token: greater than that of every grant before it.
    fn token(&self) -> Token;

    /// Whether it is still held, by the clock as it is at this moment.
    fn is_valid(&self) -> bool;

    /// Resolves when it is not held any more, [`LostReason::Released`] included. Independent of the guard's own life.
    ///
    /// # Cancel safety
    /// Cancel safe.
    fn lost(&self) -> GuardFuture<LostReason>;

    /// [`LockGuard::release`] of a guard whose type is not known.
    ///
    /// # Cancel safety
    /// It is released also if the future is dropped, polled or not.
    fn release_boxed(self: Box<Self>) -> GuardFuture<Result<(), ReleaseError>>;

    /// Gives it back and waits until that is confirmed. The error says that it was lost before, so that somebody else
    /// may have held it meanwhile.
    ///
    /// # Cancel safety
    /// It is released also if the future is dropped, polled or not.
    fn release(self) -> GuardFuture<Result<(), ReleaseError>>
    where
        Self: Sized,
    {
        Box::new(self).release_boxed()
    }
}

impl LockGuard for Guard {
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

impl LockGuard for Box<dyn LockGuard> {
    fn token(&self) -> Token {
        (**self).token()
    }

    fn is_valid(&self) -> bool {
        (**self).is_valid()
    }

    fn lost(&self) -> GuardFuture<LostReason> {
        (**self).lost()
    }

    fn release_boxed(self: Box<Self>) -> GuardFuture<Result<(), ReleaseError>> {
        (*self).release_boxed()
    }
}
