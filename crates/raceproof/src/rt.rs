//! Where rooms run what must outlive its caller, and what they do with panics.
//!
//! Owns: the runtime handle, which is shuttle's scheduler under `--cfg shuttle`.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

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
    #[cfg(not(shuttle))]
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(self.handle.spawn(future));
    }

    #[cfg(shuttle)]
    pub(crate) fn spawn(&self, future: impl Future<Output = ()> + Send + 'static) {
        drop(shuttle::future::spawn(future));
    }
}

/// Runs code of the user's; a panic is an error with its message.
pub(crate) async fn caught<F: Future>(make: impl FnOnce() -> F) -> Result<F::Output, Arc<str>> {
    let future = std::panic::catch_unwind(AssertUnwindSafe(make)).map_err(|panic| message(&*panic))?;
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| match std::panic::catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(panic) => std::task::Poll::Ready(Err(message(&*panic))),
    })
    .await
}

/// What a panic said.
pub(crate) fn message(panic: &(dyn Any + Send)) -> Arc<str> {
    let text = panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    text.unwrap_or("a panic without a message").into()
}
