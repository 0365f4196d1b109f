//! A circuit breaker: stops calling what fails, and probes it before it is trusted again.
//!
//! Owns: the closed case and the refusal, which need no lock, and the time. Everything else is the
//! [machine's](raceproof_core::resilience::breaker). P1 is in its header.

mod permit;
mod stats;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::Future;

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use raceproof_core::resilience::breaker::{self as machine, Admission, Generation, Recorded, Verdict};
pub use raceproof_core::resilience::breaker::{Config, State, Threshold, Window};
use raceproof_core::time::Time;

use self::permit::Pass;
pub use self::permit::Permit;
pub use self::stats::Stats;
use super::clock::Clock;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// The two lowest bits of the gate; the generation is in the others.
const CLOSED: u64 = 1;
const OPEN: u64 = 2;
const HALF_OPEN: u64 = 3;
const STATE: u64 = 3;
/// Beside [`CLOSED`]: a success changes nothing but its counter.
const IGNORES_SUCCESS: u64 = 4;
const GENERATION_SHIFT: u32 = 3;

/// A circuit breaker. Clones share it; it lasts as long as any of them, or a [`Permit`].
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use raceproof::resilience::breaker::{Breaker, CallError};
///
/// let breaker = Breaker::builder("payments").consecutive(5).open_for(std::time::Duration::from_secs(60)).build();
/// let answer = breaker.call(async { Ok::<_, std::io::Error>(200) }).await;
/// assert!(matches!(answer, Ok(200)));
///
/// breaker.open();
/// let answer = breaker.call(async { Ok::<_, std::io::Error>(200) }).await;
/// assert!(matches!(answer, Err(CallError::Open(_))));
/// # }
/// ```
///
/// Half-open admits exactly as many probes as it is built with. A result of a call that was admitted before the state
/// last changed is ignored (P1).
#[derive(Clone)]
pub struct Breaker {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    name: Arc<str>,
    clock: Clock,
    /// State and generation, as the machine left them.
    gate: AtomicU64,
    /// While open: until when, in microseconds; [`u64::MAX`] when opened by hand. Written before the gate.
    open_until: AtomicU64,
    /// What was counted without the machine.
    successes: AtomicU64,
    refused: AtomicU64,
    machine: Mutex<machine::Breaker>,
}

/// The breaker admits no call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the circuit breaker is open")]
#[non_exhaustive]
pub struct Open {
    /// How long until it makes sense to ask again. `None` when it was opened by hand.
    pub retry_after: Option<Duration>,
}

/// Why [`Breaker::call`] has no result.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CallError<E> {
    /// The call was not made.
    #[error(transparent)]
    Open(#[from] Open),
    /// The call was made and failed.
    #[error("{0}")]
    Failed(E),
}

/// What a breaker is made of: see [`Breaker::builder`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    name: Arc<str>,
    config: Config,
}

impl Builder {
    /// Opens after so many failures in a row. This is the default, with 5.
    pub const fn consecutive(self, failures: u32) -> Self {
        self.threshold(Threshold::Consecutive(failures))
    }

    /// Opens after so many failures within the window.
    pub const fn failures(self, count: u32, window: Window) -> Self {
        self.threshold(Threshold::Failures { count, window })
    }

    /// Opens when `percent` of the results in the window are failures, and there are at least `calls_min`.
    pub const fn rate(self, percent: u8, calls_min: u32, window: Window) -> Self {
        self.threshold(Threshold::Rate { percent, calls_min, window })
    }

    /// How much failure opens it.
    pub const fn threshold(mut self, threshold: Threshold) -> Self {
        self.config.threshold = threshold;
        self
    }

    /// How long it stays open before it probes. Default: 60 s.
    pub const fn open_for(mut self, period: Duration) -> Self {
        self.config.open_for = period;
        self
    }

    /// Lets each failed probe double the open period, up to this. Without it the period never grows.
    pub const fn open_for_max(mut self, period: Duration) -> Self {
        self.config.open_for_max = period;
        self
    }

    /// How many calls half-open admits; all of them have to succeed. Default: 1.
    pub const fn probes(mut self, probes: u32) -> Self {
        self.config.probes = probes;
        self
    }

    /// After how long without a verdict a probe is given up and its place is free. Default: 30 s.
    pub const fn probe_timeout(mut self, timeout: Duration) -> Self {
        self.config.probe_timeout = timeout;
        self
    }

    /// The breaker, closed.
    #[must_use]
    pub fn build(self) -> Breaker {
        Breaker::with_config(self.name, self.config)
    }
}

impl Breaker {
    /// A closed breaker with the defaults: five failures in a row open it for 60 s, then one probe.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self::builder(name).build()
    }

    /// Begins a breaker. The name is for people: statistics and logs show it.
    pub fn builder(name: impl Into<Arc<str>>) -> Builder {
        let mut config = Config::default();
        config.open_for_max = Duration::ZERO;
        Builder { name: name.into(), config }
    }

    /// A closed breaker with this configuration.
    #[must_use]
    pub fn with_config(name: impl Into<Arc<str>>, config: Config) -> Self {
        Self::with_clock(name.into(), config, Clock::new())
    }

    fn with_clock(name: Arc<str>, config: Config, clock: Clock) -> Self {
        let machine = machine::Breaker::new(config);
        let inner = Inner {
            name,
            clock,
            gate: AtomicU64::new(gate_of(&machine)),
            open_until: AtomicU64::new(0),
            successes: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            machine: Mutex::new(machine),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.inner.name
    }

    /// Makes a call if it is admitted. `Ok` is a success and `Err` a failure. A future that panics failed; one that is
    /// dropped says nothing, and frees its place.
    ///
    /// # Errors
    /// [`CallError::Open`] if the call was not made, else the call's own error.
    ///
    /// # Cancel safety
    /// Dropping the future drops the call. A probe that is cancelled frees its place for another.
    pub async fn call<T, E, F>(&self, call: F) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        self.call_if(|_| true, call).await
    }

    /// As [`call`](Self::call), where only the errors that `fails` is true for are failures. Others are successes: the
    /// service works and said no.
    ///
    /// # Errors
    /// [`CallError::Open`] if the call was not made, else the call's own error.
    ///
    /// # Cancel safety
    /// As [`call`](Self::call).
    pub async fn call_if<T, E, F>(&self, fails: impl FnOnce(&E) -> bool, call: F) -> Result<T, CallError<E>>
    where
        F: Future<Output = Result<T, E>>,
    {
        let permit = self.admit()?;
        let result = call.await;
        permit.settle(result.as_ref().map_or_else(|error| !fails(error), |_| true));
        result.map_err(CallError::Failed)
    }

    /// As [`call`](Self::call), for a call that does not wait.
    ///
    /// # Errors
    /// [`CallError::Open`] if the call was not made, else the call's own error.
    #[inline]
    pub fn call_now<T, E>(&self, call: impl FnOnce() -> Result<T, E>) -> Result<T, CallError<E>> {
        let permit = self.admit()?;
        let result = call();
        permit.settle(result.is_ok());
        result.map_err(CallError::Failed)
    }

    /// Asks to make a call. The permit is told how it went, or dropped if nothing can be said.
    ///
    /// # Errors
    /// [`Open`] while it is open, and while every probe is under way.
    #[inline]
    pub fn try_acquire(&self) -> Result<Permit, Open> {
        Ok(Permit { pass: Pass::new(Arc::clone(&self.inner), self.admission()?) })
    }

    /// As [`try_acquire`](Self::try_acquire), within the life of this handle.
    #[inline]
    pub(super) fn admit(&self) -> Result<Pass<&Inner>, Open> {
        Ok(Pass::new(&self.inner, self.admission()?))
    }

    #[inline]
    fn admission(&self) -> Result<Admission, Open> {
        let gate = self.inner.gate.load(Ordering::Acquire);
        if gate & STATE == CLOSED {
            return Ok(Admission { generation: Generation::new(gate >> GENERATION_SHIFT) });
        }
        self.inner.admit_slowly(gate)
    }

    /// Opens it until [`close`](Self::close). Results of calls under way are ignored.
    pub fn open(&self) {
        let mut machine = self.inner.lock();
        machine.open();
        self.inner.publish(&machine, State::Open);
    }

    /// Closes it, with nothing counted. Results of calls under way are ignored.
    pub fn close(&self) {
        let mut machine = self.inner.lock();
        machine.close();
        self.inner.publish(&machine, State::Closed);
    }

    /// What it does with calls. One whose open period is over is `Open` until somebody calls.
    #[must_use]
    pub fn state(&self) -> State {
        match self.inner.gate.load(Ordering::Acquire) & STATE {
            CLOSED => State::Closed,
            OPEN => State::Open,
            _ => State::HalfOpen,
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let machine = self.inner.lock();
        let mut stats = Stats::new(&self.inner.name, machine.state(), machine.counters());
        stats.successes += self.inner.successes.load(Ordering::Relaxed);
        stats.refused += self.inner.refused.load(Ordering::Relaxed);
        stats
    }
}

impl Inner {
    #[inline]
    fn admit_slowly(&self, gate: u64) -> Result<Admission, Open> {
        if gate & STATE == OPEN {
            // Of this opening or of a later one.
            let until = self.open_until.load(Ordering::Acquire);
            if until == u64::MAX {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Err(Open { retry_after: None });
            }
            let (until, now) = (Time::from_micros(until), self.clock.bounds());
            if now.latest < until {
                self.refused.fetch_add(1, Ordering::Relaxed);
                return Err(Open { retry_after: Some(until.since(now.earliest)) });
            }
        }
        self.admit_by_machine()
    }

    #[cold]
    fn admit_by_machine(&self) -> Result<Admission, Open> {
        let mut machine = self.lock();
        // Read under the lock, so that the order of times is that of the inputs.
        let now = self.clock.now();
        let before = machine.state();
        let admitted = machine.admit(now);
        if machine.state() != before {
            tracing::info!(breaker = &*self.name, "half-open: probing");
        }
        self.gate.store(gate_of(&machine), Ordering::Release);
        admitted.map_err(|refused| Open { retry_after: refused.retry_at.map(|at| at.since(now)) })
    }

    #[inline]
    fn settle(&self, admission: Admission, success: bool) {
        if success {
            let gate = self.gate.load(Ordering::Acquire);
            if gate & IGNORES_SUCCESS != 0 && gate >> GENERATION_SHIFT == admission.generation.as_u64() {
                self.successes.fetch_add(1, Ordering::Relaxed);
                return;
            }
        }
        self.settle_by_machine(admission, if success { Verdict::Success } else { Verdict::Failure });
    }

    fn settle_by_machine(&self, admission: Admission, verdict: Verdict) {
        let mut machine = self.lock();
        // A success that only moves the window along need not be placed in it more exactly than by a tick.
        let now = match verdict {
            Verdict::Success if machine.state() == State::Closed => self.clock.bounds().earliest,
            _ => self.clock.now(),
        };
        match machine.record(now, admission, verdict) {
            Recorded::Changed(state) => self.publish(&machine, state),
            Recorded::Counted => self.gate.store(gate_of(&machine), Ordering::Release),
            Recorded::Stale => {}
        }
    }

    /// A call is over, and nothing was said of it.
    fn dropped(&self, admission: Admission) {
        if std::thread::panicking() {
            self.settle(admission, false);
        } else {
            self.lock().abandon(admission);
        }
    }

    fn publish(&self, machine: &machine::Breaker, state: State) {
        let until = machine.retry_at().map_or(u64::MAX, Time::as_micros);
        self.open_until.store(until, Ordering::Release);
        self.gate.store(gate_of(machine), Ordering::Release);
        match state {
            State::Open => tracing::warn!(breaker = &*self.name, "opened"),
            State::Closed => tracing::info!(breaker = &*self.name, "closed"),
            State::HalfOpen => {}
        }
    }

    fn lock(&self) -> MutexGuard<'_, machine::Breaker> {
        // The machine runs no code of others, so it is whole even if a thread panicked while it had it.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn gate_of(machine: &machine::Breaker) -> u64 {
    let state = match machine.state() {
        State::Closed if machine.ignores_success() => CLOSED | IGNORES_SUCCESS,
        State::Closed => CLOSED,
        State::Open => OPEN,
        State::HalfOpen => HALF_OPEN,
    };
    machine.generation().as_u64() << GENERATION_SHIFT | state
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("name", &self.name).finish_non_exhaustive()
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Breaker").field("name", &self.inner.name).field("state", &self.state()).finish()
    }
}
