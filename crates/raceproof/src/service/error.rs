//! Why there is no value.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Why an initialisation gave no value.
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

/// Why [`Service::get`](super::Service::get) gave no value.
#[derive(Debug)]
#[non_exhaustive]
pub enum GetError<E> {
    /// The initialisation that was waited for failed.
    Init(Failure<E>),
    /// The last initialisation failed not long ago, and the service was asked to back off.
    BackingOff {
        /// When the next may begin.
        retry_in: Duration,
        /// How the last one failed.
        last: Failure<E>,
    },
    /// As many callers wait as may.
    Full {
        /// The limit.
        limit: usize,
    },
    /// The service was closed.
    Closed,
    /// There is no Tokio runtime to start the initialisation in.
    NoRuntime,
}

impl<E> GetError<E> {
    /// How the initialisation failed that was waited for, or the one before a back-off.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure<E>> {
        match self {
            Self::Init(failure) | Self::BackingOff { last: failure, .. } => Some(failure),
            _ => None,
        }
    }
}

impl<E> Clone for GetError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Init(failure) => Self::Init(failure.clone()),
            Self::BackingOff { retry_in, last } => Self::BackingOff { retry_in: *retry_in, last: last.clone() },
            Self::Full { limit } => Self::Full { limit: *limit },
            Self::Closed => Self::Closed,
            Self::NoRuntime => Self::NoRuntime,
        }
    }
}

impl<E: fmt::Display> fmt::Display for GetError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Init(failure) => write!(f, "the service did not start: {failure}"),
            Self::BackingOff { retry_in, last } => {
                write!(f, "the service did not start, and is tried again in {retry_in:?}: {last}")
            }
            Self::Full { limit } => write!(f, "{limit} callers wait for the service, which is its limit"),
            Self::Closed => f.write_str("the service is closed"),
            Self::NoRuntime => f.write_str("the service has to be started from within a Tokio runtime"),
        }
    }
}

impl<E: fmt::Debug + fmt::Display> std::error::Error for GetError<E> {}

/// Why a clean-up did not end well. The service goes on all the same.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CleanUpError {
    /// It panicked, with this message.
    #[error("the clean-up panicked: {0}")]
    Panicked(Arc<str>),
    /// The runtime that it ran in was shut down.
    #[error("the runtime of the clean-up was shut down")]
    Aborted,
}
