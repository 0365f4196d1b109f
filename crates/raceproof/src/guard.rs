//! The guard of a grant.

use std::future::Future;
use std::sync::Arc;

use raceproof_core::id::{SessionId, Token};
use raceproof_core::time::Time;
use raceproof_core::wire::LostReason;

use crate::error::ReleaseError;
use crate::held::Held;

/// A grant: the locks that were asked for are held as long as this is valid. Dropping it releases them in the
/// background.
///
/// Validity ends with the release, or when the session's lease ends, or when an operator steals the lock; then
/// [`Guard::lost`] resolves. Within one process ([`Raceproof::local`](crate::Raceproof::local)) there is no lease that
/// could end. A process that was frozen finds [`Guard::is_valid`] false the moment it runs again, but
/// no check of one's own can stop a write that is already on its way: pass [`Guard::token`] to what is written to, and
/// have it refuse tokens older than the newest it has seen.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), raceproof::Error> {
/// let rp = raceproof::Raceproof::local();
/// let first = rp.lock("report").acquire().await?;
/// let token = first.token();
/// assert!(first.is_valid());
/// first.release().await?;
/// let second = rp.lock("report").acquire().await?;
/// assert!(second.token() > token);
/// # Ok(()) }
/// ```
#[derive(Debug)]
#[must_use = "dropping a guard releases its locks"]
pub struct Guard {
    held: Held,
}

impl Guard {
    pub(crate) const fn new(held: Held) -> Self {
        Self { held }
    }

    /// The fencing token: greater than that of every grant before it. It stays the same after the loss, so that what
    /// is written to can refuse it.
    #[must_use]
    pub const fn token(&self) -> Token {
        self.held.token()
    }

    /// The locks that are held.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        self.held.names()
    }

    /// The session that owns the grant.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.held.session()
    }

    /// Whether the locks are still held, by the clock as it is at this moment.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.held.is_valid()
    }

    /// Until when the locks are held, on the clock of `raceproof::clock::now`, unless the lease is renewed.
    /// In the past if they are lost by that. [`Time::MAX`] within one process.
    #[must_use]
    pub fn deadline(&self) -> Time {
        self.held.deadline()
    }

    /// Why the locks are not held any more; none while they are, as far as was heard.
    #[must_use]
    pub fn lost_reason(&self) -> Option<LostReason> {
        self.held.lost_reason()
    }

    /// Resolves when the locks are not held any more, [`LostReason::Released`] included. Independent of the guard's
    /// own life.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub fn lost(&self) -> impl Future<Output = LostReason> + Send + use<> {
        self.held.lost()
    }

    /// Gives the locks back and waits until the coordinator has confirmed it.
    ///
    /// # Errors
    /// When they were lost before, so that somebody else may have held them meanwhile.
    ///
    /// # Cancel safety
    /// The locks are released also if the future is dropped, polled or not.
    pub async fn release(self) -> Result<(), ReleaseError> {
        self.held.release(None).await
    }
}
