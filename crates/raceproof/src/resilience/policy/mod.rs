//! Several safeguards around one operation, in the one order that works.
//!
//! Owns: the order. What an attempt without a result means to the retry and to the breaker is the
//! [core's](raceproof_core::resilience::policy); everything else is each safeguard's own.
//!
//! From the outside in, and why:
//! 1. the time for the whole call: it bounds everything below, waits between attempts included;
//! 2. retry: outside the breaker, so that every attempt asks it, and an outage ends the retries too;
//! 3. breaker: before anything is taken for a call that is not made;
//! 4. rate limit, 5. concurrency: what the service agreed to take. A refusal here is no verdict about the service: a
//!    probe that meets it frees its place;
//! 6. the time for one attempt: innermost, so that it bounds the operation and not the queue before it, and so that
//!    its end is a failure that the breaker and the retry see.

mod error;
mod stats;
#[cfg(test)]
mod tests;
#[cfg(feature = "tower")]
mod tower;

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use raceproof_core::resilience::breaker::Verdict;
use tokio::sync::{Semaphore, SemaphorePermit};
use tracing::Instrument as _;

pub use self::error::PolicyError;
use self::error::Stopped;
pub use self::stats::Stats;
use self::stats::{Counters, Running};
#[cfg(feature = "tower")]
pub use self::tower::{PolicyLayer, PolicyService};
use super::queue::Place;
use super::retry::{Fault, GaveUp, RetryError, Retryable};
use super::{Breaker, RateLimiter, Retry, Timeout};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::timer;

/// How many attempts may wait for room.
const WAITING_MAX: usize = 1_024;

/// A stack of safeguards. Clones share it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::time::Duration;
/// use raceproof::resilience::{Breaker, Policy, Retry};
///
/// let payments = Policy::builder()
///     .timeout(Duration::from_secs(10))
///     .retry(Retry::new())
///     .breaker(Breaker::new("payments"))
///     .concurrency(32, Duration::from_millis(100))
///     .attempt_timeout(Duration::from_secs(2))
///     .build();
/// let answer = payments.run(async || Ok::<_, std::io::Error>("paid")).await;
/// assert_eq!(answer.unwrap(), "paid");
/// # }
/// ```
///
/// However it was built, the order from the outside in is: the time for the whole call, retry, breaker, rate limit,
/// concurrency, the time for one attempt. So every attempt asks the breaker; a refusal takes nothing from what is
/// further in; a refusal by the rate limit or for lack of room says nothing about the service; and an attempt that
/// takes too long is a failure that breaker and retry see.
///
/// A permanent error ([`Fault::Permanent`]) is an answer: it ends the retries, and to the breaker it is a success.
///
/// A policy that runs inside another one's attempt, in the same task, shares that one's attempts.
#[derive(Clone)]
pub struct Policy {
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    timeout: Option<Timeout>,
    retry: Option<Retry>,
    breaker: Option<Breaker>,
    limiter: Option<RateLimiter>,
    concurrency: Option<Concurrency>,
    attempt_timeout: Option<Timeout>,
    counters: Counters,
}

struct Concurrency {
    slots: Semaphore,
    limit: usize,
    wait: Duration,
    waiting: AtomicUsize,
}

/// What a [`Policy`] is made of. The order of these calls does not matter.
#[must_use]
#[derive(Default)]
pub struct Builder {
    inner: Inner,
}

impl Builder {
    /// The whole call takes no longer than this.
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.inner.timeout = Some(Timeout::new(limit));
        self
    }

    /// Attempts that fail are tried again.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.inner.retry = Some(retry);
        self
    }

    /// Attempts are made while this breaker admits them.
    pub fn breaker(mut self, breaker: Breaker) -> Self {
        self.inner.breaker = Some(breaker);
        self
    }

    /// Attempts are made at this rate. One beyond it is refused; a retry comes back when there is room again.
    pub fn rate_limit(mut self, limiter: RateLimiter) -> Self {
        self.inner.limiter = Some(limiter);
        self
    }

    /// So many attempts are under way at a time. One beyond it waits so long for room, in order, and is refused then; at
    /// once if 1024 wait.
    pub fn concurrency(mut self, limit: usize, wait: Duration) -> Self {
        let limit = limit.clamp(1, Semaphore::MAX_PERMITS);
        self.inner.concurrency =
            Some(Concurrency { slots: Semaphore::new(limit), limit, wait, waiting: AtomicUsize::new(0) });
        self
    }

    /// Each attempt takes no longer than this.
    pub fn attempt_timeout(mut self, limit: Duration) -> Self {
        self.inner.attempt_timeout = Some(Timeout::new(limit));
        self
    }

    /// The policy.
    #[must_use]
    pub fn build(self) -> Policy {
        Policy { inner: Arc::new(self.inner) }
    }
}

impl Policy {
    /// Begins a policy that does nothing.
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Runs an operation behind everything that this policy has. The error says whether another attempt is worth it.
    ///
    /// # Errors
    /// What stopped it last: see [`PolicyError`].
    ///
    /// # Cancel safety
    /// Dropping the future drops the attempt under way; no further one begins, and everything that was taken for it is
    /// given back, except a cell of the rate limit.
    pub async fn run<T, E, F, Fut>(&self, operation: F) -> Result<T, PolicyError<E>>
    where
        E: Retryable,
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.run_if(E::fault, operation).await
    }

    /// As [`run`](Self::run), for errors of others: `classify` says what an error is.
    ///
    /// # Errors
    /// What stopped it last: see [`PolicyError`].
    ///
    /// # Cancel safety
    /// As [`run`](Self::run).
    pub async fn run_if<T, E, F, Fut>(&self, classify: impl Fn(&E) -> Fault, operation: F) -> Result<T, PolicyError<E>>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let inner = &*self.inner;
        let _running = Running::begin(&inner.counters);
        let span = tracing::debug_span!("raceproof.policy", breaker = inner.breaker.as_ref().map(Breaker::name));
        let attempts = self.attempts(&classify, operation).instrument(span);
        let result = match &inner.timeout {
            Some(timeout) => timeout.run(attempts).await.unwrap_or_else(|timed_out| Err(timed_out.into())),
            None => attempts.await,
        };
        inner.counters.ended(&result);
        result
    }

    /// What happened so far. What its safeguards tell is theirs: [`breaker`](Self::breaker), [`retry`](Self::retry).
    #[must_use]
    pub fn stats(&self) -> Stats {
        let waiting = self.inner.concurrency.as_ref();
        self.inner.counters.stats(waiting.map_or(0, |concurrency| concurrency.waiting.load(Ordering::Relaxed)))
    }

    /// The breaker, if it has one.
    #[must_use]
    pub fn breaker(&self) -> Option<&Breaker> {
        self.inner.breaker.as_ref()
    }

    /// The retry, if it has one.
    #[must_use]
    pub fn retry(&self) -> Option<&Retry> {
        self.inner.retry.as_ref()
    }

    async fn attempts<T, E, F, Fut>(
        &self,
        classify: &impl Fn(&E) -> Fault,
        mut operation: F,
    ) -> Result<T, PolicyError<E>>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        let inner = &*self.inner;
        let Some(retry) = &inner.retry else {
            return inner.attempt(classify, operation()).await.map_err(|error| {
                let gave_up = GaveUp::of_the_only_attempt(error.kind(classify).fault());
                RetryError { error, attempts: 1, gave_up }.into()
            });
        };
        let fault = |stopped: &Stopped<E>| stopped.kind(classify).fault();
        retry.run_if(fault, || inner.attempt(classify, operation())).await.map_err(PolicyError::from)
    }
}

impl Inner {
    async fn attempt<T, E, Fut>(&self, classify: &impl Fn(&E) -> Fault, operation: Fut) -> Result<T, Stopped<E>>
    where
        Fut: Future<Output = Result<T, E>>,
    {
        self.counters.attempts.fetch_add(1, Ordering::Relaxed);
        // Dropped without a verdict by each refusal below.
        let pass = self.breaker.as_ref().map(Breaker::admit).transpose().map_err(Stopped::Open)?;
        if let Some(limiter) = &self.limiter {
            limiter.check().map_err(Stopped::Limited)?;
        }
        let _slot = match &self.concurrency {
            Some(concurrency) => Some(concurrency.slot(&self.counters).await?),
            None => None,
        };
        let result = match &self.attempt_timeout {
            Some(timeout) => match timeout.run(operation).await {
                Ok(result) => result.map_err(Stopped::Failed),
                Err(timed_out) => Err(Stopped::TimedOut(timed_out)),
            },
            None => operation.await.map_err(Stopped::Failed),
        };
        if let Some(pass) = pass {
            let verdict =
                result.as_ref().map_or_else(|stopped| stopped.kind(classify).verdict(), |_| Some(Verdict::Success));
            if let Some(verdict) = verdict {
                pass.settle(verdict == Verdict::Success);
            }
        }
        result
    }
}

impl Concurrency {
    async fn slot<E>(&self, counters: &Counters) -> Result<SemaphorePermit<'_>, Stopped<E>> {
        if let Ok(slot) = self.slots.try_acquire() {
            return Ok(slot);
        }
        let slot = match Place::take(&self.waiting, WAITING_MAX) {
            Ok(_place) if !self.wait.is_zero() => {
                let span = tracing::debug_span!("raceproof.policy.wait", limit = self.limit);
                timer::within(self.wait, self.slots.acquire()).instrument(span).await
            }
            _ => None,
        };
        let slot = slot.ok_or_else(|| {
            counters.busy.fetch_add(1, Ordering::Relaxed);
            Stopped::Busy { limit: self.limit }
        })?;
        Ok(slot.expect("the semaphore is never closed"))
    }
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Policy")
            .field("timeout", &self.timeout)
            .field("retry", &self.retry)
            .field("breaker", &self.breaker)
            .field("rate_limit", &self.limiter)
            .field("concurrency", &self.concurrency.as_ref().map(|concurrency| concurrency.limit))
            .field("attempt_timeout", &self.attempt_timeout)
            .finish()
    }
}

impl fmt::Debug for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}
