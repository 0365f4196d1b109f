//! What a hub says without being asked.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::response::Election;
use crate::id::Token;

/// A push to a connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Event {
    /// A grant of this session ended before it was released.
    Lost {
        /// The grant's token.
        token: Token,
        /// Its names.
        names: Vec<Arc<str>>,
        /// Why.
        reason: LostReason,
    },
    /// This connection's session is over, or lives on another connection.
    SessionEnded {
        /// Why.
        reason: LostReason,
    },
    /// An observed election changed. Terms come in order (E3).
    Leader(Election),
    /// The hub is about to stop. Sessions and grants outlive its restart.
    Draining {},
}

/// Why a grant or a session ended.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum LostReason {
    /// The lease ran out.
    Expired,
    /// The holder gave it back.
    Released,
    /// An operator took it.
    Stolen,
    /// The session was ended by its owner.
    Ended,
    /// The session's connection closed, and it had said that this ends it.
    Disconnected,
    /// Another connection resumed the session.
    Superseded,
    /// It was not claimed in time.
    Unclaimed,
    /// A hub that was restarted does not know it.
    Unknown,
}

impl LostReason {
    /// The reason as it is written in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Released => "released",
            Self::Stolen => "stolen",
            Self::Ended => "ended",
            Self::Disconnected => "disconnected",
            Self::Superseded => "superseded",
            Self::Unclaimed => "unclaimed",
            Self::Unknown => "unknown",
        }
    }
}
