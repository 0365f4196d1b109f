//! The guard of a grant, and what guards and leaderships have in common.

use std::future::Future;
use std::sync::Arc;

use raceproof_core::id::{SessionId, Token};
use raceproof_core::time::Time;
use raceproof_core::wire::{Grant, LostReason};

use crate::client::Owner;
use crate::error::ReleaseError;
use crate::lease::GrantCell;

/// Something held under a token. Dropping it gives it back in the background.
#[derive(Debug)]
pub(crate) struct Held {
    pub(crate) owner: Arc<Owner>,
    pub(crate) token: Token,
    pub(crate) cell: Arc<GrantCell>,
    released: bool,
}

impl Held {
    pub(crate) fn new(owner: Arc<Owner>, token: Token, cell: Arc<GrantCell>) -> Self {
        Self { owner, token, cell, released: false }
    }

    pub(crate) async fn release(mut self, to: Option<SessionId>) -> Result<(), ReleaseError> {
        let lost = self.cell.reason();
        let op = self.owner.0.release(&self.cell, self.token, to);
        self.released = true;
        match op {
            Some(op) => {
                op.await?;
                Ok(())
            }
            None => Err(ReleaseError::Lost(lost.unwrap_or(LostReason::Expired))),
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if !self.released {
            // The future's end gives up waiting for the answer, not the release.
            drop(self.owner.0.release(&self.cell, self.token, None));
        }
    }
}

/// A grant: the locks that were asked for are held as long as this is valid. Dropping it releases them in the
/// background.
///
/// Validity ends with the release, or when the session's lease ends, or when an operator steals the lock; then
/// [`Guard::lost`] resolves. A process that was frozen finds [`Guard::is_valid`] false the moment it runs again, but
/// no check of one's own can stop a write that is already on its way: pass [`Guard::token`] to what is written to, and
/// have it refuse tokens older than the newest it has seen.
///
/// ```no_run
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), raceproof::Error> {
/// let rp = raceproof::Raceproof::connect("http://127.0.0.1:7117").await?;
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
    grant: Grant,
}

impl Guard {
    pub(crate) fn new(owner: Arc<Owner>, grant: Grant, cell: Arc<GrantCell>) -> Self {
        Self { held: Held::new(owner, grant.token, cell), grant }
    }

    /// The fencing token: greater than that of every grant before it. It stays the same after the loss, so that what
    /// is written to can refuse it.
    #[must_use]
    pub const fn token(&self) -> Token {
        self.held.token
    }

    /// The locks that are held.
    #[must_use]
    pub fn names(&self) -> &[Arc<str>] {
        &self.grant.names
    }

    /// The session that owns the grant.
    #[must_use]
    pub fn session(&self) -> SessionId {
        self.held.cell.lease.session
    }

    /// Whether the locks are still held, by the clock as it is at this moment.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.held.cell.is_valid()
    }

    /// Until when the locks are held, on the clock of [`clock::now`](crate::clock::now), unless the lease is renewed.
    /// In the past if they are lost by that.
    #[must_use]
    pub fn deadline(&self) -> Time {
        self.held.cell.lease.deadline()
    }

    /// Why the locks are not held any more; none while they are, as far as was heard.
    #[must_use]
    pub fn lost_reason(&self) -> Option<LostReason> {
        self.held.cell.reason()
    }

    /// Resolves when the locks are not held any more, [`LostReason::Released`] included. Independent of the guard's
    /// own life.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub fn lost(&self) -> impl Future<Output = LostReason> + Send + use<> {
        self.held.cell.lost()
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
