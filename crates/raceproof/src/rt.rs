//! Where rooms run what must outlive its caller, by which clock, and what they do with panics.
//!
//! Owns: the runtime handle, which is shuttle's scheduler under `--cfg shuttle`, and the clock, which only sleeping moves
//! there.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use raceproof_core::time::Time;
#[cfg(shuttle)]
pub(crate) use shuttle::future::{AbortHandle, JoinHandle};
#[cfg(not(shuttle))]
pub(crate) use tokio::task::{AbortHandle, JoinHandle};

/// A future that owns what it needs.
pub(crate) type BoxFuture<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// The runtime that a room was first used in.
#[derive(Clone, Debug)]
pub(crate) struct Runtime {
    #[cfg(not(shuttle))]
    handle: tokio::runtime::Handle,
}

impl Runtime {
    /// The runtime of the calling task; none outside of one.
    #[cfg(not(shuttle))]
    pub(crate) fn current() -> Option<Self> {
        tokio::runtime::Handle::try_current().ok().map(|handle| Self { handle })
    }

    #[cfg(shuttle)]
    #[expect(clippy::unnecessary_wraps, reason = "as with Tokio")]
    pub(crate) fn current() -> Option<Self> {
        Some(Self {})
    }

    /// Runs a future to its end, whoever goes. A runtime that is shut down drops it instead.
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.task(future));
    }

    /// [`spawn`](Self::spawn), with a handle that the task can be ended by.
    #[cfg(not(shuttle))]
    pub(crate) fn task(&self, future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        self.handle.spawn(future)
    }

    #[cfg(shuttle)]
    #[expect(clippy::unused_self, reason = "as with Tokio")]
    pub(crate) fn task(&self, future: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        shuttle::future::spawn(future)
    }
}

/// Counts from when it was made: by Tokio's clock, so that tests can pause it, or under shuttle, where nothing takes
/// time, by how long was slept.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    #[cfg(not(shuttle))]
    origin: tokio::time::Instant,
    #[cfg(shuttle)]
    slept: Arc<std::sync::atomic::AtomicU64>,
}

#[cfg(not(shuttle))]
impl Clock {
    pub(crate) fn new() -> Self {
        Self { origin: tokio::time::Instant::now() }
    }

    pub(crate) fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    /// Never returns if that is further away than the clock goes.
    pub(crate) async fn sleep_until(&self, at: Time) {
        match self.origin.checked_add(at.since(Time::ZERO)) {
            Some(at) => tokio::time::sleep_until(at).await,
            None => std::future::pending().await,
        }
    }

    /// What the future returns, unless it takes longer than this.
    pub(crate) async fn timeout<F: Future>(&self, within: Duration, future: F) -> Option<F::Output> {
        tokio::time::timeout(within, future).await.ok()
    }
}

#[cfg(shuttle)]
impl Clock {
    pub(crate) fn new() -> Self {
        Self { slept: Arc::default() }
    }

    pub(crate) fn now(&self) -> Time {
        Time::from_micros(self.slept.load(std::sync::atomic::Ordering::Relaxed))
    }

    /// Any number of other things happen meanwhile. Never returns if that is further away than the clock goes.
    pub(crate) async fn sleep_until(&self, at: Time) {
        use shuttle::rand::Rng;

        if at == Time::MAX {
            return std::future::pending().await;
        }
        for _ in 0..shuttle::rand::thread_rng().gen_range(0..6) {
            shuttle::future::yield_now().await;
        }
        self.slept.fetch_max(at.as_micros(), std::sync::atomic::Ordering::Relaxed);
    }

    pub(crate) async fn timeout<F: Future>(&self, within: Duration, future: F) -> Option<F::Output> {
        let (mut future, mut sleep) = (std::pin::pin!(future), std::pin::pin!(self.sleep_until(self.now() + within)));
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => sleep.as_mut().poll(cx).map(|()| None),
        })
        .await
    }
}

/// Runs code of the user's; a panic is an error with its message. One that the future leaves to its drop is only logged:
/// what it came to is known by then.
pub(crate) async fn caught<F: Future>(make: impl FnOnce() -> F) -> Result<F::Output, Arc<str>> {
    let mut future = std::pin::pin!(Some(caught_now(make)?));
    let result = std::future::poll_fn(|cx| {
        let Some(future) = future.as_mut().as_pin_mut() else { return Poll::Pending };
        match caught_now(|| future.poll(cx)) {
            Ok(poll) => poll.map(Ok),
            Err(message) => Poll::Ready(Err(message)),
        }
    })
    .await;
    discarded(|| future.set(None));
    result
}

/// [`caught`], of code that does not wait.
#[inline]
pub(crate) fn caught_now<T>(run: impl FnOnce() -> T) -> Result<T, Arc<str>> {
    std::panic::catch_unwind(AssertUnwindSafe(run)).map_err(|panic| message(&*panic))
}

/// Drops what is the user's and what nobody waits for: a panic is only logged.
#[inline]
pub(crate) fn discarded(discard: impl FnOnce()) {
    if let Err(message) = caught_now(discard) {
        tracing::error!(panic = &*message, "what was dropped panicked");
    }
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn Any + Send)) -> Arc<str> {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").into()
}
