//! Why a bus refuses. A shell has to answer each of these, so they are exhaustive.

use thiserror::Error;

/// Why an event was not published at once. The event is given back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublishError<T> {
    /// A subscriber that is waited for is full, or others have been waiting for longer.
    #[error("a subscriber is full")]
    Full(T),
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed(T),
}

/// Why an event may not wait for room. The event is given back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum WaitError<T> {
    /// As many publishers wait as may.
    #[error("too many publishers wait for room")]
    TooManyWaiting(T),
    /// The bus is closed.
    #[error("the bus is closed")]
    Closed(T),
}

/// Why there is no subscription.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
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
}
