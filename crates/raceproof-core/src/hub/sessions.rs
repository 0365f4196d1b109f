//! Sessions: opening, resuming, renewing, ending; connections that come and go (L5, L8, L11).

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Caller, Conn, ConnKind, Hub, Op, Output, Reply, Timer, session_unknown};
use crate::hub::Mutation;
use crate::id::{ConnId, Lsn, RequestId, SessionId, SessionKey, Token};
use crate::lock::WaitId;
use crate::session::Session;
use crate::time::Time;
use crate::wire::{Code, Event, LostReason, OnDisconnect, Open, Problem, Response, Resume};

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

impl Hub {
    pub(super) fn open(&mut self, now: Time, caller: &Caller, open: Open) -> Result<Reply, Problem> {
        self.admit_session(caller, &open)?;
        self.session_last = self.session_last.next();
        let key = SessionKey { id: self.session_last, secret: caller.entropy };
        let socket = self.conns.get(&caller.conn).is_some_and(|conn| conn.kind == ConnKind::Socket);
        let ttl = Duration::from_millis(open.ttl_ms);
        let mut session = Session::new(key, open.name.clone(), ttl, open.on_disconnect, now);
        session.socket = socket;
        if socket {
            session.conn = Some(caller.conn);
            if let Some(conn) = self.conns.get_mut(&caller.conn) {
                conn.session = Some(key.id);
            }
        }
        self.timers.arm(session.lease.expires, Timer::Lease(key.id));
        self.sessions.insert(key.id, Box::new(session));
        self.ops.push(Op::Opened {
            id: key.id,
            secret: key.secret,
            name: open.name,
            ttl_ms: open.ttl_ms,
            on_disconnect: open.on_disconnect,
            socket,
        });
        let opened = Response::Opened { session: key, ttl_ms: open.ttl_ms, epoch: self.epoch };
        Ok(Reply::After(self.lsn_of_this_input(), opened))
    }

    fn admit_session(&self, caller: &Caller, open: &Open) -> Result<(), Problem> {
        let Some(conn) = self.conns.get(&caller.conn) else {
            return Err(Problem::new(Code::BadRequest, "the connection is gone"));
        };
        if let Some(bound) = conn.session {
            let detail =
                format!("this connection already speaks for session {bound}; end it, or open another connection");
            return Err(Problem::new(Code::BadRequest, detail));
        }
        if open.name.len() > self.config.name_bytes_max {
            let max = self.config.name_bytes_max;
            let detail = format!("a session's name has at most {max} bytes; this one has {}", open.name.len());
            return Err(Problem::new(Code::NameInvalid, detail));
        }
        let (min, max) = (self.config.ttl_ms_min, self.config.ttl_ms_max);
        if !(min..=max).contains(&open.ttl_ms) {
            let detail = format!("a lease lasts {min} to {max} ms; {} was asked for", open.ttl_ms);
            return Err(Problem::new(Code::TtlOutOfRange, detail));
        }
        if self.sessions.len() >= self.config.sessions_max {
            let detail = format!("{} sessions are open, and no more are taken; try again later", self.sessions.len());
            return Err(Problem::new(Code::TooManySessions, detail).with_retry_after_ms(1_000));
        }
        Ok(())
    }

    pub(super) fn resume(&mut self, now: Time, caller: &Caller, resume: Resume) -> Result<Reply, Problem> {
        let id = self.speaker(&Caller { session: Some(resume.session), ..*caller })?;
        match self.conns.get(&caller.conn) {
            Some(conn) if conn.kind == ConnKind::Request => {
                let detail = "a session is resumed on a WebSocket; over HTTP, renew it with keepalive";
                return Err(Problem::new(Code::BadRequest, detail));
            }
            Some(conn) if conn.session.is_some_and(|bound| bound != id) => {
                return Err(Problem::new(Code::BadRequest, "this connection already speaks for another session"));
            }
            _ => {}
        }
        if let Some(session) = self.sessions.get_mut(&id) {
            // What a connection says that its client has given up would undo what was granted since (L1).
            if resume.attempt < session.attempt && !self.config.has(Mutation::StaleResume) {
                return Err(Problem::new(Code::BadRequest, "a later connection has resumed this session"));
            }
            session.attempt = resume.attempt;
        }
        self.bind(id, caller.conn);
        let Some(session) = self.sessions.get_mut(&id) else { return Err(session_unknown(id)) };
        session.renew(now);
        let ttl_ms = millis(session.lease.ttl);
        for (token, at) in std::mem::take(&mut session.unclaimed) {
            self.timers.disarm(at, Timer::Claim(token));
        }
        let reported = self.reconcile(now, id, resume.held, &resume.pending);
        self.returned(id);
        let held = self.sessions.get(&id).map(|session| session.grants.clone()).unwrap_or_default();
        let lost = reported.difference(&held).copied().collect();
        let epoch = self.epoch;
        let held = held.intersection(&reported).copied().collect();
        // What it says of grants has to outlast a crash, as the grants do.
        let after = if self.ops.is_empty() { self.promised } else { self.lsn_of_this_input() };
        Ok(Reply::After(after, Response::Resumed { ttl_ms, epoch, held, lost }))
    }

    fn bind(&mut self, id: SessionId, to: ConnId) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        if let Some(old) = session.conn.replace(to).filter(|old| *old != to) {
            if let Some(conn) = self.conns.get_mut(&old) {
                conn.session = None;
            }
            self.push(old, Lsn::new(0), Event::SessionEnded { reason: LostReason::Superseded });
            self.staged.push((Lsn::new(0), Output::Close { conn: old }));
        }
        if let Some(conn) = self.conns.get_mut(&to) {
            conn.session = Some(id);
        }
    }

    /// Makes the hub's view of a session and the client's the same. What the client does not believe in is released:
    /// its release was lost. What it still waits for is kept, granted or not.
    fn reconcile(
        &mut self,
        now: Time,
        id: SessionId,
        held: Vec<crate::wire::Held>,
        pending: &[RequestId],
    ) -> BTreeSet<Token> {
        let reported: BTreeSet<Token> = held.iter().map(|held| held.token).collect();
        let Some(session) = self.sessions.get(&id) else { return reported };
        let (tokens, waits) = (session.grants.clone(), session.waits.clone());
        for token in tokens.difference(&reported) {
            let request = self.table.grant(*token).and_then(|grant| grant.terms.request.as_ref());
            if !request.is_some_and(|request| pending.contains(request)) {
                self.end_grant(*token, LostReason::Released);
            }
        }
        for wait in waits {
            let request = self.table.wait(wait).and_then(|wait| wait.terms.request.as_ref());
            if !request.is_some_and(|request| pending.contains(request)) {
                self.drop_wait(wait);
            }
        }
        for held in held {
            if !tokens.contains(&held.token) {
                self.reclaim_grant(now, id, held);
            }
        }
        reported
    }

    pub(super) fn keepalive(&mut self, now: Time, caller: &Caller) -> Result<Reply, Problem> {
        let id = self.speaker(caller)?;
        let Some(session) = self.sessions.get_mut(&id) else { return Err(session_unknown(id)) };
        session.renew(now);
        Ok(Reply::Now(Response::Renewed { ttl_ms: millis(session.lease.ttl) }))
    }

    /// The server stood still for `gap`.
    pub(super) fn spare_all(&mut self, now: Time, gap: Duration) {
        self.stats.stalls_total += 1;
        if self.config.has(Mutation::NoGrace) || self.config.has(Mutation::StallUnspared) {
            return;
        }
        let gap = if self.config.has(Mutation::StallChargedAgain) { Duration::ZERO } else { gap };
        let again = self.config.has(Mutation::StallGracedAgain);
        for session in self.sessions.values_mut() {
            if again { session.renew(now) } else { session.spare(now, gap) }
        }
    }

    pub(super) fn end(&mut self, now: Time, caller: &Caller) -> Result<Reply, Problem> {
        let id = self.speaker(caller)?;
        self.end_session(now, id, LostReason::Ended, Some(caller.conn));
        Ok(Reply::Now(Response::Ended {}))
    }

    pub(super) fn lease_due(&mut self, now: Time, id: SessionId) {
        let late = if self.config.has(Mutation::ExpiryLate) { Duration::from_secs(1) } else { Duration::ZERO };
        match self.sessions.get_mut(&id) {
            Some(session) if session.lease.expires + late > now => {
                session.lease.timer = session.lease.expires + late;
                self.timers.arm(session.lease.timer, Timer::Lease(id));
            }
            Some(_) => {
                self.stats.expiries_total += 1;
                self.end_session(now, id, LostReason::Expired, None);
            }
            None => {}
        }
    }

    /// Ends a session with everything it holds and waits for, in one record. Whoever ended it knows; a holder on a
    /// socket that did not is told, and must not bring back after a crash what was granted on meanwhile.
    fn end_session(&mut self, now: Time, id: SessionId, reason: LostReason, by: Option<ConnId>) {
        let Some(session) = self.sessions.remove(&id) else { return };
        self.ops.push(Op::Ended { id, reason });
        if by.is_none() || session.socket && by != session.conn {
            self.revoked = self.lsn_of_this_input();
        }
        self.timers.disarm(session.lease.timer, Timer::Lease(id));
        for (token, at) in &session.unclaimed {
            self.timers.disarm(*at, Timer::Claim(*token));
        }
        for wait in &session.waits {
            if self.config.has(Mutation::EndedSessionServed) {
                continue;
            }
            let is_candidate = self.table.wait(*wait).is_some_and(|wait| !wait.terms.flows);
            let replies = self.withdraw(*wait);
            if is_candidate && self.config.has(Mutation::CandidateForgotten) {
                continue;
            }
            for (conn, seq) in replies {
                self.answer(conn, seq, Lsn::new(0), Err(session_unknown(id)));
            }
        }
        let is_its = |token: Token| session.grants.contains(&token) || session.past(token).is_some();
        self.recall(is_its, &session_unknown(id));
        for token in &session.grants {
            self.retire(now, *token, reason);
        }
        if let Some(conn) = session.conn {
            if let Some(bound) = self.conns.get_mut(&conn) {
                bound.session = None;
            }
            if by != Some(conn) {
                self.push(conn, Lsn::new(0), Event::SessionEnded { reason });
            }
        }
        self.returned(id);
    }

    /// Takes a grant of an ended session out of the table, and closes its names if their lock-delay calls for it.
    fn retire(&mut self, now: Time, token: Token, reason: LostReason) {
        let Some(grant) = self.table.remove(token) else { return };
        self.stats.releases_total += 1;
        for key in grant.keys {
            if reason == LostReason::Expired && grant.terms.lock_delay_ms > 0 {
                let until = now + Duration::from_millis(grant.terms.lock_delay_ms);
                self.table.close(key.clone(), until);
                self.timers.arm(until, Timer::Delay(key.clone()));
            }
            self.note_leader(&key);
            self.touch(key);
        }
    }

    /// A connection went: what was bound to it comes loose.
    pub(super) fn part(&mut self, now: Time, id: ConnId, conn: Conn) {
        for election in &conn.observed {
            self.stop_observing(election, id);
        }
        match conn.kind {
            ConnKind::Socket => self.part_socket(now, id, conn.session),
            ConnKind::Request => self.part_request(id, &conn),
        }
    }

    fn part_socket(&mut self, now: Time, id: ConnId, session: Option<SessionId>) {
        let Some(session) = session.and_then(|id| self.sessions.get_mut(&id)) else { return };
        if session.conn != Some(id) {
            return;
        }
        session.conn = None;
        let (sid, waits) = (session.id, session.waits.clone());
        let ends = session.on_disconnect == OnDisconnect::End || self.config.has(Mutation::ConnectionEndsAll);
        if ends && !self.config.has(Mutation::ConnectionEndsNone) {
            self.end_session(now, sid, LostReason::Disconnected, None);
            return;
        }
        for wait in waits {
            // Without an id it could not be found again.
            if self.table.wait(wait).is_some_and(|wait| wait.terms.request.is_none()) {
                self.drop_wait(wait);
            } else if let Some(replies) = self.replies.get_mut(&wait) {
                replies.retain(|(conn, _)| *conn != id);
            }
        }
    }

    /// The client of an HTTP request closed it: its wait is cancelled, and a grant that it was not told of is given
    /// back (L4).
    fn part_request(&mut self, id: ConnId, conn: &Conn) {
        if let Some((_, wait)) = conn.wait {
            let replies = self.replies.get_mut(&wait).map(|replies| {
                replies.retain(|(conn, _)| *conn != id);
                replies.is_empty()
            });
            if replies == Some(true) {
                self.drop_wait(wait);
            }
        }
        if let Some(token) = conn.undelivered.filter(|_| !self.config.has(Mutation::UndeliveredKept)) {
            self.not_told(id, token);
        }
    }

    /// Takes a wait out of every queue and forgets that it was asked, so that the same id may ask again.
    fn drop_wait(&mut self, wait: WaitId) {
        let Some((session, request)) = self.table.wait(wait).map(|wait| (wait.session, wait.terms.request.clone()))
        else {
            return;
        };
        self.withdraw(wait);
        if let (Some(session), Some(request)) = (self.sessions.get_mut(&session), request) {
            session.forget(&request);
        }
    }

    /// Takes a wait out of every queue; returns who waits for its answer.
    pub(super) fn withdraw(&mut self, id: WaitId) -> Vec<(ConnId, u64)> {
        let replies = self.replies.remove(&id).unwrap_or_default();
        for (conn, _) in &replies {
            if let Some(conn) = self.conns.get_mut(conn) {
                conn.wait = None;
            }
        }
        let Some(wait) = self.table.dequeue(id) else { return replies };
        if let Some(until) = wait.until {
            self.timers.disarm(until, Timer::Wait(id));
        }
        if let Some(session) = self.sessions.get_mut(&wait.session) {
            session.waits.remove(&id);
        }
        for key in wait.keys {
            self.touch(key);
        }
        replies
    }

    pub(super) fn claim_due(&mut self, token: Token) {
        let session = self.table.grant(token).map(|grant| grant.session);
        if let Some(session) = session.and_then(|id| self.sessions.get_mut(&id)) {
            session.unclaimed.remove(&token);
        }
        self.end_grant(token, LostReason::Unclaimed);
    }
}
