//! Locks: from asking to being granted (L1, L3, L4, L6, L12).

use std::sync::Arc;
use std::time::Duration;

use super::sessions::millis;
use super::want::{Want, fingerprint};
use super::{Caller, ConnKind, Hub, Mutation, Op, PastGrant, Reply, Timer, session_unknown};
use crate::id::{ConnId, Lsn, RequestId, SessionId, Token};
use crate::lock::{Blocked, Claim, Grant, Key, Space, Terms, Ticket, Wait, WaitId};
use crate::session::Asked;
use crate::time::Time;
use crate::wire::{Acquire, Class, Code, CycleMember, LostReason, Problem, Response, WAIT_MS_FOREVER};

impl Hub {
    pub(super) fn acquire(&mut self, now: Time, caller: &Caller, acquire: Acquire) -> Result<Reply, Problem> {
        let session = self.speaker(caller)?;
        let want = self.checked(acquire)?;
        self.ask(now, caller, session, want)
    }

    /// Grants, queues or refuses; a request that was asked before is answered as before (L12).
    pub(super) fn ask(&mut self, now: Time, caller: &Caller, session: SessionId, want: Want) -> Result<Reply, Problem> {
        let request = want.terms.request.clone().filter(|_| !self.config.has(Mutation::RetryIsForgotten));
        if let Some(request) = &request
            && let Some(reply) = self.answer_again(caller, session, request, &want)?
        {
            return Ok(reply);
        }
        let fingerprint = want.fingerprint();
        let reply = self.ask_first(now, caller, session, want);
        if let (Err(problem), Some(request)) = (&reply, &request)
            && matches!(problem.code, Code::LockHeld | Code::Deadlock)
        {
            self.note_refused(session, request, fingerprint, problem.clone());
        }
        reply
    }

    pub(super) fn note_refused(&mut self, session: SessionId, request: &RequestId, fingerprint: u64, problem: Problem) {
        if let Some(session) = self.sessions.get_mut(&session) {
            let refused = Asked::Refused(fingerprint, Box::new(problem));
            session.note_answered(request, refused, self.config.answers_remembered_max);
        }
    }

    fn answer_again(
        &mut self,
        caller: &Caller,
        session: SessionId,
        request: &RequestId,
        want: &Want,
    ) -> Result<Option<Reply>, Problem> {
        let Some(asked) = self.sessions.get(&session).and_then(|session| session.asked(request)) else {
            return Ok(None);
        };
        let (fingerprint_before, reply) = match asked {
            Asked::Waiting(id) => {
                let wait = self.table.wait(*id);
                (wait.map(|wait| fingerprint(&wait.keys, wait.claim)), Ok((Some(*id), Reply::Later)))
            }
            Asked::Granted(token) => {
                let token = *token;
                let grant = self.table.grant(token);
                let print = grant.map(|grant| fingerprint(&grant.keys, grant.claim));
                let reply = grant.map(|grant| Reply::After(grant.visible_from, self.granted(grant)));
                self.is_undelivered(caller.conn, token);
                self.claimed(session, token);
                (print, Ok((None, reply.unwrap_or(Reply::Later))))
            }
            Asked::Past(past) => (Some(fingerprint(&past.keys, past.claim)), self.past_answer(session, past, want)),
            Asked::Refused(fingerprint, problem) => (Some(*fingerprint), Err((**problem).clone())),
        };
        if fingerprint_before.is_some_and(|before| before != 0 && before != want.fingerprint()) {
            let detail = format!("request id {request} was used before, for something else; use a fresh one");
            return Err(Problem::new(Code::RequestReused, detail));
        }
        let (wait, reply) = reply?;
        if let Some(wait) = wait {
            let asking = self.replies.get(&wait).map_or(0, Vec::len);
            if asking >= self.config.retries_waiting_max {
                let detail = format!("request {request} was sent {asking} times and still waits; await its answer");
                return Err(Problem::new(Code::TooManyRequests, detail));
            }
            self.expect_answer(caller, session, wait);
        }
        Ok(Some(reply))
    }

    /// What the request of a grant that is over was answered with.
    fn past_answer(
        &self,
        session: SessionId,
        past: &PastGrant,
        want: &Want,
    ) -> Result<(Option<WaitId>, Reply), Problem> {
        // Whoever asks again may never have seen the first answer, and must not believe in what was taken away.
        let gone = match past.reason {
            LostReason::Released => None,
            LostReason::Unclaimed => Some("was ready while no connection was there to take it, and passed on"),
            _ => Some("was taken away before its answer was fetched"),
        };
        if let Some(how) = gone {
            return Err(Problem::new(Code::Unclaimed, format!("the grant {how}; ask again with a fresh id")));
        }
        let response = self.told(session, past.token, &past.keys, past.claim, &want.terms.value);
        Ok((None, Reply::After(self.promised, response)))
    }

    fn ask_first(&mut self, now: Time, caller: &Caller, session: SessionId, want: Want) -> Result<Reply, Problem> {
        self.admit(session, &want)?;
        let gated = self.recovery.is_some() && !self.config.has(Mutation::GateSkipped);
        if want.wait_ms == 0 && self.config.has(Mutation::FreeRefused) && self.had(session, &want) {
            return Err(self.refusal(now, &want, gated));
        }
        let barges = want.wait_ms == 0 && self.config.has(Mutation::TryBarges);
        let rank = if barges { Ticket::RANK_CHOSEN } else { want.rank };
        if !gated && self.table.is_free(&want.keys, want.claim, rank) {
            let token = self.grant(now, session, want.keys, want.claim, want.terms);
            let Some(grant) = self.table.grant(token) else { return Err(session_unknown(session)) };
            let (lsn, response) = (grant.visible_from, self.granted(grant));
            self.is_undelivered(caller.conn, token);
            return Ok(Reply::After(lsn, response));
        }
        if want.wait_ms == 0 {
            return Err(self.refusal(now, &want, gated));
        }
        self.admit_wait(session, &want)?;
        self.queue(now, caller, session, want)
    }

    /// Whether the session held the same before.
    fn had(&self, session: SessionId, want: &Want) -> bool {
        self.sessions.get(&session).is_some_and(|session| session.past_all().any(|past| past.keys == want.keys))
    }

    fn admit(&self, session: SessionId, want: &Want) -> Result<(), Problem> {
        if let Some(key) = self.table.mismatch(&want.keys, want.claim) {
            let detail = match self.table.permits_of(&key) {
                Some(permits) => format!("{:?} is in use as a semaphore of {permits} permits", key.name),
                None => format!("{:?} is in use as a plain lock, not as a semaphore", key.name),
            };
            return Err(Problem::new(Code::PermitsMismatch, detail));
        }
        let held = self.sessions.get(&session).map_or(0, |session| session.grants.len());
        if held >= self.config.grants_per_session_max {
            let detail = format!("session {session} holds {held} grants, and may hold no more; release some");
            return Err(Problem::new(Code::TooManyGrants, detail));
        }
        Ok(())
    }

    fn admit_wait(&self, session: SessionId, want: &Want) -> Result<(), Problem> {
        let refuse = |what: String| {
            let problem = Problem::new(Code::TooManyWaiters, format!("{what}; try again later"));
            Err(problem.with_retry_after_ms(1_000))
        };
        if self.table.waits_count() >= self.config.waiters_max {
            return refuse(format!("{} requests wait on this hub", self.table.waits_count()));
        }
        let own = self.sessions.get(&session).map_or(0, |session| session.waits.len());
        if own >= self.config.waiters_per_session_max {
            return refuse(format!("{own} requests of session {session} wait"));
        }
        for key in &want.keys {
            let waiting = self.table.waiters_count(key);
            if waiting >= self.config.waiters_per_name_max {
                return refuse(format!("{waiting} requests wait for {:?}", key.name));
            }
        }
        Ok(())
    }

    fn queue(&mut self, now: Time, caller: &Caller, session: SessionId, want: Want) -> Result<Reply, Problem> {
        self.wait_last = WaitId(self.wait_last.0 + 1);
        let id = self.wait_last;
        let until = (want.wait_ms < WAIT_MS_FOREVER).then(|| now + Duration::from_millis(want.wait_ms));
        let request = want.terms.request.clone();
        self.table.enqueue(Wait {
            ticket: Ticket::new(want.rank, id),
            session,
            keys: want.keys,
            claim: want.claim,
            terms: want.terms,
            since: now,
            until,
        });
        if !self.config.has(Mutation::DeadlockIgnored)
            && let Some(cycle) = self.cycle(id)
        {
            self.table.dequeue(id);
            self.stats.deadlocks_total += 1;
            return Err(self.deadlock(&cycle));
        }
        if let Some(until) = until {
            self.timers.arm(until, Timer::Wait(id));
        }
        if let Some(session) = self.sessions.get_mut(&session) {
            session.waits.insert(id);
            if let Some(request) = &request {
                session.note(request, Asked::Waiting(id));
            }
        }
        self.expect_answer(caller, session, id);
        Ok(Reply::Later)
    }

    fn cycle(&self, id: WaitId) -> Option<Vec<Blocked>> {
        let wait = self.table.wait(id).filter(|_| self.config.has(Mutation::DeadlockImagined));
        match wait.and_then(|wait| Some((wait.flow()?, wait.keys.first()?.clone()))) {
            Some((flow, key)) => Some(vec![Blocked { flow: flow.clone(), key: key.clone() }, Blocked { flow, key }]),
            None => self.table.deadlock(id),
        }
    }

    fn expect_answer(&mut self, caller: &Caller, session: SessionId, wait: WaitId) {
        self.replies.entry(wait).or_default().push((caller.conn, caller.seq));
        if let Some(conn) = self.conns.get_mut(&caller.conn).filter(|conn| conn.kind == ConnKind::Request) {
            conn.wait = Some((session, wait));
        }
    }

    fn deadlock(&self, cycle: &[Blocked]) -> Problem {
        let cycle: Vec<_> = cycle
            .iter()
            .map(|blocked| CycleMember {
                session: blocked.flow.session,
                session_name: self.session_name(blocked.flow.session),
                owner: blocked.flow.owner.clone(),
                waits_for: blocked.key.name.clone(),
            })
            .collect();
        let steps: Vec<_> =
            cycle.iter().map(|step| format!("{} waits for {:?}", step.session_name, step.waits_for)).collect();
        let detail = format!("waiting would be a deadlock: {}; release what you hold first", steps.join(", "));
        Problem::new(Code::Deadlock, detail).with_cycle(cycle)
    }

    fn refusal(&self, now: Time, want: &Want, gated: bool) -> Problem {
        if gated {
            let detail = "the hub restarted and waits for holders from before to come back; try again, or wait";
            return Problem::new(Code::Unavailable, detail).with_retry_after_ms(100);
        }
        self.held_problem(now, Code::LockHeld, &want.keys, "wait for it, or try again")
    }

    /// A refusal that says who holds the first of the names that is in the way.
    fn held_problem(&self, now: Time, code: Code, keys: &[Key], advice: &str) -> Problem {
        let holders_of = |key: &Key| self.table.holders(key).map(|grant| self.holder(now, grant)).collect::<Vec<_>>();
        let held = keys.iter().map(|key| (key, holders_of(key))).find(|(_, holders)| !holders.is_empty());
        let detail = match &held {
            Some((key, holders)) => match holders.first() {
                Some(first) => format!(
                    "{:?} is held by {} for {} ms (token {}); {advice}",
                    key.name, first.session_name, first.age_ms, first.token
                ),
                None => String::new(),
            },
            None => {
                let name = keys.first().map(|key| key.name.clone()).unwrap_or_default();
                format!("{name:?} is not to be had yet: others wait for it, or its lock-delay lasts; {advice}")
            }
        };
        Problem::new(code, detail).with_holders(held.map(|(_, holders)| holders).unwrap_or_default())
    }

    /// Makes a grant, in this input's record.
    fn grant(&mut self, now: Time, session: SessionId, keys: Vec<Key>, claim: Claim, terms: Terms) -> Token {
        let lsn = self.lsn_of_this_input();
        let (token, ceiling) = self.tokens.take(lsn);
        if let Some(ceiling) = ceiling {
            self.ops.push(Op::Reserve { ceiling });
        }
        let over_socket = self.sessions.get(&session).is_some_and(|session| session.socket);
        let visible_from = if terms.class == Class::Reclaim && over_socket { self.reclaim_visible_from() } else { lsn };
        let since_unix_ms = self.unix_ms(now);
        self.ops.push(Op::Granted { token, session, keys: keys.clone(), claim, terms: terms.clone(), since_unix_ms });
        for key in &keys {
            self.note_leader(key);
        }
        if let Some(session) = self.sessions.get_mut(&session) {
            session.grants.insert(token);
            if let Some(request) = &terms.request {
                session.note(request, Asked::Granted(token));
            }
        }
        self.table.insert(Grant { token, session, keys, claim, terms, since_unix_ms, visible_from });
        self.stats.grants_total += 1;
        token
    }

    /// Serves whoever can be served after what this input did.
    pub(super) fn serve(&mut self, now: Time) {
        if self.touched.is_empty() {
            return;
        }
        let keys = std::mem::take(&mut self.touched);
        if self.recovery.is_some() && !self.config.has(Mutation::GateSkipped) {
            return;
        }
        let mut left = keys.as_slice();
        while let Some(wait) = self.table.serve(&mut left) {
            self.hand_over(now, wait);
        }
    }

    fn hand_over(&mut self, now: Time, wait: Wait) {
        let id = wait.ticket.id();
        if let Some(until) = wait.until {
            self.timers.disarm(until, Timer::Wait(id));
        }
        let replies = self.replies.remove(&id).unwrap_or_default();
        if let Some(session) = self.sessions.get_mut(&wait.session) {
            session.waits.remove(&id);
        }
        let session = wait.session;
        let token = self.grant(now, session, wait.keys, wait.claim, wait.terms);
        let Some(grant) = self.table.grant(token) else { return };
        let (after, response) = (grant.visible_from, self.granted(grant));
        if replies.is_empty() {
            self.leave_unclaimed(now, session, token);
        }
        for (conn, seq) in replies {
            if let Some(asker) = self.conns.get_mut(&conn) {
                asker.wait = None;
            }
            self.is_undelivered(conn, token);
            self.answer(conn, seq, after, Ok(response.clone()));
        }
    }

    /// An HTTP request that goes before the disk lets its answer go is not told of its grant.
    fn is_undelivered(&mut self, conn: ConnId, token: Token) {
        let waits = self.table.grant(token).is_some_and(|grant| grant.visible_from > self.flushed);
        if let Some(asker) = self.conns.get_mut(&conn).filter(|conn| waits && conn.kind == ConnKind::Request) {
            asker.undelivered = Some(token);
            self.untold.entry(token).or_default().insert(conn);
        }
    }

    /// Nobody is there to take the grant: it passes on unless its session comes back in time (L4). Safe, because it
    /// was not sent to anyone.
    fn leave_unclaimed(&mut self, now: Time, session: SessionId, token: Token) {
        if self.config.has(Mutation::UnclaimedKept) {
            return;
        }
        let claim = self.config.claim;
        if let Some(session) = self.sessions.get_mut(&session) {
            let at = now + claim.min(session.lease.ttl / 2);
            session.unclaimed.insert(token, at);
            self.timers.arm(at, Timer::Claim(token));
        }
    }

    /// Somebody is there after all.
    fn claimed(&mut self, session: SessionId, token: Token) {
        if let Some(at) = self.sessions.get_mut(&session).and_then(|session| session.unclaimed.remove(&token)) {
            self.timers.disarm(at, Timer::Claim(token));
        }
    }

    /// Whoever waits for the name is looked at when this input is done.
    pub(super) fn touch(&mut self, key: Key) {
        self.touched.push(key);
    }

    /// A grant of the name begins or ends, in this input's record: observers are told who leads (E3). Of a candidate
    /// that comes or goes they are not.
    pub(super) fn note_leader(&mut self, key: &Key) {
        if key.space == Space::Election {
            self.elections_changed.insert(key.name.clone());
        }
    }

    pub(super) fn wait_due(&mut self, now: Time, id: WaitId) {
        let Some(wait) = self.table.wait(id) else { return };
        let (session, request) = (wait.session, wait.terms.request.clone());
        let print = fingerprint(&wait.keys, wait.claim);
        let keys = wait.keys.clone();
        let problem = self.held_problem(now, Code::WaitTimedOut, &keys, "the wait timed out");
        for (conn, seq) in self.withdraw(id) {
            self.answer(conn, seq, Lsn::new(0), Err(problem.clone()));
        }
        if let Some(request) = request {
            self.note_refused(session, &request, print, problem);
        }
    }

    pub(super) fn delay_due(&mut self, now: Time, at: Time, key: Key) {
        // The name's delay may have been extended, which armed a later timer.
        if self.table.closed_until(&key) == Some(at) {
            self.table.open(now, &key);
            self.ops.push(Op::Opens { key: key.clone() });
            self.touch(key);
        }
    }

    pub(super) fn session_name(&self, session: SessionId) -> Arc<str> {
        self.sessions.get(&session).map(|session| session.name.clone()).unwrap_or_default()
    }

    /// A grant as its holder is told of it.
    pub(super) fn granted(&self, grant: &Grant) -> Response {
        self.told(grant.session, grant.token, &grant.keys, grant.claim, &grant.terms.value)
    }

    fn told(&self, session: SessionId, token: Token, keys: &[Key], claim: Claim, value: &Arc<str>) -> Response {
        if let Some(key) = keys.first().filter(|key| key.space == Space::Election) {
            return Response::Elected(self.leader(&key.name, session, token, value));
        }
        let lease_ms = self.lease_ms(session);
        let names = keys.iter().map(|key| key.name.clone()).collect();
        Response::Granted(crate::wire::Grant { token, names, mode: claim.mode(), lease_ms })
    }

    pub(super) fn lease_ms(&self, session: SessionId) -> u64 {
        self.sessions.get(&session).map_or(0, |session| millis(session.lease.ttl))
    }
}
