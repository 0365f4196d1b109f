//! What a stack of safeguards makes of an attempt that has no result.
//!
//! Owns: whether a further attempt is worth it, and what the breaker is told. Refuses to take a refusal of its own for a
//! verdict about the service: a probe that meets one frees its place (P1).

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::breaker::Verdict;
use super::retry::Fault;

/// What stopped an attempt.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stopped {
    /// The operation failed.
    Failed(Fault),
    /// It took too long.
    TimedOut,
    /// There was no room for it in time.
    Busy,
    /// The breaker did not admit it.
    Open {
        /// How long until it makes sense to ask again. `None` when it was opened by hand.
        retry_after: Option<Duration>,
    },
    /// The rate limit did not cover it.
    Limited {
        /// How long until it will. `None` if it never does.
        retry_after: Option<Duration>,
    },
}

impl Stopped {
    /// What a retry around it is to know.
    #[must_use]
    pub const fn fault(self) -> Fault {
        match self {
            Self::Failed(fault) => fault,
            Self::TimedOut | Self::Busy => Fault::Transient,
            Self::Open { retry_after: Some(wait) } | Self::Limited { retry_after: Some(wait) } => Fault::After(wait),
            Self::Open { retry_after: None } | Self::Limited { retry_after: None } => Fault::Permanent,
        }
    }

    /// What it says about the service. A permanent error is an answer: the service works and said no. A refusal says
    /// nothing.
    #[must_use]
    pub const fn verdict(self) -> Option<Verdict> {
        match self {
            Self::Failed(Fault::Permanent) => Some(Verdict::Success),
            Self::Failed(_) | Self::TimedOut => Some(Verdict::Failure),
            Self::Busy | Self::Open { .. } | Self::Limited { .. } => None,
        }
    }
}
