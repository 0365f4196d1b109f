//! How connections end: a close code and a word for each reason.

use crate::outbox::Ending;

/// Why this side closes a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Close {
    /// The server stops.
    GoingAway,
    /// Not WebSocket.
    Protocol,
    /// A binary frame.
    NotText,
    /// Text that is not UTF-8.
    NotUtf8,
    /// A frame or message longer than the limit.
    TooBig,
    /// Text that is not a frame of this protocol, or out of order.
    BadFrame,
    /// No sign of life.
    PingTimeout,
    /// The session lives on another connection.
    Superseded,
    /// The client does not read.
    SlowReader,
    /// The store failed.
    StoreFailed,
}

impl Close {
    /// A close frame's payload.
    pub(super) fn payload(self) -> Vec<u8> {
        let (code, reason): (u16, &str) = match self {
            Self::GoingAway => (1001, "going_away"),
            Self::Protocol => (1002, "protocol_error"),
            Self::NotText => (1003, "not_text"),
            Self::NotUtf8 => (1007, "not_utf8"),
            Self::TooBig => (1009, "too_big"),
            Self::BadFrame => (4400, "bad_frame"),
            Self::PingTimeout => (4408, "ping_timeout"),
            Self::Superseded => (4409, "superseded"),
            Self::SlowReader => (4429, "slow_reader"),
            Self::StoreFailed => (4503, "store_failed"),
        };
        [&code.to_be_bytes(), reason.as_bytes()].concat()
    }
}

impl From<Ending> for Close {
    fn from(ending: Ending) -> Self {
        match ending {
            Ending::Superseded => Self::Superseded,
            Ending::SlowReader => Self::SlowReader,
            Ending::GoingAway => Self::GoingAway,
            Ending::StoreFailed => Self::StoreFailed,
        }
    }
}
