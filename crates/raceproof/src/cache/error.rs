//! Why there is no value.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why [`Cache::get_or_load`](super::Cache::get_or_load) gave no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum LoadError<E> {
    /// The load said so itself.
    Failed(Arc<E>),
    /// The load panicked, with this message.
    Panicked(Arc<str>),
    /// The load took longer than it may, and was dropped.
    TimedOut(Duration),
    /// The runtime that the load ran in was shut down.
    Aborted,
    /// As many loads are under way as may.
    TooManyLoads {
        /// The limit.
        limit: usize,
    },
    /// As many callers wait for the load as may.
    TooManyWaiters {
        /// The limit.
        limit: usize,
    },
    /// The load has to wait for something, and there is no Tokio runtime to do it in.
    NoRuntime,
}

impl<E> Clone for LoadError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Failed(error) => Self::Failed(Arc::clone(error)),
            Self::Panicked(message) => Self::Panicked(Arc::clone(message)),
            Self::TimedOut(limit) => Self::TimedOut(*limit),
            Self::Aborted => Self::Aborted,
            Self::TooManyLoads { limit } => Self::TooManyLoads { limit: *limit },
            Self::TooManyWaiters { limit } => Self::TooManyWaiters { limit: *limit },
            Self::NoRuntime => Self::NoRuntime,
        }
    }
}

impl<E: fmt::Display> fmt::Display for LoadError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Failed(error) => write!(f, "the load failed: {error}"),
            Self::Panicked(message) => write!(f, "the load panicked: {message}"),
            Self::TimedOut(limit) => write!(f, "the load took longer than {limit:?}"),
            Self::Aborted => f.write_str("the runtime of the load was shut down"),
            Self::TooManyLoads { limit } => write!(f, "{limit} loads are under way, which is the cache's limit"),
            Self::TooManyWaiters { limit } => write!(f, "{limit} callers wait for the load, which is its limit"),
            Self::NoRuntime => f.write_str("the load has to be started from within a Tokio runtime"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for LoadError<E> {}
