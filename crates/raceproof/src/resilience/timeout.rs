//! A limit on the time that a call takes.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use crate::sync::atomic::{AtomicU64, Ordering};
use crate::timer;

/// Drops what takes too long. Clones share their statistics.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::time::Duration;
/// use raceproof::resilience::Timeout;
///
/// let timeout = Timeout::new(Duration::from_millis(10));
/// assert_eq!(timeout.run(async { 7 }).await, Ok(7));
/// assert!(timeout.run(std::future::pending::<()>()).await.is_err());
/// # }
/// ```
#[derive(Clone)]
pub struct Timeout {
    inner: Arc<Inner>,
}

struct Inner {
    limit: Duration,
    calls: AtomicU64,
    timed_out: AtomicU64,
}

/// It took too long and was dropped.
#[derive(Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("timed out after {limit:?}")]
#[non_exhaustive]
pub struct TimedOut {
    /// The limit.
    pub limit: Duration,
}

/// What happened so far at a [`Timeout`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Stats {
    /// The limit.
    pub limit: Duration,
    /// Calls.
    pub calls: u64,
    /// Calls that took too long.
    pub timed_out: u64,
}

impl fmt::Debug for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TimedOut").field("limit", &self.limit).finish()
    }
}

impl Timeout {
    /// At most so long.
    #[must_use]
    pub fn new(limit: Duration) -> Self {
        Self { inner: Arc::new(Inner { limit, calls: AtomicU64::new(0), timed_out: AtomicU64::new(0) }) }
    }

    /// The limit.
    #[must_use]
    pub fn limit(&self) -> Duration {
        self.inner.limit
    }

    /// Runs a future until it is ready or the time is over. One that is ready at once costs no timer. The time begins
    /// when it first has to wait.
    ///
    /// # Errors
    /// [`TimedOut`]; the future is dropped.
    ///
    /// # Cancel safety
    /// Dropping the future drops the one within.
    pub async fn run<F: Future>(&self, future: F) -> Result<F::Output, TimedOut> {
        let inner = &*self.inner;
        inner.calls.fetch_add(1, Ordering::Relaxed);
        let mut future = pin!(future);
        // Most futures of a service are ready at once or take long: only the latter need a timer.
        if let Poll::Ready(output) = poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx))).await {
            return Ok(output);
        }
        timer::within(inner.limit, future).await.ok_or_else(|| {
            inner.timed_out.fetch_add(1, Ordering::Relaxed);
            TimedOut { limit: inner.limit }
        })
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let Inner { limit, calls, timed_out } = &*self.inner;
        let (calls, timed_out) = (calls.load(Ordering::Relaxed), timed_out.load(Ordering::Relaxed));
        Stats { limit: *limit, calls, timed_out }
    }
}

impl fmt::Debug for Timeout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Timeout").field("limit", &self.inner.limit).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use tokio::time::{Instant, sleep};

    use super::*;

    struct Dropped<'a>(&'a Cell<bool>);

    impl Drop for Dropped<'_> {
        fn drop(&mut self) {
            self.0.set(true);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_dropped_at_the_limit() {
        let (began, dropped) = (Instant::now(), Cell::new(false));
        let timeout = Timeout::new(Duration::from_secs(2));
        let slow = async {
            let _dropped = Dropped(&dropped);
            sleep(Duration::from_secs(3)).await;
        };
        assert_eq!(timeout.run(slow).await, Err(TimedOut { limit: Duration::from_secs(2) }));
        assert_eq!(began.elapsed(), Duration::from_secs(2));
        assert!(dropped.get());
        timeout.run(sleep(Duration::from_secs(1))).await.unwrap();
        assert_eq!(timeout.stats(), Stats { limit: Duration::from_secs(2), calls: 2, timed_out: 1 });
    }

    #[test]
    fn what_is_ready_at_once_needs_no_runtime() {
        let timeout = Timeout::new(Duration::ZERO);
        let mut run = pin!(timeout.run(async { 1 }));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        assert_eq!(run.as_mut().poll(&mut cx), Poll::Ready(Ok(1)));
    }
}
