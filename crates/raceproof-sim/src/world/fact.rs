//! What the simulator sees at the two borders that matter: what the hub is told and says, and what the clients'
//! programs are told and do. Invariants are judged on these, in true time, and on nothing from inside the core.

use std::rc::Rc;

use raceproof_core::id::{SessionId, SessionKey, Token};
use raceproof_core::wire::{Code, Election, Event, LockPage, LostReason, Problem, Request, Response};

use super::clock::Instant;
use super::net::LinkId;

/// Why a program stopped believing in a grant.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loss {
    /// The program gave it back.
    Released,
    /// The program was told that it is lost.
    Told(LostReason),
    /// The program died.
    Died,
}

/// One thing that happened.
#[derive(Debug)]
pub enum Fact<'a> {
    /// A hub is up.
    HubUp {
        /// Counts the hub's starts.
        run: u32,
        /// Every lock in its table, right after the start.
        table: &'a LockPage,
    },
    /// The hub crashed.
    HubDown,
    /// The hub goes on after a stall.
    HubResumed {
        /// When it was stopped.
        since: Instant,
    },
    /// The hub learned of a connection.
    Connected {
        /// The link.
        link: LinkId,
        /// Whose it is.
        client: usize,
        /// Whether it carries one HTTP request.
        http: bool,
    },
    /// The hub learned that a connection is gone.
    Disconnected {
        /// The link.
        link: LinkId,
    },
    /// The hub is given a request.
    Asked {
        /// The link.
        link: LinkId,
        /// The client's number for it.
        seq: u64,
        /// Whom it speaks for, over HTTP.
        session: Option<SessionKey>,
        /// What is asked.
        request: &'a Rc<Request>,
    },
    /// The hub let an answer go.
    Answered {
        /// The link.
        link: LinkId,
        /// The number of the request.
        seq: u64,
        /// The answer.
        result: &'a Result<Box<Response>, Box<Problem>>,
    },
    /// The hub let a push go.
    Pushed {
        /// The link.
        link: LinkId,
        /// The event.
        event: &'a Event,
    },
    /// The hub closed a connection.
    Closed {
        /// The link.
        link: LinkId,
    },
    /// The hub has handled one input, with this many records.
    Handled {
        /// How many records it gave to the store for it.
        appends: u32,
        /// Whether the input was a release.
        release: bool,
    },
    /// The hub refused a request because it would be a deadlock.
    Deadlocked {
        /// Whose request it was.
        session: SessionId,
        /// The refusal.
        problem: &'a Problem,
        /// What was asked.
        request: &'a Request,
        /// Every lock, right after.
        table: &'a LockPage,
    },
    /// The hub's own list of all locks.
    Listed(&'a LockPage),
    /// The hub's own view of an election.
    Led(&'a Election),
    /// A client's process starts.
    Started {
        /// The client.
        client: usize,
    },
    /// A client counts its lease to this true time.
    Lease {
        /// The client.
        client: usize,
        /// Its session.
        session: SessionId,
        /// When its clock will show the deadline.
        until: Instant,
    },
    /// A program was handed a grant or a leadership.
    Believes {
        /// The client.
        client: usize,
        /// Its session.
        session: SessionId,
        /// The token or term.
        token: Token,
        /// What it asked for.
        request: &'a Rc<Request>,
        /// When it asked.
        asked: Instant,
    },
    /// A program was refused what it asked for.
    Refused {
        /// The client.
        client: usize,
        /// What it asked for.
        request: &'a Rc<Request>,
        /// When it asked.
        asked: Instant,
        /// Why.
        code: Code,
    },
    /// A program will never learn what came of what it asked for: it gave up, died, or its session is over.
    Unlearned {
        /// What it asked for.
        request: &'a Rc<Request>,
        /// When it asked.
        asked: Instant,
    },
    /// A program stopped believing.
    Disbelieves {
        /// The client.
        client: usize,
        /// The token or term.
        token: Token,
        /// Why.
        loss: Loss,
    },
    /// A program learned that what it gave back was taken.
    GaveBack {
        /// The client.
        client: usize,
        /// The token or term.
        token: Token,
    },
    /// A program was told who leads.
    Observed {
        /// The client.
        client: usize,
        /// Which observation of the client's.
        observer: u64,
        /// The election.
        election: &'a str,
        /// The term, if anyone leads.
        term: Option<Token>,
    },
    /// Nothing fails any more, and everything under way should have ended.
    Settled {
        /// Every lock in the hub's table.
        table: &'a LockPage,
        /// How long a snapshot of the hub is.
        snapshot_bytes: usize,
    },
}
