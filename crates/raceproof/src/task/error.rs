//! Why a task is not taken.

use std::time::Duration;

use thiserror::Error;

/// Why a task is not taken. Its body has not been called.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// A task of this name is running, and the overlap is [`Overlap::Skip`](super::Overlap::Skip).
    #[error("`{name}` has been running for {running_for:?}")]
    Running {
        /// The name.
        name: String,
        /// For how long.
        running_for: Duration,
    },
    /// As many tasks of this name wait as may.
    #[error("{max} tasks named `{name}` wait, which is the limit")]
    QueueFull {
        /// The name.
        name: String,
        /// The limit.
        max: usize,
    },
    /// The supervisor has as many tasks as it may.
    #[error("there are {max} tasks, which is the limit")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// The supervisor is shutting down.
    #[error("the supervisor is shutting down")]
    ShuttingDown,
    /// There is no Tokio runtime here to run it.
    #[error("there is no Tokio runtime to run the task")]
    NoRuntime,
}
