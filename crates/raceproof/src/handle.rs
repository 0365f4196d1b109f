//! The handle that everything starts from.

use std::sync::Arc;

use raceproof_core::client::ConnectionState;
use raceproof_core::id::SessionKey;
use tokio::sync::watch;

#[cfg(feature = "client")]
use crate::client::{Owner, Shared};
use crate::coordinator::Coordinator;
use crate::election::Election;
use crate::error::ReleaseError;
use crate::lease::Leases;
use crate::local::Local;
use crate::lock::{Lock, Semaphore};
use crate::names::Names;

/// A client of one coordinator: a server, or this process itself. Clones share it.
///
/// Over a server it holds one session with one lease, renewed in the background whatever is held. A broken connection
/// is made again, the first time at once, then after random pauses; requests without an answer are sent again under
/// the same id, and what is held stays held as long as the lease lasts. When the lease ends first, every guard is lost
/// at once and for good, and what is acquired later is acquired in a session of its own. A wait for a lock outlives
/// that, at the end of the queue; a candidacy ends with an error.
///
/// The session ends with [`Raceproof::close`], or in the background when the last clone, guard and future is gone.
#[derive(Clone, Debug)]
pub struct Raceproof {
    pub(crate) coordinator: Coordinator,
}

impl Raceproof {
    /// A coordinator of its own in this process, with the same handles and no server: locks between tasks and threads.
    /// Clones share it; nobody else can reach it.
    ///
    /// There is no connection to lose and no lease to end. A lock that nobody contends for costs about what a
    /// `tokio::sync::Mutex` costs, whatever its name. Waits are timed by Tokio's clock; outside a Tokio runtime a wait
    /// without a time limit works, and one with a limit panics. What a panicking task holds is released as its guards
    /// are dropped.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), raceproof::Error> {
    /// let rp = raceproof::Raceproof::local();
    /// let guard = rp.lock("cache/17").acquire().await?;
    /// assert!(rp.lock("cache/17").try_acquire().await.is_err());
    /// assert!(rp.lock("cache/18").try_acquire().await.is_ok());
    /// # drop(guard); Ok(()) }
    /// ```
    #[must_use]
    pub fn local() -> Self {
        Self { coordinator: Coordinator::Local(Arc::new(Local::new())) }
    }

    /// As [`Raceproof::local`], for one name.
    pub(crate) fn single() -> Self {
        Self { coordinator: Coordinator::Local(Arc::new(Local::single())) }
    }

    #[cfg(feature = "client")]
    pub(crate) fn server(shared: Arc<Shared>) -> Self {
        Self { coordinator: Coordinator::Server(Arc::new(Owner(shared))) }
    }

    /// A lock.
    pub fn lock(&self, name: impl Into<Arc<str>>) -> Lock {
        Lock::new(self.clone(), Names::One(name.into()))
    }

    /// Several locks at once: all of them are taken, or none (L6). From 1 to 64 different names.
    pub fn lock_all<N: Into<Arc<str>>>(&self, names: impl IntoIterator<Item = N>) -> Lock {
        Lock::new(self.clone(), Names::Many(names.into_iter().map(Into::into).collect()))
    }

    /// A semaphore of so many permits. All who use the name at one time must give the same number.
    pub fn semaphore(&self, name: impl Into<Arc<str>>, permits: u32) -> Semaphore {
        Semaphore::of(self.lock(name), permits)
    }

    /// An election.
    pub fn election(&self, name: impl Into<Arc<str>>) -> Election {
        Election::new(self.clone(), name.into())
    }

    /// What speaks for the session, for a watchdog that has to end it: see `raceproof::end_session`. None
    /// while there is no session, and within one process. A secret.
    #[must_use]
    pub fn session_key(&self) -> Option<SessionKey> {
        match &self.coordinator {
            #[cfg(feature = "client")]
            Coordinator::Server(owner) => owner.0.session(),
            Coordinator::Local(_) => None,
        }
    }

    /// The session's lease, and every change of it; there is none within one process.
    #[must_use]
    pub fn leases(&self) -> Leases {
        Leases { changes: self.coordinator.leases().subscribe() }
    }

    /// The state of the connection; within one process it is connected until it is closed.
    #[must_use]
    pub fn connection_state(&self) -> ConnectionState {
        *self.coordinator.connection().borrow()
    }

    /// The state of the connection, and every change of it.
    #[must_use]
    pub fn connection_states(&self) -> watch::Receiver<ConnectionState> {
        self.coordinator.connection().subscribe()
    }

    /// Ends the session, and with it everything it holds and waits for: guards of other clones are lost, their waits
    /// end with an error.
    ///
    /// # Errors
    /// When the end of the session was not confirmed. What it held is then free when its lease ends.
    ///
    /// # Cancel safety
    /// Once polled, the session ends also if the future is dropped.
    pub async fn close(&self) -> Result<(), ReleaseError> {
        match &self.coordinator {
            #[cfg(feature = "client")]
            Coordinator::Server(owner) => drop(owner.0.close().await?),
            Coordinator::Local(local) => local.close(),
        }
        Ok(())
    }
}
