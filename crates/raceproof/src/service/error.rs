//! Why there is no value.

use std::sync::Arc;
use std::time::Duration;

use crate::attempt::Failure;

/// Why [`Service::get`](super::Service::get) gave no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum GetError<E> {
    /// The initialisation that was waited for failed.
    #[error("the service did not start: {0}")]
    Init(Failure<E>),
    /// The last initialisation failed not long ago, and the service was asked to back off.
    #[error("the service did not start, and is tried again in {retry_in:?}: {last}")]
    BackingOff {
        /// When the next may begin.
        retry_in: Duration,
        /// How the last one failed.
        last: Failure<E>,
    },
    /// As many callers wait as may.
    #[error("{limit} callers wait for the service, which is its limit")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The service was closed.
    #[error("the service is closed")]
    Closed,
    /// There is no Tokio runtime to start the initialisation in.
    #[error("the service has to be started from within a Tokio runtime")]
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
