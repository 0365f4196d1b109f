//! Who speaks to a hub, and what it has its caller do.

use std::collections::BTreeMap;

use super::Record;
use crate::id::{ConnId, Lsn, SessionKey};
use crate::wire::{Code, Event, Problem, Response};

/// What a connection is to the hub.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ConnKind {
    /// It lasts: a session is bound to it, and events can be pushed.
    Socket,
    /// It carries one request. When it goes before its answer, its wait is cancelled.
    Request,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Caller {
    /// The connection that the answer goes to.
    pub conn: ConnId,
    /// What the answer refers to.
    pub seq: u64,
    /// The session that the request speaks for; `None` is the one bound to the connection.
    pub session: Option<SessionKey>,
    /// Fresh randomness of the operating system. Becomes the secret of a session that is opened; else unused.
    pub entropy: u128,
}

/// What the caller of a hub must do.
#[derive(Clone, PartialEq, Debug)]
pub enum Output {
    /// Append a record to the log. Positions are dense.
    Append {
        /// Its position.
        lsn: Lsn,
        /// What it says.
        record: Record,
    },
    /// Somebody waits for everything up to here to be on disk. Records without such a wish may take their time.
    Flush {
        /// The position.
        lsn: Lsn,
    },
    /// Answer a request.
    Answer {
        /// The connection that asked; it may be gone.
        conn: ConnId,
        /// The request's number on it.
        seq: u64,
        /// The answer.
        result: Result<Box<Response>, Box<Problem>>,
    },
    /// Push an event.
    Push {
        /// The connection; it may be gone.
        conn: ConnId,
        /// The event.
        event: Event,
    },
    /// Close a connection, after what was sent to it before.
    Close {
        /// The connection.
        conn: ConnId,
    },
}

/// Counts, for metrics and for the caller's own decisions.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Sessions that are open.
    pub sessions: usize,
    /// Connections.
    pub connections: usize,
    /// Grants that are valid.
    pub grants: usize,
    /// Requests that wait.
    pub waits: usize,
    /// Names in use.
    pub names: usize,
    /// Answers and events that wait for the disk.
    pub held: usize,
    /// Whether holders from before a crash are still awaited.
    pub recovering: bool,
    /// Grants made since the start.
    pub grants_total: u64,
    /// Grants that ended since the start.
    pub releases_total: u64,
    /// Sessions whose lease ended since the start.
    pub expiries_total: u64,
    /// Cycles of waiters found since the start.
    pub deadlocks_total: u64,
    /// Stalls of the server noticed since the start.
    pub stalls_total: u64,
    /// Refusals since the start, by code.
    pub refusals_total: BTreeMap<Code, u64>,
}
