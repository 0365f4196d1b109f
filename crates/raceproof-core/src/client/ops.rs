//! Operations: taken on, sent, sent again, given up, and claimed (L4, L12).

use std::sync::Arc;
use std::time::Duration;

use super::connection::{InFlight, Link};
use super::error::{OpError, Refused, RefusedReason};
use super::op::{Belief, Op, OpId, Outcome, Phase, Query, wait_until};
use super::timers::Timer;
use super::{Client, Mutation, Output};
use crate::id::{RequestId, SessionId, Token};
use crate::time::Time;
use crate::wire::{Acquire, Campaign, Code, LostReason, Problem, Release, Request, Resign};

/// How much longer than asked for a wait may take, for the hub's answer to arrive.
const WAIT_SLACK: Duration = Duration::from_millis(500);

impl Client {
    /// Takes locks. The request id is the client's to choose; what stands there is replaced.
    ///
    /// # Errors
    /// Gives the request back when the client takes no more.
    pub fn acquire(&mut self, now: Time, mut acquire: Acquire) -> Result<OpId, Refused<Acquire>> {
        if let Some(reason) = self.refusal(true) {
            return Err(Refused { item: acquire, reason });
        }
        let op = self.next_op();
        acquire.request = Some(request_id(op));
        let until = wait_until(now, acquire.wait_ms);
        Ok(self.start(now, op, Request::Acquire(acquire), until))
    }

    /// Stands for election.
    ///
    /// # Errors
    /// Gives the request back when the client takes no more.
    pub fn campaign(&mut self, now: Time, mut campaign: Campaign) -> Result<OpId, Refused<Campaign>> {
        if let Some(reason) = self.refusal(true) {
            return Err(Refused { item: campaign, reason });
        }
        let op = self.next_op();
        campaign.request = Some(request_id(op));
        let until = wait_until(now, campaign.wait_ms);
        Ok(self.start(now, op, Request::Campaign(campaign), until))
    }

    /// Asks something.
    ///
    /// # Errors
    /// Gives the query back when the client takes no more.
    pub fn query(&mut self, now: Time, query: Query) -> Result<OpId, Refused<Query>> {
        match self.refusal(false) {
            Some(reason) => Err(Refused { item: query, reason }),
            None => {
                let op = self.next_op();
                Ok(self.start(now, op, *query.0, Some(now)))
            }
        }
    }

    /// Gives a claimed grant or leadership back. It is not believed in from here on; the operation completes when the
    /// hub has answered, or with [`OpError::Lost`] when the lease ended first. None if it is not believed in.
    ///
    /// Never refused: there are no more releases than there were grants.
    pub fn release(&mut self, now: Time, token: Token) -> Option<OpId> {
        self.give_back_claimed(now, token, None)
    }

    /// Gives a leadership to a candidate, by its session (E7). Otherwise like [`Client::release`].
    pub fn transfer(&mut self, now: Time, term: Token, to: SessionId) -> Option<OpId> {
        self.give_back_claimed(now, term, Some(to))
    }

    /// Ends the session and everything with it. What still waits completes with [`OpError::Closed`]; the operation
    /// itself when the hub has answered, or when the lease is over or the hub cannot be reached in time.
    pub fn close(&mut self, now: Time) -> OpId {
        let op = self.next_op();
        self.closing = true;
        self.abandon_all(&OpError::Closed);
        for belief in std::mem::take(&mut self.beliefs).into_values() {
            self.lost(&belief, LostReason::Ended);
        }
        self.start(now, op, Request::End {}, Some(now));
        if self.session.is_none() {
            self.finish_close(now);
        }
        self.announce();
        op
    }

    /// The operation's result, once. A grant that is not claimed in time is given back (L4).
    pub fn claim(&mut self, now: Time, op: OpId) -> Option<Result<Outcome, OpError>> {
        if !self.config.has(Mutation::ClaimUnlooked) {
            self.tick(now);
        }
        let entry = self.ops.get(&op)?;
        if !matches!(entry.phase, Phase::Done(_)) {
            return None;
        }
        let Some(Op { phase: Phase::Done(result), .. }) = self.forget(op) else { return None };
        if let Ok(outcome) = &result
            && let Some(belief) = token_of(outcome).and_then(|token| self.beliefs.get_mut(&token))
            && let Some((_, by)) = belief.unclaimed.take()
        {
            self.timers.stop(by, Timer::Claim(belief.token));
        }
        Some(result)
    }

    /// Nobody waits for the operation any more. A wait is given up; a release goes on.
    pub fn cancel(&mut self, now: Time, op: OpId) {
        let Some(entry) = self.ops.get_mut(&op) else { return };
        match &entry.phase {
            Phase::Done(result) => {
                let token = result.as_ref().ok().and_then(token_of);
                self.forget(op);
                if let Some(token) = token {
                    self.return_unclaimed(now, token);
                }
            }
            Phase::Open if entry.gives_back() => entry.phase = Phase::Orphan,
            Phase::Open if entry.takes() && self.config.has(Mutation::CancelUnsent) => {
                self.forget(op);
            }
            Phase::Open if entry.takes() && (entry.sent.is_some() || entry.ambiguous) => {
                entry.phase = Phase::Orphan;
                self.unwait(op);
                self.send_cancel(op);
            }
            Phase::Open if matches!(entry.request, Request::End {}) => {}
            Phase::Open => {
                self.forget(op);
            }
            Phase::Orphan => {}
        }
        self.tick(now);
    }

    /// The id that the operation is known by at the hub, for [`Request::Why`].
    #[must_use]
    pub fn request_id(&self, op: OpId) -> Option<RequestId> {
        match &self.ops.get(&op)?.request {
            Request::Acquire(acquire) => acquire.request.clone(),
            Request::Campaign(campaign) => campaign.request.clone(),
            _ => None,
        }
    }

    fn refusal(&self, needs_session: bool) -> Option<RefusedReason> {
        if self.closing {
            Some(RefusedReason::Closed)
        } else if matches!(self.link, Link::Over) {
            Some(self.failure.clone().map_or(RefusedReason::Closed, RefusedReason::Failed))
        } else if needs_session && !self.config.session {
            Some(RefusedReason::NoSession)
        } else if self.ops.len() >= self.config.pending_max {
            Some(RefusedReason::Full { limit: self.config.pending_max })
        } else {
            None
        }
    }

    const fn next_op(&mut self) -> OpId {
        self.ops_started += 1;
        OpId(self.ops_started)
    }

    /// `wait_until` is when the wait asked for is over; the answer may take somewhat longer.
    fn start(&mut self, now: Time, op: OpId, request: Request, wait_until: Option<Time>) -> OpId {
        let slack = match wait_until {
            Some(until) if until > now => self.config.answer_timeout.min(WAIT_SLACK),
            _ => self.config.answer_timeout,
        };
        let due = wait_until.map(|until| until + slack);
        if let Some(due) = due {
            self.timers.start(due, Timer::Op(op));
        }
        let waits = wait_until.is_some_and(|until| until > now);
        self.ops.insert(op, Op::new(request, wait_until, due, waits));
        self.send_op(now, op);
        self.tick(now);
        op
    }

    fn give_back_claimed(&mut self, now: Time, token: Token, to: Option<SessionId>) -> Option<OpId> {
        self.tick(now);
        if self.beliefs.get(&token)?.unclaimed.is_some() {
            return None;
        }
        self.give_back(now, token, to)
    }

    fn give_back(&mut self, now: Time, token: Token, to: Option<SessionId>) -> Option<OpId> {
        let belief = self.beliefs.remove(&token)?;
        if let Some((_, by)) = belief.unclaimed {
            self.timers.stop(by, Timer::Claim(token));
        }
        let request = match &*belief.request {
            Request::Campaign(campaign) => {
                Request::Resign(Resign { election: Arc::clone(&campaign.election), term: token, to })
            }
            Request::Acquire(acquire) => {
                let name = acquire.names.first().cloned().unwrap_or_default();
                Request::Release(Release { name, token })
            }
            _ => return None,
        };
        let op = self.next_op();
        Some(self.start(now, op, request, None))
    }

    /// Steps down in favour of whoever is next, after a transfer that the hub refused.
    pub(super) fn resign_plainly(&mut self, now: Time, refused: OpId) {
        if let Some(Request::Resign(resign)) = self.ops.get(&refused).map(|op| &op.request) {
            let resign = Resign { to: None, ..resign.clone() };
            let op = self.next_op();
            self.start(now, op, Request::Resign(resign), None);
            self.cancel(now, op);
        }
    }

    /// Gives a grant back that nobody claims.
    pub(super) fn return_unclaimed(&mut self, now: Time, token: Token) {
        if let Some(release) = self.give_back(now, token, None) {
            self.cancel(now, release);
        }
    }

    pub(super) fn claim_timed_out(&mut self, now: Time, token: Token) {
        let Some((op, _)) = self.beliefs.get(&token).and_then(|belief| belief.unclaimed) else { return };
        if let Some(entry) = self.ops.get_mut(&op) {
            entry.phase = Phase::Done(Err(OpError::Unclaimed));
        }
        self.return_unclaimed(now, token);
    }

    /// The operation waited long enough.
    pub(super) fn op_timed_out(&mut self, now: Time, op: OpId) {
        let Some(entry) = self.ops.get_mut(&op) else { return };
        entry.due = None;
        if matches!(entry.request, Request::End {}) {
            self.finish_close(now);
            return;
        }
        let error = if entry.waits {
            OpError::Refused(Box::new(Problem::new(Code::WaitTimedOut, "the wait timed out without a server's answer")))
        } else {
            OpError::Unreachable
        };
        // The hub may still grant it: the request lives on under the same id until that is settled.
        if entry.takes() && (entry.sent.is_some() || entry.ambiguous) {
            let orphan = self.split_orphan(op);
            self.send_cancel(orphan);
        }
        self.complete(op, Err(error));
    }

    /// Moves the request of an operation that gets a result without the hub to an orphan of its own.
    fn split_orphan(&mut self, op: OpId) -> OpId {
        let orphan = self.next_op();
        if let Some(entry) = self.ops.get_mut(&op) {
            let mut copy = Op::new(entry.request.clone(), None, None, entry.waits);
            copy.phase = Phase::Orphan;
            copy.sent = entry.sent.take();
            copy.ambiguous = entry.ambiguous;
            if let Some((_, seq)) = copy.sent
                && let Some(about) = self.in_flight.get_mut(&seq)
            {
                *about = InFlight::Op(orphan);
            }
            self.ops.insert(orphan, copy);
        }
        orphan
    }

    pub(super) fn complete(&mut self, op: OpId, result: Result<Outcome, OpError>) {
        self.unwait(op);
        let Some(entry) = self.ops.get_mut(&op) else { return };
        match entry.phase {
            Phase::Open => {
                entry.phase = Phase::Done(result);
                self.outputs.push_back(Output::Complete { op });
            }
            Phase::Orphan => {
                self.forget(op);
            }
            Phase::Done(_) => {}
        }
    }

    fn unwait(&mut self, op: OpId) {
        if let Some(due) = self.ops.get_mut(&op).and_then(|entry| entry.due.take()) {
            self.timers.stop(due, Timer::Op(op));
        }
    }

    pub(super) fn forget(&mut self, op: OpId) -> Option<Op> {
        self.unwait(op);
        self.ops.remove(&op)
    }

    /// Completes everything that waits, and ends every observation.
    pub(super) fn abandon_all(&mut self, error: &OpError) {
        let open: Vec<OpId> =
            self.ops.iter().filter(|(_, op)| !matches!(op.phase, Phase::Done(_))).map(|(op, _)| *op).collect();
        for op in open {
            let gives_back = self.ops.get(&op).is_some_and(Op::gives_back);
            if !(self.closing && gives_back && self.session.is_some()) {
                self.complete(op, Err(error.clone()));
            }
        }
        self.end_observations(error);
    }

    /// Nothing is known of what was sent: it goes out again, or is ambiguous for ever.
    pub(super) fn unsend_all(&mut self) {
        let mut ambiguous = Vec::new();
        for (id, op) in &mut self.ops {
            if op.sent.take().is_some() && !matches!(op.phase, Phase::Done(_)) {
                op.ambiguous = true;
                if matches!(op.request, Request::Steal { .. }) {
                    ambiguous.push(*id);
                }
            }
        }
        for op in ambiguous {
            self.complete(op, Err(OpError::Ambiguous));
        }
    }

    /// The session is over. A wait for locks holds nothing and goes on; a candidate is told (E6); the rest is lost.
    pub(super) fn session_ended_for_ops(&mut self, now: Time, reason: LostReason) {
        let open: Vec<OpId> =
            self.ops.iter().filter(|(_, op)| !matches!(op.phase, Phase::Done(_))).map(|(op, _)| *op).collect();
        let candidates_go_on = self.config.has(Mutation::CandidateGoesOn);
        for op in open {
            let Some(entry) = self.ops.get_mut(&op) else { continue };
            match (&entry.request, &entry.phase) {
                (request, Phase::Open)
                    if matches!(request, Request::Acquire(_))
                        || (candidates_go_on && matches!(request, Request::Campaign(_))) =>
                {
                    entry.sent = None;
                    entry.ambiguous = false;
                    entry.shorten_wait(now);
                }
                (Request::End {}, _) => self.finish_close(now),
                (Request::Campaign(_) | Request::Why { .. }, _) => self.complete(op, Err(OpError::Lost(reason))),
                _ if entry.takes() || entry.gives_back() => self.complete(op, Err(OpError::Lost(reason))),
                _ => {}
            }
        }
    }

    pub(super) fn unclaimed_lost(&mut self, belief: &Belief, reason: LostReason) {
        let Some((op, by)) = belief.unclaimed else { return };
        self.timers.stop(by, Timer::Claim(belief.token));
        if let Some(entry) = self.ops.get_mut(&op) {
            entry.phase = Phase::Done(Err(OpError::Lost(reason)));
        }
    }

    /// Sends whatever is not on its way, in the order of asking (L12).
    pub(super) fn send_unsent(&mut self, now: Time) {
        let unsent: Vec<OpId> = self
            .ops
            .iter()
            .filter(|(_, op)| op.sent.is_none() && !matches!(op.phase, Phase::Done(_)))
            .map(|(op, _)| *op)
            .collect();
        for op in unsent {
            self.send_op(now, op);
            if self.ops.get(&op).is_some_and(|entry| matches!(entry.phase, Phase::Orphan)) {
                // Given up while the session was being resumed, when the hub had been told to keep it.
                self.send_cancel(op);
            }
        }
    }

    /// The requests that the hub may have acted on and that will be sent again. A wait that was given up is left out,
    /// which ends it at the hub together with a grant that it may have become (L4).
    pub(super) fn take_pending(&mut self) -> Vec<RequestId> {
        self.ops.retain(|_, op| !(op.takes() && matches!(op.phase, Phase::Orphan)));
        let asked = self.ops.iter().filter(|(_, op)| op.ambiguous && !matches!(op.phase, Phase::Done(_)));
        asked.filter_map(|(op, _)| self.request_id(*op)).collect()
    }

    fn send_op(&mut self, now: Time, op: OpId) {
        if !self.is_bound() {
            return;
        }
        let Some(entry) = self.ops.get_mut(&op) else { return };
        if !entry.ambiguous {
            entry.shorten_wait(now);
        }
        let request = entry.request.clone();
        let seq = self.send(request, InFlight::Op(op));
        if let Some(entry) = self.ops.get_mut(&op) {
            entry.sent = Some((self.generation, seq));
        }
    }

    fn send_cancel(&mut self, op: OpId) {
        if self.is_bound()
            && self.ops.get(&op).is_some_and(Op::takes)
            && let Some(request) = self.request_id(op)
        {
            self.send(Request::Cancel { request }, InFlight::Aside);
        }
    }

    /// The session is over, or is left to its lease: nothing more will be done.
    pub(super) fn finish_close(&mut self, now: Time) {
        if let Some(session) = self.session.take() {
            self.outputs.push_back(Output::SessionOver { session: session.key.id, reason: LostReason::Ended });
        }
        self.drop_link(now, Duration::ZERO);
        self.link = Link::Over;
        let open: Vec<OpId> = self.ops.keys().copied().collect();
        for op in open {
            let result = match self.ops.get(&op).map(|entry| &entry.request) {
                Some(Request::End {}) => Ok(Outcome::Ended),
                Some(Request::Release(_) | Request::Resign(_)) => Ok(Outcome::Released),
                _ => Err(OpError::Closed),
            };
            self.complete(op, result);
        }
    }
}

fn request_id(op: OpId) -> RequestId {
    RequestId::new(format!("c{op}"))
}

fn token_of(outcome: &Outcome) -> Option<Token> {
    match outcome {
        Outcome::Granted { grant, .. } => Some(grant.token),
        Outcome::Elected { leader } => Some(leader.term),
        _ => None,
    }
}
