//! Why a call is not admitted.

use crate::time::Time;

/// The quota does not cover the call.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum Refused {
    /// Not yet.
    #[error("the rate limit is reached")]
    Limited {
        /// When it will, if nobody else calls before.
        retry_at: Time,
    },
    /// It never will: the call takes more than a burst.
    #[error("the call takes {cells}, and a burst has only {burst}")]
    TooLarge {
        /// What it takes.
        cells: u32,
        /// What there is at most.
        burst: u32,
    },
}

/// A key's quota does not cover the call, or there is no room for the key.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyRefused {
    /// By the key's own quota.
    #[error(transparent)]
    Quota(#[from] Refused),
    /// So many keys have used a part of their quota that no other can be remembered.
    #[error("{keys_max} keys are in use, which is the limit")]
    Full {
        /// The limit.
        keys_max: usize,
        /// When the first of them is whole again.
        retry_at: Time,
    },
}
