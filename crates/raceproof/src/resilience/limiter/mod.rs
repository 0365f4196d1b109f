//! Rate limiters: so many calls in a time, for all together or for each key.
//!
//! Owns: the state in an atomic, the shards of the keyed table, and who waits. What a quota covers is the
//! [machine's](raceproof_core::resilience::limiter). P3 is in its header.

mod keyed;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use raceproof_core::resilience::limiter::Quota;
use raceproof_core::resilience::limiter::{KeyRefused, Refused, Tat};
use raceproof_core::time::Time;
use tracing::Instrument as _;

pub use self::keyed::{KeyedRateLimiter, KeyedStats};
use super::clock::Clock;
use super::queue::Queue;
pub use super::queue::QueueFull;
use crate::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use crate::timer;

/// At most so many calls in a time. Clones share the quota.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::num::NonZeroU32;
/// use raceproof::resilience::limiter::{Quota, RateLimiter};
///
/// let limiter = RateLimiter::new(Quota::per_second(NonZeroU32::new(2).expect("not zero")));
/// assert!(limiter.check().is_ok());
/// assert!(limiter.check().is_ok());
/// let refused = limiter.check().expect_err("two at once, and no third");
/// assert!(refused.retry_after().is_some());
/// limiter.until_ready().await.expect("nobody else waits");
/// # }
/// ```
///
/// Over any time there are at most a burst, and what the rate gives in that time (GCRA: no window to begin anew, so
/// nothing to be exploited where two windows meet).
#[derive(Clone)]
pub struct RateLimiter {
    inner: Arc<Inner>,
}

struct Inner {
    quota: Quota,
    clock: Clock,
    tat: AtomicU64,
    /// Whether the last call that knew the time was refused. A hint, for speed.
    limited: AtomicBool,
    admitted: AtomicU64,
    refused: AtomicU64,
    queue: Queue,
}

/// The quota does not cover the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Limited {
    /// Not yet.
    #[error("the rate limit is reached")]
    NotYet {
        /// How long until it will, if nobody else calls before.
        retry_after: Duration,
    },
    /// It never will: the call takes more than a burst.
    #[error("the call takes {cells}, and a burst has only {burst}")]
    TooLarge {
        /// What it takes.
        cells: u32,
        /// What there is at most.
        burst: u32,
    },
    /// So many keys have used a part of their quota that no other can be remembered. Only from a
    /// [`KeyedRateLimiter`].
    #[error("{keys_max} keys are in use, which is the limit")]
    KeysFull {
        /// The limit.
        keys_max: usize,
        /// How long until the first of them is whole again.
        retry_after: Duration,
    },
}

impl Limited {
    /// How long until it makes sense to ask again. `None` if never.
    #[must_use]
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::NotYet { retry_after } | Self::KeysFull { retry_after, .. } => Some(*retry_after),
            Self::TooLarge { .. } => None,
        }
    }

    fn new(refused: Refused, now: Time) -> Self {
        match refused {
            Refused::TooLarge { cells, burst } => Self::TooLarge { cells, burst },
            Refused::Limited { retry_at } => Self::NotYet { retry_after: retry_at.since(now) },
        }
    }

    fn of_key(refused: KeyRefused, now: Time) -> Self {
        match refused {
            KeyRefused::Quota(refused) => Self::new(refused, now),
            KeyRefused::Full { keys_max, retry_at } => Self::KeysFull { keys_max, retry_after: retry_at.since(now) },
        }
    }
}

/// Why a wait for a quota ended without it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WaitError {
    /// Waiting does not help: see the reason.
    #[error(transparent)]
    Limited(#[from] Limited),
    /// As many wait as may.
    #[error(transparent)]
    Full(#[from] QueueFull),
}

/// What happened so far at a [`RateLimiter`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that were admitted.
    pub admitted: u64,
    /// Calls that were refused, and not those that wait.
    pub refused: u64,
    /// How many wait.
    pub waiting: usize,
    /// How many cells are left.
    pub left: u32,
}

impl RateLimiter {
    /// A limiter whose quota is whole, where at most 1024 may wait.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self::with_waiting_max(quota, 1_024)
    }

    /// A limiter whose quota is whole, where at most so many may wait.
    #[must_use]
    pub fn with_waiting_max(quota: Quota, waiting_max: usize) -> Self {
        Self::with_clock(quota, waiting_max, Clock::new())
    }

    fn with_clock(quota: Quota, waiting_max: usize, clock: Clock) -> Self {
        let inner = Inner {
            quota,
            clock,
            tat: AtomicU64::new(0),
            limited: AtomicBool::new(false),
            admitted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            queue: Queue::new(waiting_max),
        };
        Self { inner: Arc::new(inner) }
    }

    /// Takes one cell. It goes before those who wait.
    ///
    /// # Errors
    /// [`Limited`], and nothing is taken.
    #[inline]
    pub fn check(&self) -> Result<(), Limited> {
        self.check_n(1)
    }

    /// Takes so many cells, all or none.
    ///
    /// # Errors
    /// [`Limited`], and nothing is taken.
    #[inline]
    pub fn check_n(&self, cells: u32) -> Result<(), Limited> {
        let inner = &self.inner;
        inner.refuse_soon(cells).and_then(|()| inner.take(cells)).inspect_err(|_| {
            inner.refused.fetch_add(1, Ordering::Relaxed);
        })
    }

    /// Waits for a cell and takes it. Those who wait are served in order.
    ///
    /// # Errors
    /// [`WaitError::Full`] if as many wait as may.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing and gives its place up.
    pub async fn until_ready(&self) -> Result<(), WaitError> {
        self.until_ready_n(1).await
    }

    /// Waits for so many cells and takes them. Those who wait are served in order, so one that wants many is not
    /// overtaken by those that want few.
    ///
    /// # Errors
    /// [`WaitError::Full`] if as many wait as may; [`Limited::TooLarge`] if it would wait for ever.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing and gives its place up.
    pub async fn until_ready_n(&self, cells: u32) -> Result<(), WaitError> {
        let inner = &*self.inner;
        let wait = async {
            let _turn = inner.queue.turn().await?;
            until_taken(|| inner.take(cells)).await
        };
        wait.instrument(tracing::debug_span!("raceproof.rate_limit.wait", cells)).await
    }

    /// Its quota.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.inner.quota
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let inner = &self.inner;
        let tat = Tat::from_nanos(inner.tat.load(Ordering::Relaxed));
        Stats {
            admitted: inner.admitted.load(Ordering::Relaxed),
            refused: inner.refused.load(Ordering::Relaxed),
            waiting: inner.queue.waiting(),
            left: inner.quota.left(tat, inner.clock.now()),
        }
    }
}

impl Inner {
    /// Refuses without knowing the time exactly, where one was refused before: others will be, too.
    #[inline]
    fn refuse_soon(&self, cells: u32) -> Result<(), Limited> {
        if !self.limited.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (tat, bounds) = (Tat::from_nanos(self.tat.load(Ordering::Acquire)), self.clock.bounds());
        let decided = self.quota.decide(tat, bounds.latest, cells);
        decided.map(drop).map_err(|refused| Limited::new(refused, bounds.earliest))
    }

    #[inline]
    fn take(&self, cells: u32) -> Result<(), Limited> {
        let mut before = self.tat.load(Ordering::Acquire);
        loop {
            // Read after the state, so that it is no earlier than the time that the state was written at: seen from
            // before it, the quota would be used up for longer than it is.
            let now = self.clock.now();
            let decided = self.quota.decide(Tat::from_nanos(before), now, cells);
            if self.limited.load(Ordering::Relaxed) != decided.is_err() {
                self.limited.store(decided.is_err(), Ordering::Relaxed);
            }
            let after = decided.map_err(|refused| Limited::new(refused, now))?;
            match self.tat.compare_exchange_weak(before, after.as_nanos(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => break,
                Err(changed) => before = changed,
            }
        }
        self.admitted.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }
}

/// Takes as soon as it may.
async fn until_taken(take: impl Fn() -> Result<(), Limited>) -> Result<(), WaitError> {
    loop {
        match take() {
            Ok(()) => return Ok(()),
            Err(Limited::NotYet { retry_after }) => timer::sleep(retry_after).await,
            Err(limited) => return Err(limited.into()),
        }
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").field("quota", &self.inner.quota).finish_non_exhaustive()
    }
}
