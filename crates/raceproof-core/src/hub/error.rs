//! Why a hub cannot take up a store.

use crate::id::{Lsn, SessionId, Token};

/// A log whose records contradict each other: every byte of it was read as written, so this is not damage but another
/// program's log, or a bug.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// Records must follow each other without a gap.
    #[error("the log skips from record {before} to record {found}")]
    Gap {
        /// The record before the gap.
        before: Lsn,
        /// The record behind it.
        found: Lsn,
    },
    /// A grant belongs to a session that is not open.
    #[error("record {lsn} grants token {token} to session {session}, which is not open")]
    NoSession {
        /// The record.
        lsn: Lsn,
        /// The grant's token.
        token: Token,
        /// The session it names.
        session: SessionId,
    },
    /// Tokens increase.
    #[error("record {lsn} grants token {token} after token {last}")]
    TokenOrder {
        /// The record.
        lsn: Lsn,
        /// The grant's token.
        token: Token,
        /// The greatest token before it.
        last: Token,
    },
}
