//! Why there is no value.

use crate::attempt::Failure;

/// Why [`Cache::get_or_load`](super::Cache::get_or_load) gave no value.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError<E> {
    /// The load that was waited for failed.
    #[error("the load failed: {0}")]
    Load(Failure<E>),
    /// As many loads are under way as may.
    #[error("{limit} loads are under way, which is the cache's limit")]
    TooManyLoads {
        /// The limit.
        limit: usize,
    },
    /// As many callers wait for the load as may.
    #[error("{limit} callers wait for the load, which is its limit")]
    TooManyWaiters {
        /// The limit.
        limit: usize,
    },
    /// The load has to wait for something, and there is no Tokio runtime to do it in.
    #[error("the load has to be started from within a Tokio runtime")]
    NoRuntime,
}

impl<E> LoadError<E> {
    /// How the load failed that was waited for.
    #[must_use]
    pub const fn failure(&self) -> Option<&Failure<E>> {
        match self {
            Self::Load(failure) => Some(failure),
            _ => None,
        }
    }
}

impl<E> Clone for LoadError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Load(failure) => Self::Load(failure.clone()),
            Self::TooManyLoads { limit } => Self::TooManyLoads { limit: *limit },
            Self::TooManyWaiters { limit } => Self::TooManyWaiters { limit: *limit },
            Self::NoRuntime => Self::NoRuntime,
        }
    }
}
