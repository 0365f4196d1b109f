//! Why a call was not admitted.

use crate::time::Time;

/// The breaker is open, or all its probes are under way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[error("the circuit breaker is open")]
#[non_exhaustive]
pub struct Refused {
    /// When it makes sense to ask again. `None` when it was opened by hand.
    pub retry_at: Option<Time>,
}
