//! Why a request is not taken. A shell has to answer each of these, so they are exhaustive.

use thiserror::Error;

/// Why a request is not taken. It is given back.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum OfferError<T> {
    /// As many requests wait as may.
    #[error("the mailbox is full")]
    Full(T),
    /// As many callers wait for room as may.
    #[error("too many callers wait for room in the mailbox")]
    TooManyWaiting(T),
    /// No more requests are taken.
    #[error("the worker is stopped")]
    Stopped(T),
}
