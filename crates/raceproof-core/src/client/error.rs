//! How operations, submissions and whole clients fail.

use crate::wire::{Code, LostReason, Problem};

/// Why an operation did not succeed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpError {
    /// The hub refused it.
    #[error(transparent)]
    Refused(Box<Problem>),
    /// The session, or the grant that the operation is about, ended first.
    #[error("the session or grant ended first: {}", .0.as_str())]
    Lost(LostReason),
    /// The grant came, the operation was not polled for too long, and the grant was given back (L4).
    #[error("the grant was not claimed in time and was given back")]
    Unclaimed,
    /// No hub could be reached in time.
    #[error("no server answered in time")]
    Unreachable,
    /// The connection closed before the answer, and the request is not one that can be repeated.
    #[error("the connection closed before the answer: it may or may not have happened")]
    Ambiguous,
    /// The client failed for good.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

impl OpError {
    /// The code of the refusal, if it is one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        match self {
            Self::Refused(problem) => Some(problem.code),
            _ => None,
        }
    }
}

/// Why a client gave up for good, or one attempt to connect failed.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// Nobody answered at the address. Tried again.
    #[error("no server answers: {0}")]
    Unreachable(String),
    /// The hub does not accept the credentials.
    #[error("the server refused the credentials: {0}")]
    Unauthorized(String),
    /// What answers does not speak the protocol.
    #[error("the server does not speak this protocol: {0}")]
    Protocol(String),
    /// The hub refuses the session as it was asked for.
    #[error("the server refused the session: {0}")]
    Refused(Box<Problem>),
}

impl Failure {
    /// Whether trying again cannot help.
    #[must_use]
    pub fn is_permanent(&self) -> bool {
        match self {
            Self::Unreachable(_) => false,
            Self::Unauthorized(_) | Self::Protocol(_) => true,
            Self::Refused(problem) => !matches!(
                problem.code,
                Code::Unavailable | Code::StoreFailed | Code::TooManySessions | Code::TooManyRequests
            ),
        }
    }

    pub(super) fn from_problem(problem: Box<Problem>) -> Self {
        match problem.code {
            Code::Unauthorized | Code::OriginDenied => Self::Unauthorized(problem.detail),
            _ => Self::Refused(problem),
        }
    }
}

/// An operation that was not taken on, given back.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Refused<T> {
    /// What was submitted.
    pub item: T,
    /// Why it was not taken.
    pub reason: RefusedReason,
}

/// Why an operation was not taken on.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RefusedReason {
    /// As many operations are under way as the client takes.
    #[error("{limit} operations are under way, which is the client's limit")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The client has no session to hold anything with.
    #[error("a client without a session holds nothing")]
    NoSession,
    /// The client failed for good.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}
