//! Retries that do not make an outage worse.
//!
//! Owns: running the attempts, the shared budget, and the knowledge of the retries around this one. Which failure is
//! tried again and when is the [machine's](raceproof_core::resilience::retry). P2 is in its header.

mod budget;
mod fault;
mod scope;
#[cfg(test)]
mod tests;

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use std::time::Duration;

use raceproof_core::resilience::retry::Attempts;
pub use raceproof_core::resilience::retry::{Config, Fault, GaveUp, parse_retry_after};
use raceproof_core::time::Time;
use tracing::Instrument as _;

pub use self::budget::Budget;
pub use self::fault::Retryable;
use self::scope::Scope;
use super::clock::Clock;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::timer;

/// Runs an operation again when it fails for a while. Clones share its budget and its statistics.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use raceproof::resilience::Retry;
///
/// let retry = Retry::builder().attempts_max(4).build();
/// let refused = || std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
/// let mut answers = [Err(refused()), Err(refused()), Ok("here")].into_iter();
/// let answer = retry
///     .run(|| {
///         let answer = answers.next().expect("it works by then");
///         async { answer }
///     })
///     .await;
/// assert_eq!(answer.unwrap(), "here");
/// # }
/// ```
///
/// - Each wait is drawn evenly from zero to a bound that doubles: callers that failed together do not return together.
/// - All callers pay their retries out of one [`Budget`], so an outage multiplies the load by a tenth, not by three.
/// - An error says whether it is worth it, and how long to stay away: [`Retryable`].
/// - Retries inside retries share the attempts of the outermost one: three layers with three attempts each make three
///   calls, not 27. This holds within a task; what an attempt spawns counts for itself.
#[derive(Clone)]
pub struct Retry {
    inner: Arc<Inner>,
}

struct Inner {
    config: Config,
    budget: Budget,
    independent: bool,
    clock: Clock,
    calls: AtomicU64,
    retries: AtomicU64,
    failed: AtomicU64,
    over_budget: AtomicU64,
}

/// The operation failed, and is not tried again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{error} ({attempts} attempts, {})", .gave_up.as_str())]
#[non_exhaustive]
pub struct RetryError<E> {
    /// The last attempt's error.
    pub error: E,
    /// How many attempts were made.
    pub attempts: u32,
    /// Why there was no further one.
    pub gave_up: GaveUp,
}

/// What happened so far at a [`Retry`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Calls, each with one attempt or more.
    pub calls: u64,
    /// Attempts beyond the first of their call.
    pub retries: u64,
    /// Calls that failed for good.
    pub failed: u64,
    /// Calls that failed because the budget was spent.
    pub over_budget: u64,
    /// How many retries the budget covers now.
    pub budget: u32,
}

/// What a [`Retry`] is made of.
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct Builder {
    config: Config,
    budget: Option<Budget>,
    independent: bool,
}

impl Builder {
    /// How many attempts there are at most, the first included. Default: 3.
    pub const fn attempts_max(mut self, attempts: u32) -> Self {
        self.config.attempts_max = attempts;
        self
    }

    /// The bound of the first wait; each further one is twice the one before. Default: 100 ms.
    pub const fn delay(mut self, delay: Duration) -> Self {
        self.config.delay = delay;
        self
    }

    /// No bound is longer than this. Default: 10 s.
    pub const fn delay_max(mut self, delay: Duration) -> Self {
        self.config.delay_max = delay;
        self
    }

    /// No attempt begins later than this after the first one. Counted from when
    /// the first one had to wait, or failed. An attempt that has begun is not cut short. Default: 30 s.
    pub const fn time_max(mut self, time: Option<Duration>) -> Self {
        self.config.time_max = time;
        self
    }

    /// The budget, to be shared by all that call the same service. Default: one of its own.
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// Keeps its own attempts when it runs inside another retry. For loops that supervise something long-lived and
    /// are no retry of a request; anything else multiplies attempts.
    pub const fn independent(mut self) -> Self {
        self.independent = true;
        self
    }

    /// The retry.
    #[must_use]
    pub fn build(self) -> Retry {
        let inner = Inner {
            config: self.config,
            budget: self.budget.unwrap_or_default(),
            independent: self.independent,
            clock: Clock::new(),
            calls: AtomicU64::new(0),
            retries: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            over_budget: AtomicU64::new(0),
        };
        Retry { inner: Arc::new(inner) }
    }
}

impl Default for Retry {
    fn default() -> Self {
        Self::builder().build()
    }
}

impl Retry {
    /// Three attempts, waits of up to 100 ms and 200 ms, a budget of its own.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a retry.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Runs `attempt` until it succeeds or should not be tried again. The error says whether it should.
    ///
    /// # Errors
    /// The last attempt's error, and why it was the last.
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempt under way, or ends the wait; no further one begins.
    pub async fn run<T, E, F, Fut>(&self, attempt: F) -> Result<T, RetryError<E>>
    where
        E: Retryable,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.run_if(E::fault, attempt).await
    }

    /// As [`run`](Self::run), for errors of others: `classify` says what an error is.
    ///
    /// # Errors
    /// The last attempt's error, and why it was the last.
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub async fn run_if<T, E, F, Fut>(&self, classify: impl Fn(&E) -> Fault, mut attempt: F) -> Result<T, RetryError<E>>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let inner = &*self.inner;
        inner.calls.fetch_add(1, Ordering::Relaxed);
        inner.budget.deposit();
        let mut attempts: Option<Attempts> = None;
        let mut scope = Scope::new(inner.config.attempts_max, inner.independent);
        loop {
            let mut future = pin!(attempt());
            let result = poll_fn(|cx| {
                let poll = scope.enter(|| future.as_mut().poll(cx));
                // What succeeds at once does not have to know when it began.
                if attempts.is_none() && !matches!(poll, Poll::Ready(Ok(_))) {
                    attempts = Some(Attempts::new(inner.began_at()));
                }
                poll
            })
            .await;
            let error = match result {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let attempts = attempts.get_or_insert_with(|| Attempts::new(inner.began_at()));
            let tried = inner.fail(attempts, &mut scope, classify(&error));
            let at = tried.map_err(|gave_up| RetryError { error, attempts: attempts.failed(), gave_up })?;
            let span = tracing::debug_span!("raceproof.retry.wait", failed = attempts.failed());
            timer::sleep_until(inner.clock.instant(at)).instrument(span).await;
        }
    }

    /// The budget that its callers share.
    #[must_use]
    pub fn budget(&self) -> &Budget {
        &self.inner.budget
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let inner = &self.inner;
        Stats {
            calls: inner.calls.load(Ordering::Relaxed),
            retries: inner.retries.load(Ordering::Relaxed),
            failed: inner.failed.load(Ordering::Relaxed),
            over_budget: inner.over_budget.load(Ordering::Relaxed),
            budget: inner.budget.retries(),
        }
    }
}

impl Inner {
    /// Nothing needs it where the time is not limited; where it is, a tick too early is as good.
    fn began_at(&self) -> Time {
        if self.config.time_max.is_some() { self.clock.bounds().earliest } else { Time::ZERO }
    }

    #[cold]
    fn fail(&self, attempts: &mut Attempts, scope: &mut Scope, fault: Fault) -> Result<Time, GaveUp> {
        let now = self.clock.now();
        let pay = || self.budget.withdraw();
        let result = attempts.fail(&self.config, now, fault, scope.left(), || fastrand::u64(..), pay);
        match result {
            Ok(at) => {
                scope.spend();
                self.retries.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(failed = attempts.failed(), wait = ?at.since(now), "trying again");
            }
            Err(gave_up) => {
                self.failed.fetch_add(1, Ordering::Relaxed);
                if gave_up == GaveUp::Budget {
                    self.over_budget.fetch_add(1, Ordering::Relaxed);
                }
                tracing::debug!(failed = attempts.failed(), because = gave_up.as_str(), "gave up");
            }
        }
        result
    }
}

impl fmt::Debug for Retry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Retry").field("config", &self.inner.config).finish_non_exhaustive()
    }
}
