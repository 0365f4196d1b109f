//! Which errors are worth another attempt.

use std::io;

use super::{Fault, RetryError};
use crate::resilience::breaker::{CallError, Open};

/// An error that knows whether the same call may succeed the next time.
pub trait Retryable {
    /// What kind of failure it is.
    fn fault(&self) -> Fault;
}

/// Connections and timeouts are transient; everything else is permanent.
impl Retryable for io::Error {
    fn fault(&self) -> Fault {
        Fault::of_io(self.kind())
    }
}

/// Worth another attempt when the breaker probes; never while it was opened by hand.
impl Retryable for Open {
    fn fault(&self) -> Fault {
        self.retry_after.map_or(Fault::Permanent, Fault::After)
    }
}

impl<E: Retryable> Retryable for CallError<E> {
    fn fault(&self) -> Fault {
        match self {
            Self::Open(open) => open.fault(),
            Self::Failed(error) => error.fault(),
        }
    }
}

/// What a retry further in gave up for lack of budget or attempts around is not tried again further out.
impl<E: Retryable> Retryable for RetryError<E> {
    fn fault(&self) -> Fault {
        self.gave_up.further_out(self.error.fault())
    }
}
