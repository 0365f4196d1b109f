//! Why a bus refuses, one type for each operation.

use thiserror::Error;

/// Why an event was not published. The event is given back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PublishError<E> {
    /// A subscriber is full, and as many publishers wait for it already as may.
    #[error("too many publishers wait for room")]
    TooManyWaiting(E),
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed(E),
}

/// Why an event was not published at once. The event is given back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TryPublishError<E> {
    /// A subscriber that is waited for is full, or other publishers have been waiting for longer.
    #[error("a subscriber is full")]
    Full(E),
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed(E),
}

/// Why there will be nothing more to receive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RecvError {
    /// The bus is closed, and everything that was published has been received.
    #[error("the bus is closed")]
    Closed,
    /// The subscriber was too far behind, and its policy is to be cut off.
    #[error("the subscriber was cut off because it was {missed} events behind")]
    Disconnected {
        /// How many events it had yet to receive.
        missed: u64,
    },
}

/// Why there is no subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SubscribeError {
    /// There are as many subscribers as may be.
    #[error("the bus has {max} subscribers, which is its limit")]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed,
    /// A handler is a task, and there is no Tokio runtime here to run it.
    #[error("there is no Tokio runtime to run the handler")]
    NoRuntime,
}

impl From<raceproof_core::events::SubscribeError> for SubscribeError {
    fn from(error: raceproof_core::events::SubscribeError) -> Self {
        match error {
            raceproof_core::events::SubscribeError::TooMany { max } => Self::TooMany { max },
            raceproof_core::events::SubscribeError::Closed => Self::Closed,
        }
    }
}

/// Who had not received everything when the time for it was over.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("not drained in time: {}", .stuck.join(", "))]
#[non_exhaustive]
pub struct DrainError {
    /// The names of the subscribers.
    pub stuck: Vec<String>,
}
