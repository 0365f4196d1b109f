//! Where rooms run what must outlive its caller, by which clock, and what they do with panics.
//!
//! Owns: the runtime handle, which is shuttle's scheduler under `--cfg shuttle`, and the clock that machines are told the
//! time by.

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

use crate::timer::{self, Instant};

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

/// Counts from when it was made, as [`timer`] goes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    pub(crate) origin: Instant,
}

impl Clock {
    pub(crate) fn new() -> Self {
        Self { origin: timer::now() }
    }

    #[inline]
    pub(crate) fn now(&self) -> Time {
        Time::ZERO + timer::now().saturating_duration_since(self.origin)
    }

    /// The instant of a time; none if that is never, or further away than an instant can be.
    pub(crate) fn instant(&self, time: Time) -> Option<Instant> {
        if time == Time::MAX { None } else { self.origin.checked_add(time.since(Time::ZERO)) }
    }

    /// Never returns if that is further away than the clock goes.
    pub(crate) async fn sleep_until(&self, at: Time) {
        timer::sleep_until(self.instant(at)).await;
    }

    /// What the future returns, unless it takes longer than this.
    pub(crate) async fn timeout<F: Future>(&self, within: Duration, future: F) -> Option<F::Output> {
        timer::within(within, future).await
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
