//! What the log holds: one record for each input that changed something, and now and then a snapshot of it all.
//!
//! A record is everything that one input did, so that a release and the grant that follows from it are on disk
//! together or not at all (L10). Encoded with postcard; the order of variants and fields is the format, see
//! `docs/store.md`.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{Epoch, RequestId, SessionId, Token};
use crate::lock::{Claim, Key, Terms};
use crate::wire::{LostReason, OnDisconnect};

#[cfg(feature = "log")]
pub use self::bytes::DecodeError;

/// Everything that one input did.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Record {
    pub(super) ops: Vec<Op>,
}

/// A change.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) enum Op {
    /// A hub starts on this store.
    Start { epoch: Epoch },
    /// Tokens up to this one may be handed out without a word in the log.
    Reserve { ceiling: Token },
    /// From here on there may be grants that the log does not know.
    ReclaimBegins,
    /// There are none: every session from before the last start came back or ended.
    ReclaimSettled,
    /// A session is opened.
    Opened { id: SessionId, secret: u128, name: Arc<str>, ttl_ms: u64, on_disconnect: OnDisconnect, socket: bool },
    /// A session is over, with everything it held.
    Ended { id: SessionId, reason: LostReason },
    /// A grant is made.
    Granted { token: Token, session: SessionId, keys: Vec<Key>, claim: Claim, terms: Terms, since_unix_ms: u64 },
    /// A grant is over.
    Released { token: Token, reason: LostReason },
    /// A lock-delay is over.
    Opens { key: Key },
}

/// The state that a log up to some position amounts to.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Snapshot {
    pub(super) epoch: Epoch,
    pub(super) token_last: Token,
    pub(super) ceiling: Token,
    pub(super) reclaim: bool,
    pub(super) session_last: SessionId,
    pub(super) sessions: Vec<SessionState>,
    pub(super) grants: Vec<GrantState>,
    pub(super) delays: Vec<(Key, u64)>,
}

/// A session in a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct SessionState {
    pub(super) id: SessionId,
    pub(super) secret: u128,
    pub(super) name: Arc<str>,
    pub(super) ttl_ms: u64,
    pub(super) on_disconnect: OnDisconnect,
    pub(super) socket: bool,
    pub(super) past: Vec<PastGrant>,
}

/// A grant in a snapshot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub(super) struct GrantState {
    pub(super) token: Token,
    pub(super) session: SessionId,
    pub(super) keys: Vec<Key>,
    pub(super) claim: Claim,
    pub(super) terms: Terms,
    pub(super) since_unix_ms: u64,
}

/// A grant that is over, remembered so that a late retry of its request or of its release is answered as the first
/// time, and so that its holder cannot bring it back (L12, L13).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct PastGrant {
    pub(crate) token: Token,
    pub(crate) keys: Vec<Key>,
    pub(crate) claim: Claim,
    pub(crate) request: Option<RequestId>,
    pub(crate) reason: LostReason,
}

impl Record {
    /// One line for people.
    #[must_use]
    pub fn describe(&self) -> String {
        format!("{:?}", self.ops)
    }
}

#[cfg(feature = "log")]
mod bytes {
    use super::{Record, Snapshot};

    /// Bytes that are not a record or a snapshot of this format.
    #[derive(Debug, thiserror::Error)]
    #[error("not a {what} of this format: {source}")]
    pub struct DecodeError {
        what: &'static str,
        source: postcard::Error,
    }

    impl Record {
        /// The bytes for the store.
        #[must_use]
        pub fn to_bytes(&self) -> Vec<u8> {
            postcard::to_stdvec(self).expect("records hold only lengths known before they are written")
        }

        /// Reads what [`Self::to_bytes`] wrote.
        ///
        /// # Errors
        /// When the bytes are of something else.
        pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
            postcard::from_bytes(bytes).map_err(|source| DecodeError { what: "record", source })
        }
    }

    impl Snapshot {
        /// The bytes for the store.
        #[must_use]
        pub fn to_bytes(&self) -> Vec<u8> {
            postcard::to_stdvec(self).expect("snapshots hold only lengths known before they are written")
        }

        /// Reads what [`Self::to_bytes`] wrote.
        ///
        /// # Errors
        /// When the bytes are of something else.
        pub fn from_bytes(bytes: &[u8]) -> Result<Self, DecodeError> {
            postcard::from_bytes(bytes).map_err(|source| DecodeError { what: "snapshot", source })
        }
    }
}
