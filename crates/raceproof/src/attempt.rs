//! One attempt of the user's code to make a value, and how it failed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use crate::rt::caught;

/// Why an attempt gave no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum Failure<E> {
    /// It said so itself.
    Failed(Arc<E>),
    /// It panicked, with this message.
    Panicked(Arc<str>),
    /// It took longer than it may, and was dropped.
    TimedOut(Duration),
    /// The runtime that it ran in was shut down.
    Aborted,
}

impl<E> Failure<E> {
    /// For logs, which errors of others are not written into.
    pub(crate) fn why(&self) -> &str {
        match self {
            Self::Failed(_) => "an error",
            Self::Panicked(message) => message,
            Self::TimedOut(_) => "its time limit",
            Self::Aborted => "the end of its runtime",
        }
    }
}

impl<E> Clone for Failure<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Panicked(message) => Self::Panicked(Arc::clone(message)),
            Self::TimedOut(limit) => Self::TimedOut(*limit),
            Self::Aborted => Self::Aborted,
        }
    }
}

impl<E: fmt::Display> fmt::Display for Failure<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "{error}"),
            Self::Panicked(message) => write!(f, "it panicked: {message}"),
            Self::TimedOut(limit) => write!(f, "it took longer than {limit:?}"),
            Self::Aborted => f.write_str("its runtime was shut down"),
        }
    }
}

/// Runs an attempt, which nobody else sees panic.
pub(crate) async fn attempt<T, E, Fut>(make: impl FnOnce() -> Fut) -> Result<T, Failure<E>>
where
    Fut: Future<Output = Result<T, E>>,
{
    match caught(make).await {
        Ok(result) => result.map_err(|error| Failure::Failed(Arc::new(error))),
        Err(message) => Err(Failure::Panicked(message)),
    }
}

/// Drops an attempt that goes on for longer than it may since it began.
pub(crate) async fn limited<T, E>(
    began: Instant,
    limit: Option<Duration>,
    attempt: impl Future<Output = Result<T, Failure<E>>>,
) -> Result<T, Failure<E>> {
    match limit {
        None => attempt.await,
        Some(limit) => timeout_at(began + limit, attempt).await.unwrap_or(Err(Failure::TimedOut(limit))),
    }
}
