//! How locks are asked for.

use std::ops::ControlFlow;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

#[cfg(feature = "client")]
use raceproof_core::client::Client;
use raceproof_core::local::Site;
use raceproof_core::lock::Claim;
use raceproof_core::wire::{Acquire, Class, WAIT_MS_FOREVER};
use tracing::{Instrument as _, Span};

#[cfg(feature = "client")]
use crate::client::{Claimed, held::ServerHeld};
use crate::coordinator::Coordinator;
use crate::error::AcquireError;
use crate::guard::Guard;
use crate::handle::Raceproof;
use crate::held::Held;
use crate::local::{Entry, Key, Left, LocalHeld, LocalOp, Queued};
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
    /// Where one name is wanted by itself, and this process decides.
    alone: Option<Key>,
    claim: Claim,
    class: Class,
    wait_ms: u64,
    priority: u8,
    lock_delay: Duration,
    flow: Flow,
}

impl Lock {
    pub(crate) fn new(rp: Raceproof, names: Names) -> Self {
        let alone = match (&rp.coordinator, &names) {
            (Coordinator::Local(local), Names::One(name)) => local.key(name),
            _ => None,
        };
        Self {
            rp,
            names,
            alone,
            claim: Claim::Exclusive,
            class: Class::Durable,
            wait_ms: WAIT_MS_FOREVER,
            priority: 0,
            lock_delay: Duration::ZERO,
            flow: Flow::Task,
        }
    }

    pub(crate) const fn coordinator(&self) -> &Raceproof {
        &self.rp
    }

    pub(crate) fn permits(mut self, permits: u32, take: u32) -> Self {
        self.claim = Claim::Permits { of: permits, take };
        self
    }

    /// Shares it with others who share it.
    pub fn shared(mut self) -> Self {
        self.claim = Claim::Shared;
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
        self.flow = Flow::Named(Arc::new(owner.into()));
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
    #[inline]
    #[track_caller]
    pub fn acquire(&self) -> impl Future<Output = Result<Guard, AcquireError>> + Send {
        self.acquire_from(Location::caller())
    }

    #[inline]
    pub(crate) const fn acquire_from(&self, site: Site) -> Acquiring<'_> {
        Acquiring { lock: self, wait_ms: self.wait_ms, site, phase: Phase::Fresh }
    }

    /// Takes the locks if that is possible at once.
    ///
    /// # Errors
    /// [`AcquireError::Held`] when it is not; see there for the others.
    ///
    /// # Cancel safety
    /// Cancel safe, as [`Lock::acquire`].
    #[inline]
    #[track_caller]
    pub fn try_acquire(&self) -> impl Future<Output = Result<Guard, AcquireError>> + Send {
        self.try_acquire_from(Location::caller())
    }

    #[inline]
    pub(crate) const fn try_acquire_from(&self, site: Site) -> Acquiring<'_> {
        Acquiring { lock: self, wait_ms: 0, site, phase: Phase::Fresh }
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

    /// Takes one name alone, when this process decides, nobody waits for it, and who holds it is not in the way.
    #[inline(always)]
    fn at_once(&self, site: Site) -> Option<Guard> {
        match &self.rp.coordinator {
            Coordinator::Local(local) => {
                let key = self.alone.as_ref()?;
                let held = match self.claim {
                    Claim::Exclusive => local.try_hold(key, &self.flow, site)?,
                    claim => local.try_hold_beside(key, &self.flow, claim, site)?,
                };
                Some(Guard::new(Held::Local(held)))
            }
            #[cfg(feature = "client")]
            Coordinator::Server(_) => None,
        }
    }

    /// Waits in the queue of a name that is wanted by itself, where this process decides.
    fn enter<'a>(&'a self, wait_ms: u64, site: Site, cx: &mut Context<'_>) -> Entry<'a> {
        match (&self.rp.coordinator, &self.alone) {
            (Coordinator::Local(local), Some(key)) if wait_ms > 0 && self.priority == 0 => {
                Queued::enter(local, key, self.claim, &self.flow, wait_ms, site, cx)
            }
            _ => Entry::Elsewhere,
        }
    }

    /// Around a wait, for whoever subscribes to it.
    fn waiting(&self) -> Span {
        tracing::debug_span!("raceproof.lock.wait", names = ?self.names.as_slice())
    }

    /// Waits for what the machine has taken over.
    async fn moved(&self, op: LocalOp) -> Result<Guard, AcquireError> {
        match &self.rp.coordinator {
            Coordinator::Local(local) => Ok(Guard::new(Held::Local(local.granted(op).await?))),
            #[cfg(feature = "client")]
            Coordinator::Server(_) => Err(AcquireError::Closed),
        }
    }

    async fn take(&self, wait_ms: u64, site: Site) -> Result<Guard, AcquireError> {
        let held = match &self.rp.coordinator {
            #[cfg(feature = "client")]
            Coordinator::Server(owner) => {
                let acquire = Acquire { owner: Some(self.flow.owner().text()), ..self.asked(wait_ms) };
                let submit = |client: &mut Client, now| client.acquire(now, acquire).map_err(|refused| refused.reason);
                match owner.0.start(submit)?.await? {
                    Claimed::Granted { grant, cell } => {
                        Held::Server(Box::new(ServerHeld::new(Arc::clone(owner), grant.token, grant.names, cell)))
                    }
                    _ => return Err(AcquireError::Closed),
                }
            }
            Coordinator::Local(local) => {
                let owner = self.flow.owner();
                let asked = Acquire { owner: Some(owner.text()), ..self.asked(wait_ms) };
                Held::Local(local.acquire(self.names.clone(), asked, owner, site).await?)
            }
        };
        Ok(Guard::new(held))
    }

    fn asked(&self, wait_ms: u64) -> Acquire {
        Acquire {
            wait_ms,
            class: self.class,
            priority: self.priority,
            lock_delay_ms: millis(self.lock_delay),
            ..self.claim.of(self.names.to_vec())
        }
    }
}

/// An acquisition. Small, so that one of a free lock costs little more than the lock.
pub(crate) struct Acquiring<'a> {
    lock: &'a Lock,
    wait_ms: u64,
    site: Site,
    phase: Phase<'a>,
}

enum Phase<'a> {
    Fresh,
    /// Lets other tasks run first.
    Resting(Pin<Box<dyn Future<Output = ()> + Send>>),
    /// In the queue of a name. A span that nobody subscribes to takes no room.
    Queued(Queued<'a>, Option<Box<Span>>),
    /// Somebody else decides: the machine, or a server.
    Elsewhere(Pin<Box<dyn Future<Output = Result<Guard, AcquireError>> + Send + 'a>>),
}

/// Small enough for registers, so that a guard that was there at once need not be where this one would be returned.
enum Got {
    Held(Box<Guard>),
    Failed(Box<AcquireError>),
}

impl Future for Acquiring<'_> {
    type Output = Result<Guard, AcquireError>;

    #[inline(always)]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if matches!(this.phase, Phase::Fresh)
            && (this.wait_ms == 0 || !this.lock.has_run_long())
            && let Some(guard) = this.lock.at_once(this.site)
        {
            return Poll::Ready(Ok(guard));
        }
        match this.poll_slowly(cx) {
            Poll::Ready(Got::Held(guard)) => Poll::Ready(Ok(*guard)),
            Poll::Ready(Got::Failed(error)) => Poll::Ready(Err(*error)),
            Poll::Pending => Poll::Pending,
        }
    }
}

impl Acquiring<'_> {
    #[cold]
    #[inline(never)]
    fn poll_slowly(&mut self, cx: &mut Context<'_>) -> Poll<Got> {
        loop {
            match &mut self.phase {
                Phase::Fresh if self.wait_ms > 0 && self.lock.has_run_long() => {
                    self.phase = Phase::Resting(Box::pin(tokio::task::yield_now()));
                }
                Phase::Fresh => {
                    if let ControlFlow::Break(polled) = self.begin(cx) {
                        return polled;
                    }
                }
                Phase::Resting(rest) => {
                    ready!(rest.as_mut().poll(cx));
                    if let ControlFlow::Break(polled) = self.begin(cx) {
                        return polled;
                    }
                }
                Phase::Queued(queued, span) => match ready!(queued.poll(cx)) {
                    Left::Held(held) => return Poll::Ready(Got::held(held)),
                    Left::Moved(op) => {
                        let span = span.take().map_or_else(Span::none, |span| *span);
                        self.phase = Phase::Elsewhere(Box::pin(self.lock.moved(op).instrument(span)));
                    }
                    Left::Failed(error) => return Poll::Ready(Got::failed(self.lock, error.into())),
                },
                Phase::Elsewhere(elsewhere) => {
                    return elsewhere.as_mut().poll(cx).map(|result| match result {
                        Ok(guard) => Got::Held(Box::new(guard)),
                        Err(error) => Got::failed(self.lock, error),
                    });
                }
            }
        }
    }

    /// Takes the lock, or a place among those who wait for it.
    fn begin(&mut self, cx: &mut Context<'_>) -> ControlFlow<Poll<Got>> {
        match self.lock.enter(self.wait_ms, self.site, cx) {
            Entry::Held(held) => ControlFlow::Break(Poll::Ready(Got::held(held))),
            Entry::Waiting(queued) => {
                let span = self.lock.waiting();
                self.phase = Phase::Queued(queued, (!span.is_disabled()).then(|| Box::new(span)));
                ControlFlow::Break(Poll::Pending)
            }
            Entry::Elsewhere => {
                let span = if self.wait_ms > 0 { self.lock.waiting() } else { Span::none() };
                self.phase = Phase::Elsewhere(Box::pin(self.lock.take(self.wait_ms, self.site).instrument(span)));
                ControlFlow::Continue(())
            }
        }
    }
}

impl Got {
    fn held(held: LocalHeld) -> Self {
        Self::Held(Box::new(Guard::new(Held::Local(held))))
    }

    fn failed(lock: &Lock, error: AcquireError) -> Self {
        let names = lock.names.as_slice();
        match &error {
            AcquireError::Deadlock(deadlock) => tracing::warn!(?names, %deadlock, "a wait would be a deadlock"),
            AcquireError::Unclaimed => tracing::warn!(?names, "a lock was not claimed in time"),
            AcquireError::TimedOut(_) => tracing::debug!(?names, "a wait for a lock timed out"),
            _ => {}
        }
        Self::Failed(Box::new(error))
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    // Rounded up: a wait of half a millisecond is not a try.
    u64::try_from(duration.as_nanos().div_ceil(1_000_000)).map_or(WAIT_MS_FOREVER, |ms| ms.min(WAIT_MS_FOREVER))
}
