//! The end of a wait with a limit.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Instant, Sleep, sleep_until};

/// When a wait is over, if ever; and the timer for that, once somebody waits for it.
#[derive(Debug)]
pub(super) struct Limit {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Limit {
    pub(super) const fn new(at: Option<Instant>) -> Self {
        Self { at, timer: None }
    }

    /// Ready when the wait is over, and as often as it is asked from then on.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(at)));
        ready!(timer.as_mut().poll(cx));
        self.timer = None;
        Poll::Ready(())
    }
}
