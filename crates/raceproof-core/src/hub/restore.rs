//! A hub from its store: the snapshot, then every record behind it, then a start of its own.

use std::collections::BTreeSet;
use std::time::Duration;

use super::endings::past;
use super::record::{GrantState, Op, SessionState};
use super::recovery::Recovery;
use super::{Config, Hub, Mutation, Record, RestoreError, Snapshot, Timer, Tokens};
use crate::hub::sessions::millis;
use crate::id::{Lsn, SessionId, SessionKey, Token};
use crate::lock::Grant;
use crate::session::{Asked, Session};
use crate::time::Time;
use crate::wire::{Class, LostReason};

/// What only a restore keeps track of.
struct Reading {
    ceiling: Token,
    reclaim: bool,
    token_last: Token,
    now: Time,
}

impl Hub {
    /// Takes up a store: a snapshot, which holds everything up to its position, and the records behind it. Every
    /// session gets a full lease of grace (L5).
    ///
    /// # Errors
    /// When the records contradict each other. The store has checked their bytes, so this is not damage.
    pub fn restore(
        config: Config,
        snapshot: Option<(Lsn, Snapshot)>,
        records: impl IntoIterator<Item = (Lsn, Record)>,
        now: Time,
    ) -> Result<Self, RestoreError> {
        let mut hub = Self::blank(config, now);
        let zero = Token::new(0);
        let mut reading = Reading { ceiling: zero, reclaim: false, token_last: zero, now };
        if let Some((lsn, snapshot)) = snapshot {
            hub.lsn = lsn;
            hub.load(snapshot, &mut reading);
        }
        for (lsn, record) in records {
            if lsn != hub.lsn.next() {
                return Err(RestoreError::Gap { before: hub.lsn, found: lsn });
            }
            hub.lsn = lsn;
            for op in record.ops {
                hub.replay(lsn, op, &mut reading)?;
            }
        }
        hub.flushed = hub.lsn;
        hub.flush_wished = hub.lsn;
        hub.promised = hub.lsn;
        hub.settle(&reading);
        hub.start(now);
        Ok(hub)
    }

    fn load(&mut self, snapshot: Snapshot, reading: &mut Reading) {
        self.epoch = snapshot.epoch;
        self.session_last = snapshot.session_last;
        reading.ceiling = snapshot.ceiling;
        reading.reclaim = snapshot.reclaim;
        reading.token_last = snapshot.token_last;
        for state in snapshot.sessions {
            let key = SessionKey { id: state.id, secret: state.secret };
            let ttl = Duration::from_millis(state.ttl_ms);
            let mut session = Session::new(key, state.name, ttl, state.on_disconnect, reading.now);
            session.socket = state.socket;
            for past in state.past {
                session.note_past(past, self.config.answers_remembered_max);
            }
            self.sessions.insert(state.id, Box::new(session));
        }
        for state in snapshot.grants {
            let GrantState { token, session, keys, claim, terms, since_unix_ms } = state;
            let visible_from = Lsn::new(0);
            self.insert_restored(Grant { token, session, keys, claim, terms, since_unix_ms, visible_from });
        }
        for (key, delay_ms) in snapshot.delays {
            self.table.close(key, reading.now + Duration::from_millis(delay_ms));
        }
    }

    fn insert_restored(&mut self, grant: Grant) {
        if grant.terms.class == Class::Reclaim && self.config.has(Mutation::ReclaimForgotten) {
            return;
        }
        if let Some(session) = self.sessions.get_mut(&grant.session) {
            session.grants.insert(grant.token);
            if let Some(request) = &grant.terms.request {
                session.note(request, Asked::Granted(grant.token));
            }
        }
        self.table.insert(grant);
    }

    fn replay(&mut self, lsn: Lsn, op: Op, reading: &mut Reading) -> Result<(), RestoreError> {
        match op {
            Op::Start { epoch } => self.epoch = epoch,
            Op::Reserve { ceiling } => reading.ceiling = ceiling,
            Op::ReclaimBegins => reading.reclaim = true,
            Op::ReclaimSettled => {
                reading.reclaim = false;
                // Grants that the log does not know may have reached the end of the block, and it goes on behind it.
                reading.token_last = reading.token_last.max(reading.ceiling);
            }
            Op::Opened { id, secret, name, ttl_ms, on_disconnect, socket } => {
                let key = SessionKey { id, secret };
                let ttl = Duration::from_millis(ttl_ms);
                let mut session = Session::new(key, name, ttl, on_disconnect, reading.now);
                session.socket = socket;
                self.sessions.insert(id, Box::new(session));
                self.session_last = self.session_last.max(id);
            }
            Op::Ended { id, reason } => self.replay_end(id, reason, reading.now),
            Op::Granted { token, session, keys, claim, terms, since_unix_ms } => {
                if !self.sessions.contains_key(&session) {
                    return Err(RestoreError::NoSession { lsn, token, session });
                }
                // A grant that was taken up again after a crash comes behind greater ones.
                reading.token_last = reading.token_last.max(token);
                let visible_from = Lsn::new(0);
                self.insert_restored(Grant { token, session, keys, claim, terms, since_unix_ms, visible_from });
            }
            Op::Released { token, reason } => self.replay_release(token, reason),
            Op::Opens { key } => self.table.open(Time::MAX, &key),
        }
        Ok(())
    }

    fn replay_end(&mut self, id: SessionId, reason: LostReason, now: Time) {
        let Some(session) = self.sessions.remove(&id) else { return };
        for token in session.grants {
            let Some(grant) = self.table.remove(token) else { continue };
            if reason == LostReason::Expired && grant.terms.lock_delay_ms > 0 {
                let until = now + Duration::from_millis(grant.terms.lock_delay_ms);
                for key in grant.keys {
                    self.table.close(key, until);
                }
            }
        }
    }

    fn replay_release(&mut self, token: Token, reason: LostReason) {
        let Some(grant) = self.table.remove(token) else { return };
        if let Some(session) = self.sessions.get_mut(&grant.session) {
            session.grants.remove(&token);
            session.note_past(past(grant, reason), self.config.answers_remembered_max);
        }
    }

    /// Arms what the records leave to be waited for.
    fn settle(&mut self, reading: &Reading) {
        let now = reading.now;
        for session in self.sessions.values_mut() {
            if self.config.has(Mutation::NoGrace) {
                session.lease.expires = now;
                session.lease.timer = now;
            }
            self.timers.arm(session.lease.timer, Timer::Lease(session.id));
        }
        let delays: Vec<_> = self.table.delays().map(|(key, until)| (key.clone(), until)).collect();
        for (key, until) in delays {
            self.timers.arm(until, Timer::Delay(key));
        }
        // Without reclaim-class grants every token that was heard of is in the log; with them, the block's end is
        // what bounds them.
        let last = if reading.reclaim { reading.ceiling.max(reading.token_last) } else { reading.token_last };
        let last = if self.config.has(Mutation::TokenRestarts) { Token::new(0) } else { last };
        self.tokens = Tokens::new(last, last, self.config.token_block);
        if reading.reclaim {
            let sockets = self.sessions.values().filter(|session| session.socket).map(|session| session.id);
            let awaited: BTreeSet<_> = sockets.collect();
            self.reclaim = true;
            self.recovery = Some(Recovery { awaited, token_max: last });
        }
    }

    /// Writes the start of this run, and lets go at once what a recovery has nobody to wait for.
    pub(super) fn start(&mut self, now: Time) {
        self.epoch = self.epoch.next();
        self.ops.push(Op::Start { epoch: self.epoch });
        self.returned(SessionId::new(0));
        self.finish(now);
    }

    /// The state that everything up to [`Self::lsn`] amounts to.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let sessions = self.sessions.values().map(|session| SessionState {
            id: session.id,
            secret: session.key().secret,
            name: session.name.clone(),
            ttl_ms: millis(session.lease.ttl),
            on_disconnect: session.on_disconnect,
            socket: session.socket,
            past: session.past_all().cloned().collect(),
        });
        let grants = self.table.grants().map(|grant| GrantState {
            token: grant.token,
            session: grant.session,
            keys: grant.keys.clone(),
            claim: grant.claim,
            terms: grant.terms.clone(),
            since_unix_ms: grant.since_unix_ms,
        });
        let delays = self.table.delays().map(|(key, until)| (key.clone(), millis(until.since(self.called))));
        Snapshot {
            epoch: self.epoch,
            token_last: self.tokens.last(),
            ceiling: self.tokens.ceiling(),
            reclaim: self.reclaim,
            session_last: self.session_last,
            sessions: sessions.collect(),
            grants: grants.collect(),
            delays: delays.collect(),
        }
    }
}
