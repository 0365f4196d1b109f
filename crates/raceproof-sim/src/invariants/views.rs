//! What an outsider knows of one session, one request, one grant, one connection.

use std::rc::Rc;

use raceproof_core::id::SessionId;
use raceproof_core::wire::Request;

use super::taking::Taking;
use crate::world::clock::Instant;
use crate::world::net::LinkId;

/// A session as the outsider sees it.
#[derive(Clone, Debug)]
pub struct Session {
    /// Whose it is.
    pub client: usize,
    /// Its lease, in microseconds of the hub's clock.
    pub ttl: u64,
    /// Whether the end of its connection ends it.
    pub ends_with_link: bool,
    /// Whether it was opened over a socket.
    pub socket: bool,
    /// The socket it was bound to last.
    pub link: Option<LinkId>,
    /// When the hub was last asked for a renewal that it then granted, by true time.
    pub renewed: Instant,
    /// From when on its lease lasts at most: since the hub was last asked for a renewal, started, or stood still.
    pub at_most_from: Instant,
    /// Whether it was certainly given a lease for a stall since its last renewal: another stall gives it no more than
    /// what that one took.
    pub graced: bool,
    /// From when on the hub owes it a lease: since its renewal, or since a stall that it was spared for.
    pub owed_from: Instant,
    /// Whether it may have been spared for a stall since its last renewal: further stalls are only not charged.
    pub spared: bool,
    /// From when on the hub may have ended it, for a reason other than its lease.
    pub ended: Option<Instant>,
    /// Its client counts on it until then.
    pub believed_until: Instant,
    /// When its client first counted on it.
    pub believed_from: Option<Instant>,
}

impl Session {
    /// The hub is asked for a renewal, and may grant it.
    pub(super) fn is_renewed(&mut self, at: Instant) {
        self.at_most_from = self.at_most_from.max(at);
        self.graced = false;
    }
}

/// A request that the hub was given, under its id or alone.
#[derive(Clone, Debug)]
pub struct Asked {
    /// Whose it is.
    pub session: SessionId,
    /// What it is.
    pub taking: Taking,
    /// When it was first asked.
    pub at: Instant,
    /// How often it was asked.
    pub copies: u32,
}

/// A grant that the hub let go.
#[derive(Clone, Debug)]
pub struct Grant {
    /// Whose it is.
    pub session: SessionId,
    /// What was asked.
    pub taking: Rc<Taking>,
    /// When it was let go.
    pub emitted: Instant,
    /// In which run.
    pub run: u32,
    /// From when on it may be over at the hub.
    pub over: Option<Instant>,
    /// From when to when its holder's program believed in it. Without an end it still does, as long as its lease runs.
    pub believed: Option<(Instant, Option<Instant>)>,
    /// An operator took it, or the end of its link ended it: its holder may believe on.
    pub excused: bool,
}

/// A request under way.
#[derive(Clone, Debug)]
pub struct Pending {
    /// Whom it speaks for.
    pub session: Option<SessionId>,
    /// What it is.
    pub request: Rc<Request>,
    /// The taking that it is, by index.
    pub taking: Option<usize>,
    /// When it was given to the hub.
    pub at: Instant,
}

/// A connection as the hub has it.
#[derive(Clone, Debug)]
pub struct Link {
    /// Whose it is.
    pub client: usize,
    /// Whether it carries one HTTP request.
    pub http: bool,
    /// The session bound to it.
    pub session: Option<SessionId>,
}
