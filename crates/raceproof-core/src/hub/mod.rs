//! The hub's decisions: sessions and their leases, locks, elections, and what must be on disk before anyone hears of
//! it. One owner calls it with one input at a time and drains [`Hub::poll_output`] after each.
//!
//! Owns every rule about who holds what. Knows no socket, file, clock or thread: connections are numbers, time and
//! randomness are inputs, the store is told by [`Output::Append`] and [`Output::Flush`] and answers through
//! [`Hub::flushed`].
//!
//! Promises: L1–L7, L10–L13, E1–E3, E6, E7. Durable before visible: an answer that promises something leaves
//! `poll_output` only after the record it rests on is on disk.
//!
//! The parts: `face` (who speaks to it, and what it says), `sessions` (leases, connections), `want` (what is asked for),
//! `locks` (asking, being granted), `endings` (giving back, cancelling), `elections`, `queries` (what people look at), `recovery` (after a crash), `restore` (from snapshot and records).

mod config;
mod elections;
mod endings;
mod error;
mod face;
mod inside;
mod locks;
mod mutation;
mod paged;
mod queries;
mod record;
mod recovery;
mod restore;
mod sessions;
#[cfg(test)]
mod tests;
mod timers;
mod tokens;
mod want;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use rustc_hash::FxHashMap;

pub use self::config::Config;
pub use self::error::RestoreError;
pub use self::face::{Caller, ConnKind, Output, Stats};
#[cfg(feature = "mutations")]
pub use self::mutation::Mutation;
#[cfg(not(feature = "mutations"))]
use self::mutation::Mutation;
use self::paged::Paged;
#[cfg(feature = "log")]
pub use self::record::DecodeError;
use self::record::Op;
pub use self::record::{PastGrant, Record, Snapshot};
use self::recovery::Recovery;
pub(crate) use self::sessions::millis;
use self::timers::{Timer, Timers};
use self::tokens::Tokens;
use crate::id::{ConnId, Epoch, Lsn, SessionId, Token};
use crate::lock::{Key, LockTable, WaitId};
use crate::session::Session;
use crate::time::Time;
use crate::wire::{Code, Event, Problem, Request, Response};

#[derive(Debug)]
struct Conn {
    kind: ConnKind,
    session: Option<SessionId>,
    observed: BTreeSet<Arc<str>>,
    /// Over a [`ConnKind::Request`]: the wait it stands for, and the grant whose answer it has not been given yet.
    wait: Option<(SessionId, WaitId)>,
    undelivered: Option<Token>,
}

/// An answer to a request that was understood.
enum Reply {
    /// Promises nothing that a crash could break.
    Now(Response),
    /// Rests on a record.
    After(Lsn, Response),
    /// Comes when the wait ends.
    Later,
}

/// The hub's state machine.
#[derive(Debug)]
pub struct Hub {
    config: Config,
    epoch: Epoch,
    lsn: Lsn,
    flushed: Lsn,
    flush_wished: Lsn,
    /// The last record that any answer ever had to wait for: what was read may be no older.
    promised: Lsn,
    /// The last record that ended a grant against its holder's will.
    revoked: Lsn,
    failed: Option<String>,
    called: Time,
    unix_ms_at_zero: u64,
    tokens: Tokens,
    table: LockTable,
    sessions: Paged<Box<Session>>,
    session_last: SessionId,
    conns: FxHashMap<ConnId, Conn>,
    replies: FxHashMap<WaitId, Vec<(ConnId, u64)>>,
    /// Grants that HTTP requests wait to be told of, once they are on disk.
    untold: FxHashMap<Token, BTreeSet<ConnId>>,
    wait_last: WaitId,
    timers: Timers,
    observers: BTreeMap<Arc<str>, BTreeSet<ConnId>>,
    /// Whether the log says that there may be grants it does not know, since which record, and who is awaited.
    reclaim: bool,
    reclaim_marked: Lsn,
    recovery: Option<Recovery>,
    touched: Vec<Key>,
    elections_changed: BTreeSet<Arc<str>>,
    ops: Vec<Op>,
    staged: Vec<(Lsn, Output)>,
    held: VecDeque<(Lsn, Output)>,
    outputs: VecDeque<Output>,
    stats: Stats,
}

impl Hub {
    /// A hub on an empty store.
    #[must_use]
    pub fn new(config: Config, now: Time) -> Self {
        let mut hub = Self::blank(config, now);
        hub.start(now);
        hub
    }

    fn blank(config: Config, now: Time) -> Self {
        let mut table = LockTable::default();
        table.shared_barges = config.has(Mutation::SharedStarvesExclusive);
        table.keeps_entries = config.has(Mutation::EntryLeft);
        table.ignores_delays = config.has(Mutation::LockDelayIgnored);
        table.partial_grants = config.has(Mutation::PartialGrant);
        Self {
            tokens: Tokens::new(Token::new(0), Token::new(0), config.token_block),
            config,
            epoch: Epoch::new(0),
            lsn: Lsn::new(0),
            flushed: Lsn::new(0),
            flush_wished: Lsn::new(0),
            promised: Lsn::new(0),
            revoked: Lsn::new(0),
            failed: None,
            called: now,
            unix_ms_at_zero: 0,
            table,
            sessions: Paged::default(),
            session_last: SessionId::new(0),
            conns: FxHashMap::default(),
            replies: FxHashMap::default(),
            untold: FxHashMap::default(),
            wait_last: WaitId(0),
            timers: Timers::default(),
            observers: BTreeMap::new(),
            reclaim: false,
            reclaim_marked: Lsn::new(0),
            recovery: None,
            touched: Vec::new(),
            elections_changed: BTreeSet::new(),
            ops: Vec::new(),
            staged: Vec::new(),
            held: VecDeque::new(),
            outputs: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// Says what the wall clock shows at `now`. Only ages that people read depend on it.
    pub fn set_wall_clock(&mut self, now: Time, unix_ms: u64) {
        self.unix_ms_at_zero = unix_ms.saturating_sub(now.as_micros() / 1_000);
    }

    fn unix_ms(&self, now: Time) -> u64 {
        self.unix_ms_at_zero.saturating_add(now.as_micros() / 1_000)
    }

    /// This run's identity.
    #[must_use]
    pub const fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// The last record.
    #[must_use]
    pub const fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Counts.
    #[must_use]
    pub fn stats(&self) -> Stats {
        Stats {
            sessions: self.sessions.len(),
            connections: self.conns.len(),
            grants: self.table.grants_count(),
            waits: self.table.waits_count(),
            names: self.table.entries_count(),
            held: self.held.len(),
            recovering: self.recovery.is_some(),
            ..self.stats.clone()
        }
    }

    /// How many sessions are open: while there are any, `tick` is due every 20 ms.
    #[must_use]
    pub fn sessions_count(&self) -> usize {
        self.sessions.len()
    }

    /// A connection comes. Its number has not been used before.
    pub fn connect(&mut self, now: Time, conn: ConnId, kind: ConnKind) {
        self.observe_time(now);
        let fresh = Conn { kind, session: None, observed: BTreeSet::new(), wait: None, undelivered: None };
        self.conns.insert(conn, fresh);
    }

    /// A connection is gone.
    pub fn disconnect(&mut self, now: Time, conn: ConnId) {
        self.observe_time(now);
        if let Some(gone) = self.conns.remove(&conn) {
            self.part(now, conn, gone);
        }
        self.finish(now);
    }

    /// A connection asks.
    pub fn request(&mut self, now: Time, caller: Caller, request: Request) {
        self.observe_time(now);
        let reply = match &self.failed {
            Some(detail) => Err(Problem::new(Code::StoreFailed, detail.clone())),
            None => self.dispatch(now, &caller, request),
        };
        match reply {
            Ok(Reply::Now(response)) => self.answer(caller.conn, caller.seq, Lsn::new(0), Ok(response)),
            Ok(Reply::After(lsn, response)) => self.answer(caller.conn, caller.seq, lsn, Ok(response)),
            Ok(Reply::Later) => {}
            Err(problem) => {
                // Whoever is told that a grant was taken from it does not give it back, and one over HTTP never says
                // what it holds: a grant that a crash brought back would stay for as long as its session.
                let after = if problem.code == Code::NotHolder { self.revoked } else { Lsn::new(0) };
                self.answer(caller.conn, caller.seq, after, Err(problem));
            }
        }
        self.finish(now);
    }

    fn dispatch(&mut self, now: Time, caller: &Caller, request: Request) -> Result<Reply, Problem> {
        match request {
            Request::Open(open) => self.open(now, caller, open),
            Request::Resume(resume) => self.resume(now, caller, resume),
            Request::Keepalive {} => self.keepalive(now, caller),
            Request::End {} => self.end(now, caller),
            Request::Acquire(acquire) => self.acquire(now, caller, acquire),
            Request::Cancel { request } => self.cancel(caller, &request),
            Request::Release(release) => self.release(caller, &release),
            Request::Steal { name } => self.steal(&name),
            Request::Check(check) => self.check_name(&check.name).map(|()| self.check(&check)),
            Request::Why { request } => self.why(now, caller, &request),
            Request::Campaign(campaign) => self.campaign(now, caller, campaign),
            Request::Resign(resign) => self.resign(caller, &resign),
            Request::Observe { election } => self.observe(now, caller, election),
            Request::Unobserve { election } => Ok(self.unobserve(caller, &election)),
            Request::Locks(page) => Ok(self.list_locks(now, &page)),
            Request::Lock { name } => self.check_name(&name).map(|()| self.show_lock(now, name)),
            Request::Sessions(page) => self.list_sessions(now, &page),
            Request::Elections(page) => Ok(self.list_elections(now, &page)),
            Request::Election { name } => self.check_name(&name).map(|()| self.show_election(now, name)),
        }
    }

    /// The store has everything up to `lsn` on disk.
    pub fn flushed(&mut self, now: Time, lsn: Lsn) {
        self.observe_time(now);
        self.flushed = self.flushed.max(lsn);
        while self.held.front().is_some_and(|(after, _)| *after <= self.flushed) {
            if let Some((_, output)) = self.held.pop_front() {
                self.emit(output);
            }
        }
    }

    /// The store failed. Everything that waits for it, and everything asked from here on, is refused: what is on disk
    /// is not known, so nothing can be promised.
    pub fn store_failed(&mut self, now: Time, detail: &str) {
        self.observe_time(now);
        self.failed = Some(detail.to_owned());
        for (_, output) in std::mem::take(&mut self.held) {
            if let Output::Answer { conn, seq, .. } = output {
                let problem = Problem::new(Code::StoreFailed, detail);
                self.emit(Output::Answer { conn, seq, result: Err(Box::new(problem)) });
            }
        }
    }

    /// The server is about to stop: tells every socket.
    pub fn drain(&mut self, now: Time) {
        self.observe_time(now);
        let mut sockets: Vec<_> =
            self.conns.iter().filter(|(_, conn)| conn.kind == ConnKind::Socket).map(|(id, _)| *id).collect();
        sockets.sort_unstable();
        for conn in sockets {
            self.emit(Output::Push { conn, event: Event::Draining {} });
        }
    }

    /// Lets time pass: ends leases, waits, claims and lock-delays that are due. Due at [`Self::next_deadline`], and
    /// every 20 ms while sessions are open: a longer gap is how a stall of the server shows (L5).
    pub fn tick(&mut self, now: Time) {
        self.observe_time(now);
        for _ in 0..self.config.expiries_per_tick_max {
            let Some((at, timer)) = self.timers.pop(now) else { break };
            match timer {
                Timer::Lease(session) => self.lease_due(now, session),
                Timer::Wait(wait) => self.wait_due(now, wait),
                Timer::Claim(token) => self.claim_due(token),
                Timer::Delay(key) => self.delay_due(now, at, key),
            }
        }
        self.finish(now);
    }

    /// When [`Self::tick`] is due next.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.timers.next()
    }

    /// What to do next. Drain it after every call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Every entry point passes here first: a gap since the last call is a stall, and renewals may be waiting in
    /// sockets, so every session is spared before anything of its is granted away (L5).
    fn observe_time(&mut self, now: Time) {
        let gap = now.since(self.called);
        if gap > self.config.stall && !self.sessions.is_empty() {
            self.spare_all(now, gap);
        }
        self.called = self.called.max(now);
    }

    /// The position of the record that this input will write.
    const fn lsn_of_this_input(&self) -> Lsn {
        self.lsn.next()
    }

    /// Every entry point that may change something ends here: whoever can be served is served, in the same record.
    fn finish(&mut self, now: Time) {
        self.serve(now);
        self.announce_elections();
        if !self.ops.is_empty() {
            self.lsn = self.lsn.next();
            let record = Record { ops: std::mem::take(&mut self.ops) };
            self.outputs.push_back(Output::Append { lsn: self.lsn, record });
        }
        let mut staged = std::mem::take(&mut self.staged);
        for (after, output) in staged.drain(..) {
            debug_assert!(after <= self.lsn, "a wait for a record that is not there: {after} of {}", self.lsn);
            if after <= self.flushed || self.config.has(Mutation::GrantBeforeFlush) {
                self.emit(output);
                continue;
            }
            // In the order they were decided: nobody hears of an effect before its cause.
            let after = self.held.back().map_or(after, |(last, _)| after.max(*last));
            self.promised = self.promised.max(after);
            self.held.push_back((after, output));
            if after > self.flush_wished {
                self.flush_wished = after;
                self.outputs.push_back(Output::Flush { lsn: after });
            }
        }
        // Its room is for what the next input has to say; most have little.
        staged.shrink_to(64);
        self.staged = staged;
    }

    fn emit(&mut self, output: Output) {
        if let Output::Answer { conn, .. } = &output
            && let Some(conn) = self.conns.get_mut(conn)
        {
            // Told, as is every copy of the request.
            if let Some(token) = conn.undelivered.take() {
                self.untold.remove(&token);
            }
        }
        self.outputs.push_back(output);
    }

    fn answer(&mut self, conn: ConnId, seq: u64, after: Lsn, result: Result<Response, Problem>) {
        if let Err(problem) = &result {
            *self.stats.refusals_total.entry(problem.code).or_default() += 1;
        }
        let result = result.map(Box::new).map_err(Box::new);
        self.staged.push((after, Output::Answer { conn, seq, result }));
    }

    fn push(&mut self, conn: ConnId, after: Lsn, event: Event) {
        self.staged.push((after, Output::Push { conn, event }));
    }

    /// The session that a request speaks for.
    fn speaker(&self, caller: &Caller) -> Result<SessionId, Problem> {
        match caller.session {
            Some(key) => match self.sessions.get(&key.id) {
                Some(session) if session.is_opened_by(key) => Ok(key.id),
                _ => Err(session_unknown(key.id)),
            },
            None => self.conns.get(&caller.conn).and_then(|conn| conn.session).ok_or_else(|| {
                Problem::new(Code::SessionUnknown, "this connection has no session; open or resume one first")
            }),
        }
    }
}

fn session_unknown(id: SessionId) -> Problem {
    let detail = format!("session {id} is not known: it ended, its lease ran out, or the key is wrong; open another");
    Problem::new(Code::SessionUnknown, detail)
}
