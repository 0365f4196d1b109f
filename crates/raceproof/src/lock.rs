//! Locks: how they are asked for.

use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "client")]
use raceproof_core::client::Client;
use raceproof_core::wire::{Acquire, Class, Mode, WAIT_MS_FOREVER};

#[cfg(feature = "client")]
use crate::client::{Claimed, held::ServerHeld};
use crate::coordinator::Coordinator;
use crate::error::AcquireError;
use crate::guard::Guard;
use crate::handle::Raceproof;
use crate::held::Held;
use crate::names::Names;
use crate::owner::Flow;

/// One or several locks, and how they are wanted: exclusively, for as long as it takes, durably, unless said otherwise.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), raceproof::Error> {
/// use std::time::Duration;
/// let rp = raceproof::Raceproof::local();
/// let reader = rp.lock("catalogue").shared().acquire().await?;
/// assert!(rp.lock("catalogue").try_acquire().await.is_err(), "it is read");
/// drop(reader);
/// let writer = rp.lock("catalogue").wait(Duration::from_secs(1)).acquire().await?;
/// # drop(writer); Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use = "nothing is held before `acquire`"]
pub struct Lock {
    rp: Raceproof,
    names: Names,
    /// Of the name, where there is one and this process decides.
    hash: u64,
    mode: Mode,
    permits: Option<(u32, u32)>,
    class: Class,
    wait_ms: u64,
    priority: u8,
    lock_delay: Duration,
    flow: Flow,
}

impl Lock {
    pub(crate) fn new(rp: Raceproof, names: Names) -> Self {
        let hash = match (&rp.coordinator, &names) {
            (Coordinator::Local(local), Names::One(name)) => local.hash(name),
            _ => 0,
        };
        Self {
            rp,
            names,
            hash,
            mode: Mode::Exclusive,
            permits: None,
            class: Class::Durable,
            wait_ms: WAIT_MS_FOREVER,
            priority: 0,
            lock_delay: Duration::ZERO,
            flow: Flow::Task,
        }
    }

    #[cfg(test)]
    pub(crate) fn handle(&self) -> Raceproof {
        self.rp.clone()
    }

    pub(crate) fn permits(mut self, permits: u32, take: u32) -> Self {
        self.permits = Some((permits, take));
        self
    }

    /// Shares it with others who share it.
    pub fn shared(mut self) -> Self {
        self.mode = Mode::Shared;
        self
    }

    /// What a grant costs and what a crash of the server may do to it (L13). [`Class::Durable`] by default.
    pub fn class(mut self, class: Class) -> Self {
        self.class = class;
        self
    }

    /// How long [`Lock::acquire`] waits. For ever by default.
    pub fn wait(mut self, wait: Duration) -> Self {
        self.wait_ms = millis(wait);
        self
    }

    /// Waiters of a higher priority are served first; among equals, the first to come. 0 by default.
    pub fn priority(mut self, priority: u8) -> Self {
        self.priority = priority;
        self
    }

    /// How long the lock stays closed when this holder's lease ends by itself, for what cannot check a token. Zero by
    /// default, an hour at most.
    pub fn lock_delay(mut self, delay: Duration) -> Self {
        self.lock_delay = delay;
        self
    }

    /// Which flow of work this belongs to, for the search for deadlocks (L6): at most 64 bytes. By default the Tokio
    /// task that acquires, or the thread outside one.
    pub fn owner(mut self, owner: impl Into<Arc<str>>) -> Self {
        self.flow = Flow::Named(owner.into());
        self
    }

    /// Belongs to no flow of work, so that it is never part of a deadlock: for guards that change hands.
    pub fn detached(mut self) -> Self {
        self.flow = Flow::Detached;
        self
    }

    /// Takes the locks, after a wait if need be.
    ///
    /// # Errors
    /// See [`AcquireError`].
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future gives up the place in the queue; a grant that is already on its way is given
    /// back. A future that is kept but not polled for the claim timeout after its grant came gives it back, too, and
    /// then resolves to [`AcquireError::Unclaimed`] (L4).
    pub async fn acquire(&self) -> Result<Guard, AcquireError> {
        if self.has_run_long() {
            tokio::task::yield_now().await;
        }
        match self.at_once() {
            Some(held) => held,
            None => self.take(self.wait_ms).await,
        }
    }

    /// Takes the locks if that is possible at once.
    ///
    /// # Errors
    /// [`AcquireError::Held`] when it is not; see there for the others.
    ///
    /// # Cancel safety
    /// Cancel safe, as [`Lock::acquire`].
    pub async fn try_acquire(&self) -> Result<Guard, AcquireError> {
        match self.at_once() {
            Some(held) => held,
            None => self.take(0).await,
        }
    }

    /// Whether it is time to let other tasks run. What is granted at once never waits, so a task in a loop would keep
    /// its thread; Tokio's own budget costs more than the grant.
    #[inline]
    fn has_run_long(&self) -> bool {
        match &self.rp.coordinator {
            Coordinator::Local(local) => local.has_run_long(),
            #[cfg(feature = "client")]
            Coordinator::Server(_) => false,
        }
    }

    /// Takes one name alone, when this process decides and nobody holds it or waits for it.
    #[inline]
    fn at_once(&self) -> Option<Result<Guard, AcquireError>> {
        match &self.rp.coordinator {
            Coordinator::Local(local) => {
                let name = self.alone()?;
                let held = local.try_hold(name, self.hash, self.flow.owner())?;
                Some(held.map(|held| Guard::new(Held::Local(held))).map_err(Into::into))
            }
            #[cfg(feature = "client")]
            Coordinator::Server(_) => None,
        }
    }

    async fn take(&self, wait_ms: u64) -> Result<Guard, AcquireError> {
        let held = match &self.rp.coordinator {
            #[cfg(feature = "client")]
            Coordinator::Server(owner) => {
                let acquire = self.asked(wait_ms);
                let submit = |client: &mut Client, now| client.acquire(now, acquire).map_err(|refused| refused.reason);
                match owner.0.start(submit)?.await? {
                    Claimed::Granted { grant, cell } => {
                        Held::Server(ServerHeld::new(Arc::clone(owner), grant.token, grant.names, cell))
                    }
                    _ => return Err(AcquireError::Closed),
                }
            }
            Coordinator::Local(local) => Held::Local(local.acquire(self.names.clone(), self.asked(wait_ms)).await?),
        };
        Ok(Guard::new(held))
    }

    /// The name, if it is wanted by itself and exclusively.
    fn alone(&self) -> Option<&Arc<str>> {
        match &self.names {
            Names::One(name) if self.mode == Mode::Exclusive && self.permits.is_none() => Some(name),
            _ => None,
        }
    }

    fn asked(&self, wait_ms: u64) -> Acquire {
        Acquire {
            request: None,
            names: self.names.to_vec(),
            mode: self.mode,
            permits: self.permits.map(|(permits, _)| permits),
            take: self.permits.map_or(1, |(_, take)| take),
            wait_ms,
            class: self.class,
            priority: self.priority,
            lock_delay_ms: millis(self.lock_delay),
            owner: Some(self.flow.owner().text()),
        }
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    // Rounded up: a wait of half a millisecond is not a try.
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).map_or(WAIT_MS_FOREVER, |ms| ms.min(WAIT_MS_FOREVER))
}
