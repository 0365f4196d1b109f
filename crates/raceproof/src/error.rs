//! One error for each operation, and one that takes them all.

use raceproof_core::client::{Failure, OpError, RefusedReason};
use raceproof_core::wire::{Code, LostReason, Problem};

use crate::election::Leadership;
use crate::lock::Deadlock;

/// Why `Raceproof::connect` gave no handle.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The address cannot be used.
    #[error("{url:?} is not a server's address: {reason}")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// No server answers.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The client was closed meanwhile.
    #[error("the client is closed")]
    Closed,
}

/// Why a lock was not acquired.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AcquireError {
    /// It is held, or others wait before; the problem names the holders. Only from `try_acquire`.
    #[error("{}", .0.detail)]
    Held(Box<Problem>),
    /// The wait was over first; the problem names the holders, if a server answered.
    #[error("{}", .0.detail)]
    TimedOut(Box<Problem>),
    /// Waiting would have closed a cycle of waiters; it says which (L6).
    #[error("{0}")]
    Deadlock(Box<Deadlock>),
    /// The server refused it for another reason: see the code.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The session ended after the grant and before the future was polled.
    #[error("the session or grant ended first: {}", .0.as_str())]
    Lost(LostReason),
    /// The grant came, the future was not polled for too long, and the grant was given back (L4).
    #[error("the grant was not claimed in time and was given back")]
    Unclaimed,
    /// No server answered in time.
    #[error("no server answered in time")]
    Unreachable,
    /// As many operations are under way as the client takes.
    #[error("{limit} operations are under way, which is the client's limit")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The handle was made without a session, to look only.
    #[error("a client without a session holds nothing")]
    NoSession,
    /// The client failed for good.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

impl AcquireError {
    /// What the server said, if it was the server that refused.
    #[must_use]
    pub fn problem(&self) -> Option<&Problem> {
        match self {
            Self::Held(problem) | Self::TimedOut(problem) | Self::Refused(problem) => Some(problem),
            Self::Deadlock(deadlock) => Some(deadlock.problem()),
            _ => None,
        }
    }
}

impl From<OpError> for AcquireError {
    fn from(error: OpError) -> Self {
        match error {
            OpError::Refused(problem) => match problem.code {
                Code::LockHeld => Self::Held(problem),
                Code::WaitTimedOut => Self::TimedOut(problem),
                Code::Deadlock => Self::Deadlock(Box::new(Deadlock::new(problem, Vec::new()))),
                _ => Self::Refused(problem),
            },
            OpError::Lost(reason) => Self::Lost(reason),
            OpError::Unclaimed => Self::Unclaimed,
            OpError::Failed(failure) => Self::Failed(failure),
            OpError::Closed => Self::Closed,
            _ => Self::Unreachable,
        }
    }
}

impl From<RefusedReason> for AcquireError {
    fn from(reason: RefusedReason) -> Self {
        match reason {
            RefusedReason::Full { limit } => Self::Full { limit },
            RefusedReason::NoSession => Self::NoSession,
            RefusedReason::Failed(failure) => Self::Failed(failure),
            _ => Self::Closed,
        }
    }
}

/// Why a candidate was not elected.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CampaignError {
    /// Another leads. Only with a wait of zero.
    #[error("{}", .0.detail)]
    Led(Box<Problem>),
    /// The wait was over first.
    #[error("{}", .0.detail)]
    TimedOut(Box<Problem>),
    /// The server refused it for another reason: see the code.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The candidate's session ended; it stands no more (E6).
    #[error("the candidate's session ended: {}", .0.as_str())]
    Lost(LostReason),
    /// The election was won, the future was not polled for too long, and the leadership was given up (L4).
    #[error("the leadership was not claimed in time and was given up")]
    Unclaimed,
    /// No server answered in time.
    #[error("no server answered in time")]
    Unreachable,
    /// As many operations are under way as the client takes.
    #[error("{limit} operations are under way, which is the client's limit")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The handle was made without a session, to look only.
    #[error("a client without a session holds nothing")]
    NoSession,
    /// The client failed for good.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

impl From<OpError> for CampaignError {
    fn from(error: OpError) -> Self {
        match error {
            OpError::Refused(problem) => match problem.code {
                Code::LockHeld => Self::Led(problem),
                Code::WaitTimedOut => Self::TimedOut(problem),
                _ => Self::Refused(problem),
            },
            OpError::Lost(reason) => Self::Lost(reason),
            OpError::Unclaimed => Self::Unclaimed,
            OpError::Failed(failure) => Self::Failed(failure),
            OpError::Closed => Self::Closed,
            _ => Self::Unreachable,
        }
    }
}

impl From<RefusedReason> for CampaignError {
    fn from(reason: RefusedReason) -> Self {
        match reason {
            RefusedReason::Full { limit } => Self::Full { limit },
            RefusedReason::NoSession => Self::NoSession,
            RefusedReason::Failed(failure) => Self::Failed(failure),
            _ => Self::Closed,
        }
    }
}

/// Why a grant or a leadership could not be given back: it is over in every case.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReleaseError {
    /// It ended before the release: somebody else may have held since.
    #[error("it ended before it was given back: {}", .0.as_str())]
    Lost(LostReason),
    /// The server refused the release; `not_holder` says that it had ended there.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The client failed or was closed; the lease's end frees it.
    #[error("the client is closed")]
    Closed,
}

impl From<OpError> for ReleaseError {
    fn from(error: OpError) -> Self {
        match error {
            OpError::Refused(problem) => Self::Refused(problem),
            OpError::Lost(reason) => Self::Lost(reason),
            _ => Self::Closed,
        }
    }
}

/// Why a leadership was not handed to the candidate that was named.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransferError {
    /// The session named does not stand for this election. The leadership is kept, and given back here.
    #[error("the session named does not stand for this election")]
    NotCandidate(Leadership),
    /// The server could not be asked whether the session stands. The leadership is kept, and given back here.
    #[error("the candidates are not known: {1}")]
    NotAsked(Leadership, #[source] QueryError),
    /// The candidate stood, and was gone when it was its turn. The leadership is given up to whoever is next.
    #[error("the candidate was gone before it could be elected")]
    SuccessorGone,
    /// The leadership ended otherwise.
    #[error(transparent)]
    Release(#[from] ReleaseError),
}

/// Why a question got no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum QueryError {
    /// The server refused it.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// The connection closed before the answer, and the request is not one to repeat: it may or may not have happened.
    #[error("the connection closed before the answer: it may or may not have happened")]
    Ambiguous,
    /// No server answered in time.
    #[error("no server answered in time")]
    Unreachable,
    /// As many operations are under way as the client takes.
    #[error("{limit} operations are under way, which is the client's limit")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The client failed for good.
    #[error(transparent)]
    Failed(#[from] Failure),
    /// The client was closed.
    #[error("the client is closed")]
    Closed,
}

impl From<OpError> for QueryError {
    fn from(error: OpError) -> Self {
        match error {
            OpError::Refused(problem) => Self::Refused(problem),
            OpError::Ambiguous => Self::Ambiguous,
            OpError::Failed(failure) => Self::Failed(failure),
            OpError::Closed => Self::Closed,
            _ => Self::Unreachable,
        }
    }
}

impl From<RefusedReason> for QueryError {
    fn from(reason: RefusedReason) -> Self {
        match reason {
            RefusedReason::Full { limit } => Self::Full { limit },
            RefusedReason::Failed(failure) => Self::Failed(failure),
            _ => Self::Closed,
        }
    }
}

/// Any of this library's errors, for callers that treat them alike.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// From connecting.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// From acquiring.
    #[error(transparent)]
    Acquire(#[from] AcquireError),
    /// From standing for election.
    #[error(transparent)]
    Campaign(#[from] CampaignError),
    /// From giving back.
    #[error(transparent)]
    Release(#[from] ReleaseError),
    /// From handing over.
    #[error(transparent)]
    Transfer(#[from] TransferError),
    /// From asking.
    #[error(transparent)]
    Query(#[from] QueryError),
}
