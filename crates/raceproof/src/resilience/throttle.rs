//! Calls that are so far apart.
//!
//! Owns: nothing of its own. It is a rate limiter whose quota is one call, with an error that says so.

use std::num::NonZeroU32;
use std::time::Duration;

use tracing::Instrument as _;

use super::limiter::{self, Limited, Quota, RateLimiter, WaitError};
use super::queue::QueueFull;

/// Lets calls begin at least so far apart. Clones share it.
///
/// A call that comes too early is told so, or waits its turn. If only the newest of them matters, and must not be lost,
/// use a [`Debounce`](super::Debounce) that leads and whose longest wait is its quiet.
///
/// ```
/// use std::time::Duration;
/// use raceproof::resilience::Throttle;
///
/// let throttle = Throttle::new(Duration::from_secs(1));
/// assert!(throttle.try_begin().is_ok());
/// assert!(throttle.try_begin().is_err());
/// ```
#[derive(Clone, Debug)]
pub struct Throttle {
    limiter: RateLimiter,
}

/// The call came too soon after another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too soon after the last call")]
#[non_exhaustive]
pub struct TooSoon {
    /// How long until one may begin, if no other does before.
    pub retry_after: Duration,
}

/// What happened so far at a [`Throttle`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// Calls that began.
    pub begun: u64,
    /// Calls that came too soon, and not those that wait.
    pub refused: u64,
    /// How many wait.
    pub waiting: usize,
}

impl Throttle {
    /// Calls begin at least `every` apart, the first at once; at most 1024 may wait. Less than a microsecond is one.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        Self::with_waiting_max(every, 1_024)
    }

    /// Calls begin at least `every` apart, the first at once; at most so many may wait.
    #[must_use]
    pub fn with_waiting_max(every: Duration, waiting_max: usize) -> Self {
        Self { limiter: RateLimiter::with_waiting_max(Quota::new(NonZeroU32::MIN, every), waiting_max) }
    }

    /// Begins a call, if it may. It goes before those who wait.
    ///
    /// # Errors
    /// [`TooSoon`]; the call should not be made.
    pub fn try_begin(&self) -> Result<(), TooSoon> {
        let retry_after = |limited: Limited| limited.retry_after().unwrap_or_default();
        self.limiter.check().map_err(|limited| TooSoon { retry_after: retry_after(limited) })
    }

    /// Waits until a call may begin. Those who wait begin in order.
    ///
    /// # Errors
    /// [`QueueFull`] if as many wait as may.
    ///
    /// # Cancel safety
    /// Dropping the future takes no one's time: the next in the queue begins instead.
    pub async fn begin(&self) -> Result<(), QueueFull> {
        let span = tracing::debug_span!("raceproof.throttle.wait");
        match self.limiter.until_ready().instrument(span).await {
            Err(WaitError::Full(full)) => Err(full),
            // The quota is one call, so it covers this one sooner or later.
            Ok(()) | Err(WaitError::Limited(_)) => Ok(()),
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let limiter::Stats { admitted, refused, waiting, .. } = self.limiter.stats();
        Stats { begun: admitted, refused, waiting }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    const EVERY: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn p3_calls_begin_apart_and_in_order_and_a_cancelled_one_takes_no_time() {
        let throttle = Throttle::new(EVERY);
        let began = Instant::now();
        let call = |n: u32| {
            let throttle = throttle.clone();
            tokio::spawn(async move {
                throttle.begin().await.unwrap();
                (n, began.elapsed())
            })
        };
        throttle.begin().await.unwrap();
        let first = call(1);
        tokio::task::yield_now().await;
        assert!(timeout(Duration::from_millis(10), throttle.begin()).await.is_err());
        let second = call(2);
        assert_eq!(first.await.unwrap(), (1, EVERY));
        assert_eq!(second.await.unwrap(), (2, 2 * EVERY));
        assert_eq!(throttle.stats(), Stats { begun: 3, refused: 0, waiting: 0 });
    }

    #[tokio::test(start_paused = true)]
    async fn p3_an_early_call_is_told_when_and_a_long_queue_is_refused() {
        let throttle = Throttle::with_waiting_max(EVERY, 1);
        throttle.try_begin().unwrap();
        assert_eq!(throttle.try_begin(), Err(TooSoon { retry_after: EVERY }));
        let waits = tokio::spawn({
            let throttle = throttle.clone();
            async move { throttle.begin().await }
        });
        tokio::task::yield_now().await;
        assert_eq!(throttle.begin().await, Err(QueueFull { waiting_max: 1 }));
        assert_eq!(throttle.stats(), Stats { begun: 1, refused: 1, waiting: 1 });
        waits.await.unwrap().unwrap();
        assert_eq!(throttle.stats().begun, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn p3_after_a_pause_no_call_is_saved_up() {
        let throttle = Throttle::new(EVERY);
        for pause in [0, 250, 250] {
            tokio::time::advance(Duration::from_millis(pause)).await;
            throttle.try_begin().unwrap();
            assert_eq!(throttle.try_begin(), Err(TooSoon { retry_after: EVERY }));
        }
    }
}
