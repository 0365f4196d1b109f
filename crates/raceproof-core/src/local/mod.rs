//! A coordinator inside its callers' own process: the hub's decisions without leases, log or connections.
//!
//! Owns which operation waits, which has an answer, and until when a grant must be claimed. Every decision about who
//! holds what is the [hub's](crate::hub). It refuses to know wakers, threads and clocks.
//!
//! Its shell may grant a free name by itself, with the token that follows the last one, and [`Local::adopt`]s that
//! grant here before anyone else asks for the name ([`Local::uses`] says when it may do so again).
//!
//! - L1, L3, L6, L7, E1, E2, E3, E7: by the hub.
//! - L2: tokens come from the shell, which counts for both (see [`Local::tokens_wanted`]), so one process has one order.
//! - L4: an operation that is given up never holds; a grant that is not claimed within [`CLAIM_TIMEOUT`] passes on.

mod blocked;
mod config;
mod observe;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

pub use self::blocked::{Blocked, Blocker, Origin, Site, Stats};
pub use self::config::WAITERS_MAX;
use self::config::config;
pub use self::observe::ObserverId;
use self::observe::Watch;
use crate::client::{OpError, Outcome};
use crate::hub::{Caller, ConnKind, Hub, Output as HubOutput};
use crate::id::{ConnId, Lsn, SessionId, SessionKey, Token};
use crate::lock::Claim;
use crate::time::Time;
use crate::wire::{
    Acquire, Campaign, Code, Event, Grant, LostReason, OnDisconnect, Open, Problem, Release, Request, Resign, Response,
};

/// How long a grant waits for its operation to be polled before it passes on (L4).
pub const CLAIM_TIMEOUT: Duration = Duration::from_secs(5);

/// The longest lease there is. It is renewed by every call, and a pause between calls renews it too.
const TTL_MS: u64 = 86_400_000;

/// The connection that the session is bound to.
const HOME: ConnId = ConnId::new(0);

/// Names an operation within its coordinator; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpId(u64);

/// Whom the shell has to wake or to tell.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Output {
    /// The operation has a result: see [`Local::claim`].
    Complete {
        /// The operation.
        op: OpId,
    },
    /// A claimed grant or leadership ended, and its owner did not ask for that.
    Lost {
        /// The grant's token, or the term.
        token: Token,
        /// Why.
        reason: LostReason,
        /// The locks, or the election.
        names: Vec<Arc<str>>,
    },
    /// There is news of an election: see [`Local::observed`].
    Observed {
        /// Who wants to know.
        observer: ObserverId,
    },
}

/// An operation that waits, or whose result waits.
#[derive(Debug, Default)]
struct Op {
    result: Option<Result<Outcome, OpError>>,
    /// Until when its grant must be claimed.
    claim_by: Option<Time>,
    /// Who asked, of a request for locks.
    origin: Option<Origin>,
}

/// The machine. See the [module](self).
#[derive(Debug)]
pub struct Local {
    hub: Hub,
    session: SessionKey,
    ttl_ms: u64,
    renew_at: Time,
    flushed: Lsn,
    ops: BTreeMap<OpId, Op>,
    claims: BTreeSet<(Time, OpId)>,
    /// Since when each lock is held, and where it was asked for.
    held: BTreeMap<Token, Origin>,
    /// How many grants passed on because nobody claimed them.
    unclaimed: u64,
    watches: BTreeMap<ObserverId, Watch>,
    outputs: VecDeque<Output>,
    /// The last connection's number: each operation and each observer has one of its own.
    conn_last: u64,
    closed: bool,
}

impl Local {
    /// A coordinator where nothing is held. `name` and `secret` are those of its one session.
    #[must_use]
    pub fn new(name: Arc<str>, secret: u128, now: Time) -> Self {
        Self::with_lease(name, secret, TTL_MS, now)
    }

    fn with_lease(name: Arc<str>, secret: u128, ttl_ms: u64, now: Time) -> Self {
        let session = SessionKey { id: SessionId::new(1), secret };
        let mut local = Self {
            hub: Hub::new(config(), now),
            session,
            ttl_ms,
            renew_at: now + Duration::from_millis(ttl_ms / 3),
            flushed: Lsn::new(0),
            ops: BTreeMap::new(),
            claims: BTreeSet::new(),
            held: BTreeMap::new(),
            unclaimed: 0,
            watches: BTreeMap::new(),
            outputs: VecDeque::new(),
            conn_last: HOME.as_u64(),
            closed: false,
        };
        local.hub.connect(now, HOME, ConnKind::Socket);
        let open = Open { name, ttl_ms, on_disconnect: OnDisconnect::Keep };
        let caller = Caller { conn: HOME, seq: 0, session: None, entropy: secret };
        local.hub.request(now, caller, Request::Open(open));
        local.drain(now);
        local
    }

    /// The next thing to do. To be called until there is none after every other call.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// The session that everything here belongs to.
    #[must_use]
    pub const fn session(&self) -> SessionId {
        self.session.id
    }

    /// How many tokens one call may give away at most.
    #[must_use]
    pub fn tokens_wanted(&self) -> u64 {
        self.hub.waits_count() as u64 + 1
    }

    /// Sets aside the [`tokens_wanted`](Self::tokens_wanted) tokens after `last` for the next call.
    pub fn tokens_after(&mut self, last: Token) {
        self.hub.skip_tokens(last);
    }

    /// The last token that was given away here, or left out.
    #[must_use]
    pub const fn token_last(&self) -> Token {
        self.hub.token_last()
    }

    /// So many wait where the shell has them wait by itself: they leave room for fewer here. The shell says that of
    /// whoever asks, and 0 before it has a wait taken over that it has taken on.
    pub fn waiters_elsewhere(&mut self, count: usize) {
        self.hub.set_waiters_max(WAITERS_MAX.saturating_sub(count));
    }

    /// Whether anyone holds this lock or waits for it here. While nobody does, the shell may grant it by itself.
    #[must_use]
    pub fn uses(&self, name: &Arc<str>) -> bool {
        self.hub.uses(name)
    }

    /// What a grant or leadership that is valid is of.
    #[must_use]
    pub fn names_of(&self, token: Token) -> Vec<Arc<str>> {
        self.hub.names_of(token)
    }

    /// How many operations are remembered: waiting, or answered and not claimed.
    #[must_use]
    pub fn pending(&self) -> usize {
        self.ops.len()
    }

    /// Takes over a grant that the shell made by itself, on a name that is not in use here, or by grants that were taken
    /// over and that this one goes with.
    pub fn adopt(&mut self, origin: Origin, name: Arc<str>, token: Token, owner: Arc<str>, claim: Claim) {
        self.hub.adopt(origin.since, self.session.id, name, token, owner, claim);
        self.held.insert(token, origin);
    }

    /// Takes over a grant that the shell handed to somebody who has not claimed it since: as [`adopt`](Self::adopt), and
    /// it is claimed as the result of an operation.
    pub fn adopt_unclaimed(
        &mut self,
        now: Time,
        origin: Origin,
        name: Arc<str>,
        token: Token,
        owner: Arc<str>,
        claim: Claim,
    ) -> OpId {
        self.adopt(origin, Arc::clone(&name), token, owner, claim);
        let op = OpId(self.connect(now, ConnKind::Request).as_u64());
        let grant = Grant { token, names: vec![name], mode: claim.mode(), lease_ms: self.ttl_ms };
        let by = origin.since + CLAIM_TIMEOUT;
        let result = Some(Ok(Outcome::Granted { grant, session: self.session.id }));
        self.ops.insert(op, Op { result, claim_by: Some(by), origin: None });
        self.claims.insert((by, op));
        op
    }

    /// Takes locks. The result may be there at once.
    ///
    /// # Errors
    /// When the coordinator was closed.
    pub fn acquire(&mut self, now: Time, acquire: Acquire, origin: Origin) -> Result<OpId, OpError> {
        self.start(now, Request::Acquire(Acquire { request: None, ..acquire }), Some(origin))
    }

    /// Stands for election.
    ///
    /// # Errors
    /// When the coordinator was closed.
    pub fn campaign(&mut self, now: Time, campaign: Campaign) -> Result<OpId, OpError> {
        self.start(now, Request::Campaign(Campaign { request: None, ..campaign }), None)
    }

    fn start(&mut self, now: Time, request: Request, origin: Option<Origin>) -> Result<OpId, OpError> {
        if self.closed {
            return Err(OpError::Closed);
        }
        self.tick(now);
        let conn = self.connect(now, ConnKind::Request);
        let op = OpId(conn.as_u64());
        self.ops.insert(op, Op { origin, ..Op::default() });
        self.send(now, conn, request);
        self.drain(now);
        Ok(op)
    }

    /// The operation's result, once it has one; it is then forgotten, and what it gained is the caller's.
    pub fn claim(&mut self, now: Time, op: OpId) -> Option<Result<Outcome, OpError>> {
        self.tick(now);
        match self.ops.get(&op) {
            None => Some(Err(OpError::Closed)),
            Some(Op { result: None, .. }) => None,
            Some(_) => self.forget(now, op),
        }
    }

    /// The operation's owner is gone: its wait is given up, its grant given back (L4).
    pub fn cancel(&mut self, now: Time, op: OpId) {
        let result = self.forget(now, op);
        self.return_unclaimed(now, result.as_ref());
        self.tick(now);
    }

    fn forget(&mut self, now: Time, op: OpId) -> Option<Result<Outcome, OpError>> {
        let entry = self.ops.remove(&op)?;
        if let Some(by) = entry.claim_by {
            self.claims.remove(&(by, op));
        }
        // Ends the wait, if there is one.
        self.hub.disconnect(now, ConnId::new(op.0));
        self.drain(now);
        entry.result
    }

    fn return_unclaimed(&mut self, now: Time, result: Option<&Result<Outcome, OpError>>) {
        let given_back = match result {
            Some(Ok(Outcome::Granted { grant, .. })) => {
                let name = grant.names.first().cloned().unwrap_or_default();
                Request::Release(Release { name, token: grant.token })
            }
            Some(Ok(Outcome::Elected { leader })) => {
                Request::Resign(Resign { election: Arc::clone(&leader.election), term: leader.term, to: None })
            }
            _ => return,
        };
        if let Some(token) = result.and_then(|result| gained(result.as_ref().ok()?)) {
            self.held.remove(&token);
        }
        // An answer that it ended before is as good.
        drop(self.ask(now, given_back));
    }

    /// Gives a grant back.
    ///
    /// # Errors
    /// When it ended before.
    pub fn release(&mut self, now: Time, name: Arc<str>, token: Token) -> Result<(), Box<Problem>> {
        self.held.remove(&token);
        self.ask(now, Request::Release(Release { name, token })).map(drop)
    }

    /// Steps down, for the benefit of a session's candidacy if one is named: `None` names nobody, and a session that
    /// does not stand changes nothing about stepping down (E7).
    ///
    /// # Errors
    /// When the leadership ended before, or the session that was named does not stand.
    pub fn resign(
        &mut self,
        now: Time,
        election: Arc<str>,
        term: Token,
        to: Option<SessionId>,
    ) -> Result<(), Box<Problem>> {
        let resigned = self.ask(now, Request::Resign(Resign { election: Arc::clone(&election), term, to }));
        if let Err(problem) = &resigned
            && problem.code == Code::NotCandidate
        {
            drop(self.ask(now, Request::Resign(Resign { election, term, to: None })));
        }
        resigned.map(drop)
    }

    /// Asks something that is answered at once: a listing, a look at a lock or an election, a check, a steal.
    ///
    /// # Errors
    /// When it is refused.
    pub fn ask(&mut self, now: Time, request: Request) -> Result<Response, Box<Problem>> {
        self.tick(now);
        let conn = self.connect(now, ConnKind::Request);
        let op = OpId(conn.as_u64());
        self.send(now, conn, request);
        let mut answer = None;
        while let Some(output) = self.next_of_hub(now) {
            match output {
                HubOutput::Answer { conn: to, result, .. } if to == conn => answer = Some(result),
                other => self.handle(now, other),
            }
        }
        self.hub.disconnect(now, ConnId::new(op.0));
        self.drain(now);
        let unanswered = || Err(Box::new(Problem::new(Code::BadRequest, "this is not answered at once")));
        answer.unwrap_or_else(unanswered).map(|response| self.dated(now, *response))
    }

    /// Ends everything: what is held is lost, what waits is over, and nothing is taken on from here.
    pub fn close(&mut self, now: Time) {
        if self.closed {
            return;
        }
        self.closed = true;
        let held: Vec<_> =
            self.hub.held_by(self.session.id).into_iter().map(|token| (token, self.names_of(token))).collect();
        let unclaimed: BTreeSet<Token> = self.ops.values().filter_map(Op::gained).collect();
        for op in self.ops.values_mut() {
            op.result = Some(Err(OpError::Closed));
            op.claim_by = None;
        }
        self.held.clear();
        self.outputs.extend(self.ops.keys().map(|op| Output::Complete { op: *op }));
        self.claims.clear();
        drop(self.ask(now, Request::End {}));
        let reason = LostReason::Ended;
        let lost = held.into_iter().filter(|(token, _)| !unclaimed.contains(token));
        self.outputs.extend(lost.map(|(token, names)| Output::Lost { token, reason, names }));
        self.end_watches();
    }

    /// Ends the waits and claims that are due. Every call does so first.
    pub fn tick(&mut self, now: Time) {
        if now >= self.renew_at {
            self.renew_at = now + Duration::from_millis(self.ttl_ms / 3);
            self.send(now, HOME, Request::Keepalive {});
            self.drain(now);
        }
        while self.hub.next_deadline().is_some_and(|at| at <= now) {
            self.hub.tick(now);
            self.drain(now);
        }
        while let Some((by, op)) = self.claims.first().copied()
            && by <= now
        {
            self.claims.remove(&(by, op));
            let Some(entry) = self.ops.get_mut(&op) else { continue };
            entry.claim_by = None;
            self.unclaimed += 1;
            let result = entry.result.replace(Err(OpError::Unclaimed));
            self.return_unclaimed(now, result.as_ref());
        }
    }

    /// When the first claim that is outstanding runs out.
    #[cfg(test)]
    fn next_claim(&self) -> Option<Time> {
        self.claims.first().map(|(by, _)| *by)
    }

    fn connect(&mut self, now: Time, kind: ConnKind) -> ConnId {
        self.conn_last += 1;
        let conn = ConnId::new(self.conn_last);
        self.hub.connect(now, conn, kind);
        conn
    }

    fn send(&mut self, now: Time, conn: ConnId, request: Request) {
        let caller = Caller { conn, seq: 0, session: Some(self.session), entropy: 0 };
        self.hub.request(now, caller, request);
    }

    fn drain(&mut self, now: Time) {
        while let Some(output) = self.next_of_hub(now) {
            self.handle(now, output);
        }
    }

    /// The hub's next output that concerns anyone: what it writes needs no disk here.
    fn next_of_hub(&mut self, now: Time) -> Option<HubOutput> {
        loop {
            match self.hub.poll_output() {
                Some(HubOutput::Append { lsn, .. }) => self.flushed = lsn,
                Some(HubOutput::Flush { .. } | HubOutput::Close { .. }) => self.hub.flushed(now, self.flushed),
                Some(output) => return Some(output),
                None => return None,
            }
        }
    }

    fn handle(&mut self, now: Time, output: HubOutput) {
        match output {
            HubOutput::Answer { conn, result, .. } => self.answered(now, conn, result),
            HubOutput::Push { conn, event } => self.pushed(conn, event),
            HubOutput::Append { .. } | HubOutput::Flush { .. } | HubOutput::Close { .. } => {}
        }
    }

    fn answered(&mut self, now: Time, conn: ConnId, result: Result<Box<Response>, Box<Problem>>) {
        let op = OpId(conn.as_u64());
        let session = self.session.id;
        let Some(entry) = self.ops.get_mut(&op).filter(|entry| entry.result.is_none()) else {
            self.watch_answered(conn, result);
            return;
        };
        entry.result = Some(match result.map(|response| *response) {
            Ok(Response::Granted(grant)) => Ok(Outcome::Granted { grant, session }),
            Ok(Response::Elected(leader)) => Ok(Outcome::Elected { leader }),
            Ok(other) => Ok(Outcome::Answer(Box::new(other))),
            Err(problem) => Err(OpError::Refused(problem)),
        });
        if let Some(token) = entry.gained() {
            let by = now + CLAIM_TIMEOUT;
            entry.claim_by = Some(by);
            self.claims.insert((by, op));
            if let Some(origin) = entry.origin {
                self.held.insert(token, Origin { since: now, ..origin });
            }
        }
        self.outputs.push_back(Output::Complete { op });
    }

    fn pushed(&mut self, conn: ConnId, event: Event) {
        match event {
            Event::Lost { token, reason, names } => self.lost(token, reason, names),
            Event::Leader(election) => self.watch_changed(conn, election),
            _ => {}
        }
    }

    /// A grant ended against its owner's will: a guard's, or one that is still to be claimed.
    fn lost(&mut self, token: Token, reason: LostReason, names: Vec<Arc<str>>) {
        self.held.remove(&token);
        let unclaimed = self.ops.iter_mut().find(|(_, op)| op.gained() == Some(token));
        let Some((op, entry)) = unclaimed else {
            self.outputs.push_back(Output::Lost { token, reason, names });
            return;
        };
        entry.result = Some(Err(OpError::Lost(reason)));
        if let Some(by) = entry.claim_by.take() {
            self.claims.remove(&(by, *op));
        }
    }
}

impl Op {
    /// What it gained and nobody has claimed.
    fn gained(&self) -> Option<Token> {
        gained(self.result.as_ref()?.as_ref().ok()?)
    }
}

fn gained(outcome: &Outcome) -> Option<Token> {
    match outcome {
        Outcome::Granted { grant, .. } => Some(grant.token),
        Outcome::Elected { leader } => Some(leader.term),
        _ => None,
    }
}
