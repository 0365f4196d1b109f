//! The messages between a client and a hub: the same types as WebSocket frames, as HTTP bodies and as the core's
//! inputs. `docs/protocol.md` documents them field for field.
//!
//! A frame is one JSON object. A client's carries its `seq` and one request; the hub's carries its own `seq` and
//! either an answer (`re` names the request's `seq`) or an event.

mod event;
mod frame;
mod problem;
mod request;
mod response;

pub use event::{Event, LostReason};
pub use frame::{ClientFrame, ServerFrame};
pub use problem::{Code, Problem};
pub use request::{
    Acquire, Campaign, Check, Class, Held, Mode, OnDisconnect, Open, Page, Release, Request, Resign, Resume,
    WAIT_MS_FOREVER,
};
pub use response::{
    CycleMember, Election, ElectionPage, Grant, Holder, Leader, Lock, LockPage, Response, SessionInfo, SessionPage,
    Waiter, Waiting,
};

/// The WebSocket subprotocol that these frames are spoken under.
pub const SUBPROTOCOL: &str = "raceproof.v1";

#[cfg(test)]
mod tests;
