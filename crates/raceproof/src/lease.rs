//! A session's lease, as its handle shows it.

use std::panic::AssertUnwindSafe;

use raceproof_core::id::SessionId;
use raceproof_core::time::Time;
use raceproof_core::wire::LostReason;
use tokio::sync::watch;

/// Run once when a leadership is lost.
pub(crate) type LossHook = Box<dyn FnOnce(LostReason) + Send>;

/// Runs a hook. Whoever finds a loss out has more to tell than this one, so a panic ends here.
pub(crate) fn run_hook(hook: LossHook, reason: LostReason) {
    if std::panic::catch_unwind(AssertUnwindSafe(|| hook(reason))).is_err() {
        tracing::error!(reason = reason.as_str(), "a hook of `Leadership::on_loss` panicked");
    }
}

/// A session's lease at some moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Lease {
    /// The session.
    pub session: SessionId,
    /// Until when what it holds is valid, on the clock of `raceproof::clock::now`, unless it is renewed.
    pub deadline: Time,
}

/// Follows the lease of a handle's session, for a watchdog that acts by itself when the lease runs out.
#[derive(Debug)]
pub struct Leases {
    pub(crate) changes: watch::Receiver<Option<Lease>>,
}

impl Leases {
    /// The lease as it is; none when there is no session.
    #[must_use]
    pub fn current(&mut self) -> Option<Lease> {
        *self.changes.borrow_and_update()
    }

    /// Waits for a change and gives the lease as it then is; the outer none says that the client is gone.
    ///
    /// # Cancel safety
    /// Cancel safe: a change that came is given by the next call.
    pub async fn changed(&mut self) -> Option<Option<Lease>> {
        self.changes.changed().await.ok()?;
        Some(*self.changes.borrow_and_update())
    }
}
