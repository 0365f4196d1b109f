//! What stopped a call.

use raceproof_core::resilience::policy::Stopped as Kind;

use crate::resilience::TimedOut;
use crate::resilience::breaker::Open;
use crate::resilience::limiter::Limited;
use crate::resilience::retry::{Fault, GaveUp, RetryError, Retryable};

/// Why [`Policy::run`](super::Policy::run) has no result. Except for the first two, no attempt was under way when it
/// stopped.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PolicyError<E> {
    /// The operation failed.
    #[error("{error} ({attempts} attempts, {})", .gave_up.as_str())]
    Failed {
        /// The last attempt's error.
        error: E,
        /// How many attempts were made, those that were refused included.
        attempts: u32,
        /// Why there was no further one.
        gave_up: GaveUp,
    },
    /// The last attempt took too long.
    #[error("the last of {attempts} attempts {timed_out}")]
    AttemptTimedOut {
        /// The limit.
        timed_out: TimedOut,
        /// How many attempts were made, those that were refused included.
        attempts: u32,
    },
    /// The whole call took too long.
    #[error(transparent)]
    TimedOut(#[from] TimedOut),
    /// The breaker admits no call.
    #[error(transparent)]
    Open(Open),
    /// The rate limit is reached.
    #[error(transparent)]
    Limited(Limited),
    /// As many attempts are under way as may be.
    #[error("{limit} attempts are under way, which is the limit")]
    Busy {
        /// The limit.
        limit: usize,
    },
}

/// What stopped one attempt.
#[derive(Debug)]
pub(super) enum Stopped<E> {
    Failed(E),
    TimedOut(TimedOut),
    Open(Open),
    Limited(Limited),
    Busy { limit: usize },
}

impl<E> Stopped<E> {
    /// The same without what the operation said.
    pub(super) fn kind(&self, classify: &impl Fn(&E) -> Fault) -> Kind {
        match self {
            Self::Failed(error) => Kind::Failed(classify(error)),
            Self::TimedOut(_) => Kind::TimedOut,
            Self::Busy { .. } => Kind::Busy,
            Self::Open(open) => Kind::Open { retry_after: open.retry_after },
            Self::Limited(limited) => Kind::Limited { retry_after: limited.retry_after() },
        }
    }
}

impl<E> From<RetryError<Stopped<E>>> for PolicyError<E> {
    fn from(RetryError { error, attempts, gave_up }: RetryError<Stopped<E>>) -> Self {
        match error {
            Stopped::Failed(error) => Self::Failed { error, attempts, gave_up },
            Stopped::TimedOut(timed_out) => Self::AttemptTimedOut { timed_out, attempts },
            Stopped::Open(open) => Self::Open(open),
            Stopped::Limited(limited) => Self::Limited(limited),
            Stopped::Busy { limit } => Self::Busy { limit },
        }
    }
}

/// Worth another attempt when the quota covers it again.
impl Retryable for Limited {
    fn fault(&self) -> Fault {
        self.retry_after().map_or(Fault::Permanent, Fault::After)
    }
}

/// What timed out may not the next time.
impl Retryable for TimedOut {
    fn fault(&self) -> Fault {
        Fault::Transient
    }
}

/// What a policy further in gave up for lack of budget or attempts is not tried again further out.
impl<E: Retryable> Retryable for PolicyError<E> {
    fn fault(&self) -> Fault {
        match self {
            Self::Failed { error, gave_up, .. } => gave_up.further_out(error.fault()),
            Self::TimedOut(_) | Self::AttemptTimedOut { .. } | Self::Busy { .. } => Fault::Transient,
            Self::Open(open) => open.fault(),
            Self::Limited(limited) => limited.fault(),
        }
    }
}
