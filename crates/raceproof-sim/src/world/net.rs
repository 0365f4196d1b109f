//! Links: pairs of pipes that keep their order, as TCP does, and otherwise behave as badly as it does. A pipe delays,
//! is held up by a partition for as long as it lasts, and is cut, with everything on it, so that either end learns of
//! it late or never.

use std::collections::VecDeque;
use std::rc::Rc;

use raceproof_core::id::{ConnId, SessionKey};
use raceproof_core::wire::{Event, Problem, Request, Response};

use super::clock::Instant;

/// An index into the links of a run; also the connection's number at the hub.
pub type LinkId = usize;

/// What a pipe carries.
#[derive(Clone, Debug)]
pub enum Message {
    /// A client's frame. Over HTTP the session's key travels with it.
    Request {
        /// The client's number for it on this link.
        seq: u64,
        /// Whom it speaks for.
        session: Option<SessionKey>,
        /// What it asks.
        request: Rc<Request>,
    },
    /// A hub's answer.
    Answer {
        /// The number of the request.
        re: u64,
        /// The answer.
        result: Result<Box<Response>, Box<Problem>>,
    },
    /// A hub's push.
    Push(Event),
    /// The sender closed its end.
    Close,
    /// The hub's kernel accepted the connection; the hub learns of it when it runs.
    Hello,
    /// The client learns that its connection was accepted.
    Accepted,
    /// Nobody listens.
    Refused,
    /// A client asks for a sign of life.
    Ping,
    /// A sign of life.
    Pong,
}

/// One direction of a link.
#[derive(Debug, Default)]
pub struct Pipe {
    /// What is on its way, in order, with the time at which it may arrive.
    pub queue: VecDeque<(Instant, Message)>,
    /// Nothing that is sent later arrives before this.
    pub last: Instant,
    /// What is sent vanishes.
    pub cut: bool,
}

/// A connection between a client and the hub.
#[derive(Debug)]
pub struct Link {
    /// The client's index.
    pub client: usize,
    /// Whether it carries one HTTP request.
    pub http: bool,
    /// Client to hub.
    pub up: Pipe,
    /// Hub to client.
    pub down: Pipe,
    /// The hub has it as open.
    pub hub_open: bool,
    /// The client has it as open, or still dials.
    pub client_open: bool,
    /// The hub's run that it leads to.
    pub run: u32,
    /// How much longer than usual it takes what the client says on it.
    pub lag: u64,
}

impl Link {
    /// The hub's number for it.
    #[must_use]
    pub fn conn(id: LinkId) -> ConnId {
        ConnId::new(id as u64)
    }

    /// The pipe in one direction.
    pub const fn pipe(&mut self, up: bool) -> &mut Pipe {
        if up { &mut self.up } else { &mut self.down }
    }
}
