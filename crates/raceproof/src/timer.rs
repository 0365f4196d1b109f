//! Tokio's time for what waits; under `--cfg shuttle` one that moves when somebody has waited for it.

use std::time::Duration;

pub(crate) use tokio::time::Instant;

#[cfg(shuttle)]
use self::simulated as clock;
#[cfg(not(shuttle))]
use self::tokios as clock;

pub(crate) fn now() -> Instant {
    clock::now()
}

/// Waits so long.
pub(crate) async fn sleep(duration: Duration) {
    sleep_until(now().checked_add(duration)).await;
}

/// Waits until then, or for ever.
pub(crate) async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => clock::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// What the future comes to within this time.
pub(crate) async fn within<F: Future>(limit: Duration, future: F) -> Option<F::Output> {
    before(now().checked_add(limit), future).await
}

/// What the future comes to before then, if there is such a time.
pub(crate) async fn before<F: Future>(at: Option<Instant>, future: F) -> Option<F::Output> {
    match at {
        Some(at) => clock::before(at, future).await,
        None => Some(future.await),
    }
}

#[cfg(not(shuttle))]
mod tokios {
    use tokio::time::Instant;
    pub(super) use tokio::time::sleep_until;

    #[inline]
    pub(super) fn now() -> Instant {
        Instant::now()
    }

    pub(super) async fn before<F: Future>(at: Instant, future: F) -> Option<F::Output> {
        tokio::time::timeout_at(at, future).await.ok()
    }
}

/// A time that stands still until the scheduler has let somebody wait to the end. So a wait may take any number of steps
/// of others, and what becomes due at the same time does so in any order.
#[cfg(shuttle)]
mod simulated {
    use std::cell::Cell;
    use std::pin::pin;
    use std::sync::LazyLock;
    use std::task::Poll;
    use std::time::Duration;

    use tokio::time::Instant;

    static ORIGIN: LazyLock<Instant> = LazyLock::new(Instant::now);

    thread_local! {
        /// Since the origin. A test and everything that it starts runs on one thread of the system.
        static PASSED: Cell<Duration> = const { Cell::new(Duration::ZERO) };
    }

    pub(super) fn now() -> Instant {
        *ORIGIN + PASSED.get()
    }

    pub(super) async fn sleep_until(at: Instant) {
        shuttle::future::yield_now().await;
        PASSED.set(PASSED.get().max(at.saturating_duration_since(*ORIGIN)));
    }

    pub(super) async fn before<F: Future>(at: Instant, future: F) -> Option<F::Output> {
        let (mut future, mut end) = (pin!(future), pin!(sleep_until(at)));
        std::future::poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Some(output)),
            Poll::Pending => end.as_mut().poll(cx).map(|()| None),
        })
        .await
    }
}
