//! Why there is no answer, one type for each operation.

use thiserror::Error;

/// Why a request was not answered. Where no worker had it, it is given back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CallError<Q> {
    /// As many requests wait as may.
    #[error("the mailbox is full")]
    Full(Q),
    /// The mailbox is full, and as many callers wait for room in it as may.
    #[error("too many callers wait for room in the mailbox")]
    TooManyWaiting(Q),
    /// The worker is stopped, or its workers have given up.
    #[error("the worker is stopped")]
    Stopped(Q),
    /// The time was over before a worker had the request. It was not started (T3).
    #[error("no worker was free in time")]
    NotStarted(Q),
    /// The time was over while a worker had the request. What it does about it is not known.
    #[error("there was no answer in time")]
    TimedOut,
    /// The worker panicked with the request in its hand (T1).
    #[error("the worker panicked: {0}")]
    Panicked(String),
    /// The worker was stopped with the request in its hand.
    #[error("the worker was stopped with the request in its hand")]
    Dropped,
}

impl<Q> CallError<Q> {
    /// The request, if no worker had it.
    #[must_use]
    pub fn into_request(self) -> Option<Q> {
        match self {
            Self::Full(request)
            | Self::TooManyWaiting(request)
            | Self::Stopped(request)
            | Self::NotStarted(request) => Some(request),
            Self::TimedOut | Self::Panicked(_) | Self::Dropped => None,
        }
    }
}

/// Why there is no worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SpawnError {
    /// There is no Tokio runtime here to run it.
    #[error("there is no Tokio runtime to run the worker")]
    NoRuntime,
}

/// What was not finished when the time for it was over.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{name}` did not stop in time: {in_hand} requests in hand, {waiting} waiting")]
#[non_exhaustive]
pub struct StopError {
    /// The name of the worker.
    pub name: String,
    /// Requests that workers had in their hands; they are dropped at their next `.await`.
    pub in_hand: usize,
    /// Requests that waited; they were given back to their callers.
    pub waiting: usize,
}
