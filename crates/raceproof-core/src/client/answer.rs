//! Frames from the hub, each judged by what it answers and on which connection it came.

use std::sync::Arc;
use std::time::Duration;

use super::connection::{InFlight, Link};
use super::error::{Failure, OpError};
use super::lease::Session;
use super::op::{Belief, OpId, Outcome, Phase};
use super::timers::Timer;
use super::{Client, Generation, Mutation};
use crate::id::Token;
use crate::time::Time;
use crate::wire::{Code, Event, LostReason, Problem, Request, Response, ServerFrame};

type Answer = Result<Box<Response>, Box<Problem>>;

/// How long a request waits when the hub put it off without saying for how long.
const PUT_OFF: Duration = Duration::from_millis(200);

impl Client {
    /// A frame came as text. An event that this version does not know is passed over; anything else that cannot be
    /// read ends the client with [`Failure::Protocol`].
    #[cfg(feature = "json")]
    pub fn received_text(&mut self, now: Time, generation: Generation, text: &str) {
        match ServerFrame::from_json(text) {
            Ok(frame) => self.received(now, generation, frame),
            Err(_) if is_event(text) => self.heard(now, generation),
            Err(error) => self.protocol_error(now, generation, &error.to_string()),
        }
    }

    /// Something came that is not a frame.
    pub fn protocol_error(&mut self, now: Time, generation: Generation, detail: &str) {
        if self.is_current(generation) {
            self.fail(now, Failure::Protocol(detail.to_owned()));
        }
        self.tick(now);
    }

    /// A frame came.
    pub fn received(&mut self, now: Time, generation: Generation, frame: ServerFrame) {
        // First what the clock says: an answer that comes when the lease is over renews nothing (L8).
        self.tick_lease(now);
        if self.is_current(generation) {
            self.heard(now, generation);
            match frame {
                ServerFrame::Answer { re, result, .. } => {
                    if let Some(about) = self.in_flight.remove(&re) {
                        self.answered(now, about, result);
                    }
                }
                ServerFrame::Push { event, .. } => self.pushed(now, event),
            }
        }
        self.tick(now);
    }

    fn answered(&mut self, now: Time, about: InFlight, answer: Answer) {
        let about = self.counted_from(now, about);
        match about {
            InFlight::Open { sent } => self.open_answered(now, sent, answer),
            InFlight::Resume { sent } => self.resume_answered(now, sent, answer),
            InFlight::Keepalive { sent } => self.keepalive_answered(now, sent, answer),
            InFlight::Op(op) => self.op_answered(now, op, answer),
            InFlight::Observe(election) => self.observe_answered(now, &election, answer),
            InFlight::Aside => {}
        }
    }

    /// A renewal counts from when it was sent (L8).
    fn counted_from(&self, now: Time, about: InFlight) -> InFlight {
        let from = |sent: Time| {
            if self.config.has(Mutation::LeaseFromReceipt) {
                now
            } else if self.config.has(Mutation::NoDriftMargin) {
                sent + super::drift_margin(self.config.ttl)
            } else {
                sent
            }
        };
        match about {
            InFlight::Open { sent } => InFlight::Open { sent: from(sent) },
            InFlight::Resume { sent } => InFlight::Resume { sent: from(sent) },
            InFlight::Keepalive { sent } => InFlight::Keepalive { sent: from(sent) },
            other => other,
        }
    }

    fn open_answered(&mut self, now: Time, sent: Time, answer: Answer) {
        match answer.map(|response| *response) {
            Ok(Response::Opened { session, ttl_ms, .. }) => {
                self.opened(now, Session::new(session, Duration::from_millis(ttl_ms), sent));
            }
            Ok(_) => self.wrong_answer(now, "open"),
            Err(problem) => self.bind_refused(now, problem),
        }
    }

    fn resume_answered(&mut self, now: Time, sent: Time, answer: Answer) {
        match answer.map(|response| *response) {
            Ok(Response::Resumed { ttl_ms, held, .. }) => {
                self.renewed(ttl_ms, sent);
                self.keep_only(&held);
                self.bound(now);
            }
            Ok(_) => self.wrong_answer(now, "resume"),
            Err(problem) if problem.code == Code::SessionUnknown => {
                self.end_session(now, LostReason::Unknown);
                if !matches!(self.link, Link::Over) {
                    self.bind(now);
                }
            }
            Err(problem) => self.bind_refused(now, problem),
        }
    }

    /// What the hub does not list is lost.
    fn keep_only(&mut self, held: &[Token]) {
        let gone: Vec<Token> = self.beliefs.keys().filter(|token| !held.contains(token)).copied().collect();
        for token in gone {
            if let Some(belief) = self.beliefs.remove(&token) {
                self.lost(&belief, LostReason::Unknown);
            }
        }
    }

    fn bind_refused(&mut self, now: Time, problem: Box<Problem>) {
        let pause = problem.retry_after_ms.map_or(Duration::ZERO, Duration::from_millis);
        let failure = Failure::from_problem(problem);
        if failure.is_permanent() {
            self.fail(now, failure);
        } else {
            self.failure = Some(failure);
            self.drop_link(now, pause.min(self.config.backoff_max));
        }
    }

    fn keepalive_answered(&mut self, now: Time, sent: Time, answer: Answer) {
        match answer.map(|response| *response) {
            Ok(Response::Renewed { ttl_ms }) => self.renewed(ttl_ms, sent),
            Ok(_) => self.wrong_answer(now, "keepalive"),
            Err(problem) if problem.code == Code::SessionUnknown => self.give_up(now, LostReason::Unknown),
            // The connection works; the lease runs on from its last renewal.
            Err(_) => {
                if let Some(session) = &mut self.session {
                    session.unanswered = None;
                }
            }
        }
    }

    fn op_answered(&mut self, now: Time, op: OpId, answer: Answer) {
        let Some(entry) = self.ops.get(&op) else { return };
        match answer {
            Ok(response) => self.op_succeeded(now, op, *response),
            Err(problem) if problem.code == Code::SessionUnknown && entry.needs_session() => {
                self.give_up(now, LostReason::Unknown);
            }
            // Given back by an earlier copy of this request, whose answer did not arrive.
            Err(problem) if problem.code == Code::NotHolder && entry.gives_back() && entry.ambiguous => {
                self.complete(op, Ok(Outcome::Released));
            }
            Err(problem) if problem.code == Code::Unavailable && !matches!(entry.request, Request::Steal { .. }) => {
                self.put_off(now, op, problem.retry_after_ms);
            }
            // The leader gave up before it asked, so it steps down all the same (E7).
            Err(problem) if problem.code == Code::NotCandidate => {
                self.resign_plainly(now, op);
                self.complete(op, Err(OpError::Refused(problem)));
            }
            Err(problem) if problem.code == Code::Unclaimed => self.complete(op, Err(OpError::Unclaimed)),
            Err(problem) => self.complete(op, Err(OpError::Refused(problem))),
        }
    }

    fn put_off(&mut self, now: Time, op: OpId, retry_after_ms: Option<u64>) {
        if let Some(entry) = self.ops.get_mut(&op) {
            entry.sent = None;
        }
        let at = now + retry_after_ms.map_or(PUT_OFF, Duration::from_millis);
        self.resend_at = Some(self.resend_at.map_or(at, |earlier| earlier.min(at)));
    }

    fn op_succeeded(&mut self, now: Time, op: OpId, response: Response) {
        let Some(entry) = self.ops.get(&op) else { return };
        match (&entry.request, response) {
            (Request::Acquire(_), Response::Granted(grant)) => {
                let Some(session) = self.session.as_ref().map(|session| session.key.id) else { return };
                self.gained(now, op, grant.token, Outcome::Granted { grant, session });
            }
            (Request::Campaign(_), Response::Elected(leader)) => {
                self.gained(now, op, leader.term, Outcome::Elected { leader });
            }
            (Request::Release(_) | Request::Resign(_), Response::Released {}) => {
                self.complete(op, Ok(Outcome::Released));
            }
            (Request::End {}, Response::Ended {}) => self.finish_close(now),
            (
                Request::Acquire(_) | Request::Campaign(_) | Request::Release(_) | Request::Resign(_) | Request::End {},
                _,
            ) => self.wrong_answer(now, "an operation"),
            (_, response) => self.complete(op, Ok(Outcome::Answer(Box::new(response)))),
        }
    }

    /// The session holds something: for the operation to claim, or to be given back if nobody waits for it (L4).
    fn gained(&mut self, now: Time, op: OpId, token: Token, outcome: Outcome) {
        let by = now + self.config.claim_timeout();
        let Some(entry) = self.ops.get(&op) else { return };
        let orphan = matches!(entry.phase, Phase::Orphan);
        let unclaimed = (!orphan).then_some((op, by));
        let request = Arc::new(entry.request.clone());
        self.beliefs.insert(token, Belief { token, request, unclaimed });
        if orphan {
            self.forget(op);
            self.return_unclaimed(now, token);
        } else {
            self.timers.start(by, Timer::Claim(token));
            self.complete(op, Ok(outcome));
        }
    }

    fn pushed(&mut self, now: Time, event: Event) {
        match event {
            Event::Lost { token, reason, .. } => {
                if let Some(belief) = self.beliefs.remove(&token) {
                    self.lost(&belief, reason);
                }
            }
            Event::SessionEnded { reason } => self.give_up(now, reason),
            Event::Leader(election) => self.leader_changed(election),
            // The hub closes the connection when it goes, and the session outlives that.
            Event::Draining {} => {}
        }
    }

    pub(super) fn wrong_answer(&mut self, now: Time, to: &str) {
        self.fail(now, Failure::Protocol(format!("the answer to {to} is of another kind")));
    }
}

#[cfg(feature = "json")]
fn is_event(text: &str) -> bool {
    serde_json::from_str::<serde_json::Value>(text).is_ok_and(|frame| {
        frame.get("event").is_some() && frame.get("re").is_none() && frame.get("seq").is_some_and(|seq| seq.is_u64())
    })
}

impl Client {
    /// Does what is due. Also after every other input, by itself.
    pub fn tick(&mut self, now: Time) {
        self.tick_lease(now);
        while let Some(timer) = self.timers.pop_due(now) {
            match timer {
                Timer::Op(op) => self.op_timed_out(now, op),
                Timer::Claim(token) => self.claim_timed_out(now, token),
            }
        }
        self.tick_link(now);
        self.announce();
    }

    /// When [`Client::tick`] is due at the latest.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        [self.timers.next(), self.lease_deadline(), self.link_deadline()].into_iter().flatten().min()
    }
}
