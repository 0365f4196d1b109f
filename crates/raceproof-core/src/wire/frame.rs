//! Frames: numbered envelopes around requests, answers and events.

use serde::{Deserialize, Serialize};

use super::{Event, Problem, Request, Response};

/// A client's frame.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientFrame {
    /// Counts the client's frames on this connection, from 1.
    pub seq: u64,
    /// What it asks.
    pub request: Request,
}

/// A hub's frame.
#[derive(Clone, PartialEq, Debug, Deserialize)]
#[serde(try_from = "RawServerFrame")]
pub enum ServerFrame {
    /// The answer to a request.
    Answer {
        /// Counts the hub's frames on this connection, from 1.
        seq: u64,
        /// The `seq` of the client's frame.
        re: u64,
        /// `ok` or `problem` in JSON. Boxed: most frames are small.
        result: Result<Box<Response>, Box<Problem>>,
    },
    /// A push.
    Push {
        /// Counts the hub's frames on this connection, from 1.
        seq: u64,
        /// What happened.
        event: Event,
    },
}

#[derive(Deserialize)]
struct RawServerFrame {
    seq: u64,
    #[serde(default)]
    re: Option<u64>,
    #[serde(default)]
    ok: Option<Box<Response>>,
    #[serde(default)]
    problem: Option<Box<Problem>>,
    #[serde(default)]
    event: Option<Event>,
}

/// The same as it is written, without a copy.
#[derive(Serialize)]
struct BorrowedServerFrame<'a> {
    seq: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    re: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ok: Option<&'a Response>,
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<&'a Problem>,
    #[serde(skip_serializing_if = "Option::is_none")]
    event: Option<&'a Event>,
}

impl Serialize for ServerFrame {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Answer { seq, re, result } => {
                let (ok, problem) = (result.as_deref().ok(), result.as_ref().err().map(|problem| &**problem));
                BorrowedServerFrame { seq: *seq, re: Some(*re), ok, problem, event: None }
            }
            Self::Push { seq, event } => {
                BorrowedServerFrame { seq: *seq, re: None, ok: None, problem: None, event: Some(event) }
            }
        }
        .serialize(serializer)
    }
}

impl TryFrom<RawServerFrame> for ServerFrame {
    type Error = &'static str;

    fn try_from(raw: RawServerFrame) -> Result<Self, Self::Error> {
        let seq = raw.seq;
        match (raw.re, raw.ok, raw.problem, raw.event) {
            (Some(re), Some(ok), None, None) => Ok(Self::Answer { seq, re, result: Ok(ok) }),
            (Some(re), None, Some(problem), None) => Ok(Self::Answer { seq, re, result: Err(problem) }),
            (None, None, None, Some(event)) => Ok(Self::Push { seq, event }),
            _ => Err("a frame has `re` with one of `ok` and `problem`, or `event`"),
        }
    }
}

#[cfg(feature = "json")]
impl ClientFrame {
    /// Reads a frame.
    ///
    /// # Errors
    /// When the text is not JSON of this shape; the error says where.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        match renewal(text) {
            Some(seq) => Ok(Self { seq, request: Request::Keepalive {} }),
            None => serde_json::from_str(text),
        }
    }

    /// Writes the frame as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("frames have string keys and finite numbers")
    }
}

/// The number of a frame that renews a lease and is written as [`ClientFrame::to_json`] writes it: most frames are.
#[cfg(feature = "json")]
fn renewal(text: &str) -> Option<u64> {
    let digits = text.strip_prefix(r#"{"seq":"#)?.strip_suffix(r#","request":{"keepalive":{}}}"#)?;
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if plain { digits.parse().ok() } else { None }
}

#[cfg(feature = "json")]
impl ServerFrame {
    /// Reads a frame.
    ///
    /// # Errors
    /// When the text is not JSON of this shape; the error says where.
    pub fn from_json(text: &str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// Writes the frame as JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("frames have string keys and finite numbers")
    }

    /// Writes the frame as JSON, behind what is there.
    pub fn write_json(&self, out: &mut Vec<u8>) {
        serde_json::to_writer(out, self).expect("frames have string keys and finite numbers");
    }
}
