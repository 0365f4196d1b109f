//! Why a task is not taken. A shell has to answer each of these, so they are exhaustive.

use thiserror::Error;

use super::run::RunId;
use crate::time::Time;

/// Why a task is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("the task is refused: {because}")]
pub struct Refused {
    /// The reason.
    pub because: RefusedBecause,
}

/// Why a task is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum RefusedBecause {
    /// A task of this name is running, and the overlap is `Skip`.
    #[error("a task of this name is running")]
    Running {
        /// Which.
        run: RunId,
        /// Since when.
        since: Time,
    },
    /// As many tasks of this name wait as may.
    #[error("{max} tasks of this name wait, which is the limit")]
    QueueFull {
        /// The limit.
        max: usize,
    },
    /// There are as many tasks as may be.
    #[error("there are {max} tasks, which is the limit")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// The supervisor is shutting down.
    #[error("the supervisor is shutting down")]
    ShuttingDown,
}
