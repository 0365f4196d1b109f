//! Calls that are so far apart.

use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use raceproof_core::resilience::throttle::Throttle as Machine;
use raceproof_core::time::Time;

use super::clock::Clock;
use super::queue::{Queue, QueueFull};
use crate::sync::Mutex;

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
#[derive(Clone)]
pub struct Throttle {
    inner: Arc<Inner>,
}

struct Inner {
    every: Duration,
    clock: Clock,
    machine: Mutex<Machine>,
    queue: Queue,
}

/// The call came too soon after another.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("too soon after the last call")]
#[non_exhaustive]
pub struct TooSoon {
    /// How long until one may begin, if no other does before.
    pub retry_after: Duration,
}

impl Throttle {
    /// Calls begin at least `every` apart, the first at once; at most 1024 may wait.
    #[must_use]
    pub fn new(every: Duration) -> Self {
        Self::with_waiting_max(every, 1_024)
    }

    /// Calls begin at least `every` apart, the first at once; at most so many may wait.
    #[must_use]
    pub fn with_waiting_max(every: Duration, waiting_max: usize) -> Self {
        let machine = Mutex::new(Machine::new(every));
        Self { inner: Arc::new(Inner { every, clock: Clock::new(), machine, queue: Queue::new(waiting_max) }) }
    }

    /// Begins a call, if it may. It goes before those who wait.
    ///
    /// # Errors
    /// [`TooSoon`]; the call should not be made.
    pub fn try_begin(&self) -> Result<(), TooSoon> {
        let now = self.inner.clock.now();
        self.inner.begin(now).map_err(|at| TooSoon { retry_after: at.since(now) })
    }

    /// Waits until a call may begin. Those who wait begin in order.
    ///
    /// # Errors
    /// [`QueueFull`] if as many wait as may.
    ///
    /// # Cancel safety
    /// Dropping the future takes no one's time: the next in the queue begins instead.
    pub async fn begin(&self) -> Result<(), QueueFull> {
        let _turn = self.inner.queue.turn().await?;
        loop {
            let now = self.inner.clock.now();
            match self.inner.begin(now) {
                Ok(()) => return Ok(()),
                Err(at) => tokio::time::sleep(at.since(now)).await,
            }
        }
    }

    /// How many wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.inner.queue.waiting()
    }
}

impl Inner {
    fn begin(&self, now: Time) -> Result<(), Time> {
        // The machine runs no code of others, so it is whole even if a thread panicked while it had it.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner).begin(now)
    }
}

impl fmt::Debug for Throttle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Throttle").field("every", &self.inner.every).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::{Instant, timeout};

    use super::*;

    const EVERY: Duration = Duration::from_millis(100);

    #[tokio::test(start_paused = true)]
    async fn calls_begin_apart_and_in_order_and_a_cancelled_one_takes_no_time() {
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
        assert_eq!(throttle.waiting(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn an_early_call_is_told_when_and_a_long_queue_is_refused() {
        let throttle = Throttle::with_waiting_max(EVERY, 1);
        throttle.try_begin().unwrap();
        assert_eq!(throttle.try_begin(), Err(TooSoon { retry_after: EVERY }));
        let waits = tokio::spawn({
            let throttle = throttle.clone();
            async move { throttle.begin().await }
        });
        tokio::task::yield_now().await;
        assert_eq!(throttle.begin().await, Err(QueueFull { waiting_max: 1 }));
        waits.await.unwrap().unwrap();
    }
}
