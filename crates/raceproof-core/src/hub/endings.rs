//! How grants and waits end: released, cancelled, taken away by an operator (L4, L10, L12).

use std::sync::Arc;

use super::{Caller, Hub, Mutation, Op, Output, PastGrant, Reply, Timer};
use crate::id::{ConnId, Lsn, RequestId, SessionId, Token};
use crate::lock::{Grant, Key};
use crate::session::Asked;
use crate::wire::{Code, Event, LostReason, Problem, Release, Response};

impl Hub {
    pub(super) fn release(&mut self, caller: &Caller, release: &Release) -> Result<Reply, Problem> {
        let session = self.speaker(caller)?;
        let key = Key::lock(release.name.clone());
        let token = if self.config.has(Mutation::ReleaseByName) {
            let any = self.table.holders(&key).next().map(|grant| grant.token);
            any.unwrap_or(release.token)
        } else {
            release.token
        };
        self.give_back(session, &key, token)?;
        Ok(self.once_given_back(session, Response::Released {}))
    }

    /// A session on a socket says what it holds when it comes back after a crash, so that a release that was lost with
    /// the crash is done then, and need not be on disk before its answer. One over HTTP never says; and what it asks to
    /// be over may have ended a moment before, when its connection went.
    pub(super) fn once_given_back(&self, session: SessionId, response: Response) -> Reply {
        if self.sessions.get(&session).is_some_and(|session| session.socket) {
            return Reply::Now(response);
        }
        Reply::After(if self.ops.is_empty() { self.lsn } else { self.lsn_of_this_input() }, response)
    }

    /// Ends a grant that its holder gives back. A retry finds it over, and is answered as the first time.
    pub(super) fn give_back(&mut self, session: SessionId, key: &Key, token: Token) -> Result<(), Problem> {
        let by_name = self.config.has(Mutation::ReleaseByName);
        match self.table.grant(token) {
            Some(grant) if (grant.session == session || by_name) && grant.keys.contains(key) => {
                self.end_grant(token, LostReason::Released);
                if self.config.has(Mutation::WakeAll) {
                    self.send_all_away(key);
                }
                Ok(())
            }
            _ => match self.sessions.get(&session).and_then(|session| session.past(token)) {
                Some(past) if past.keys.contains(key) && past.reason == LostReason::Released => Ok(()),
                Some(past) => {
                    let reason = past.reason.as_str();
                    let detail = format!("token {token} of {:?} is no longer held: {reason}", key.name);
                    Err(Problem::new(Code::NotHolder, detail))
                }
                None => {
                    let detail = format!("session {session} does not hold {:?} with token {token}", key.name);
                    Err(Problem::new(Code::NotHolder, detail))
                }
            },
        }
    }

    /// Sends away everyone who waits for a name: a bug that the simulator must notice.
    fn send_all_away(&mut self, key: &Key) {
        let waits: Vec<_> = self.table.waiters(key).map(|wait| wait.ticket.id()).collect();
        for wait in waits {
            for (conn, seq) in self.withdraw(wait) {
                let problem = Problem::new(Code::LockHeld, "the lock was released; try again");
                self.answer(conn, seq, Lsn::new(0), Err(problem));
            }
        }
    }

    /// Ends a grant of a session that lives on, remembers it, and tells the holder if it was not its doing.
    pub(super) fn end_grant(&mut self, token: Token, reason: LostReason) {
        let Some(grant) = self.table.remove(token) else { return };
        self.ops.push(Op::Released { token, reason });
        self.stats.releases_total += 1;
        if reason != LostReason::Released {
            self.revoked = self.lsn_of_this_input();
        }
        for key in &grant.keys {
            if self.config.has(Mutation::EntryDroppedWhileWaited) {
                self.table.forget_queue(key);
            }
            self.note_leader(key);
            self.touch(key.clone());
        }
        let Some(session) = self.sessions.get_mut(&grant.session) else { return };
        session.grants.remove(&token);
        if let Some(at) = session.unclaimed.remove(&token) {
            self.timers.disarm(at, Timer::Claim(token));
        }
        let names = grant.keys.iter().map(|key| key.name.clone()).collect();
        let visible_from = grant.visible_from;
        session.note_past(past(grant, reason), self.config.answers_remembered_max);
        if let Some(conn) = session.conn.filter(|_| reason != LostReason::Released) {
            // Behind the grant's own answer, or its holder would learn of the loss first and believe ever after.
            self.push(conn, visible_from, Event::Lost { token, names, reason });
        }
    }

    pub(super) fn cancel(&mut self, caller: &Caller, request: &RequestId) -> Result<Reply, Problem> {
        let session = self.speaker(caller)?;
        self.check_short(request.as_str())?;
        let cancelled = || Problem::new(Code::Cancelled, format!("request {request} was cancelled"));
        match self.sessions.get(&session).and_then(|session| session.asked(request)).cloned() {
            Some(Asked::Waiting(_)) if self.config.has(Mutation::CancelledKeepsPlace) => {}
            Some(Asked::Waiting(wait)) => {
                for (conn, seq) in self.withdraw(wait) {
                    self.answer(conn, seq, Lsn::new(0), Err(cancelled()));
                }
                self.note_refused(session, request, 0, cancelled());
            }
            Some(Asked::Granted(token)) => {
                self.end_grant(token, LostReason::Released);
                self.recall(|told| told == token, &cancelled());
                self.note_refused(session, request, 0, cancelled());
            }
            Some(Asked::Past(past)) => self.recall(|told| told == past.token, &cancelled()),
            Some(Asked::Refused(..)) => {}
            // It may have overtaken what it cancels.
            None => self.note_refused(session, request, 0, cancelled()),
        }
        Ok(self.once_given_back(session, Response::Cancelled {}))
    }

    /// Grants are over before anybody heard of them: whoever waits for their answers hears of the end instead.
    pub(super) fn recall(&mut self, is_over: impl Fn(Token) -> bool, problem: &Problem) {
        for (_, output) in &mut self.held {
            if let Output::Answer { result, .. } = output
                && grant_in(result).is_some_and(&is_over)
            {
                *result = Err(Box::new(problem.clone()));
            }
        }
    }

    /// An HTTP request went before it was told of its grant. If no other copy of it was told or will be, the grant is
    /// given back (L4), and the request may be made anew.
    pub(super) fn not_told(&mut self, conn: ConnId, token: Token) {
        let Some(copies) = self.untold.get_mut(&token) else { return };
        copies.remove(&conn);
        if !copies.is_empty() {
            return;
        }
        self.untold.remove(&token);
        let holder = self.table.grant(token).map(|grant| (grant.session, grant.terms.request.clone()));
        let Some((session, request)) = holder else { return };
        // After a crash only the record tells that a retry must not be answered with it.
        self.end_grant(token, LostReason::Unclaimed);
        if let (Some(session), Some(request)) = (self.sessions.get_mut(&session), request) {
            session.forget_answer(&request);
        }
    }

    pub(super) fn steal(&mut self, name: &Arc<str>) -> Result<Reply, Problem> {
        self.check_name(name)?;
        let tokens: Vec<_> = self.table.holders(&Key::lock(name.clone())).map(|grant| grant.token).collect();
        for token in &tokens {
            self.end_grant(*token, LostReason::Stolen);
        }
        // An operator acts on it, so it must not come back after a crash.
        Ok(Reply::After(
            if tokens.is_empty() { self.promised } else { self.lsn_of_this_input() },
            Response::Stolen { tokens },
        ))
    }
}

fn grant_in(answer: &Result<Box<Response>, Box<Problem>>) -> Option<Token> {
    match answer.as_deref() {
        Ok(Response::Granted(grant)) => Some(grant.token),
        Ok(Response::Elected(leader)) => Some(leader.term),
        _ => None,
    }
}

pub(super) fn past(grant: Grant, reason: LostReason) -> PastGrant {
    PastGrant { token: grant.token, keys: grant.keys, claim: grant.claim, request: grant.terms.request, reason }
}
