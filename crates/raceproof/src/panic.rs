//! Panics of foreign code, kept from the tasks that run it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::task::Poll;

use crate::rt::message;

/// The output of the future, or the message of its panic.
///
/// What the future shares with others may be in any state after a panic; so it is with a task of its own, too.
pub(crate) async fn caught<F: Future>(future: F) -> Result<F::Output, String> {
    let mut future = pin!(future);
    std::future::poll_fn(|cx| match catch_unwind(AssertUnwindSafe(|| future.as_mut().poll(cx))) {
        Ok(poll) => poll.map(Ok),
        Err(payload) => Poll::Ready(Err(message(&*payload).to_string())),
    })
    .await
}
