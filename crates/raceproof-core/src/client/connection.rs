//! The connection: made, bound to the session, watched, and made again.

use std::time::Duration;

use super::error::Failure;
use super::op::OpId;
use super::{Client, Generation, Output};
use crate::time::Time;
use crate::wire::{ClientFrame, LostReason, OnDisconnect, Request};

#[derive(Debug)]
pub(super) enum Link {
    /// There is none; the next attempt is due at `retry_at`.
    Idle { retry_at: Time },
    /// It is being made, and given up at `by`.
    Connecting { by: Time },
    /// It stands, and the session is being opened or resumed on it; given up at `by`.
    Binding { by: Time },
    /// Requests can be sent.
    Bound { since: Time },
    /// Never again.
    Over,
}

/// What an answer will be about.
#[derive(Debug)]
pub(super) enum InFlight {
    Open {
        sent: Time,
    },
    Resume {
        sent: Time,
    },
    Keepalive {
        sent: Time,
    },
    Op(OpId),
    Observe(std::sync::Arc<str>),
    /// An answer that changes nothing: what it is about has an answer of its own.
    Aside,
}

/// A connection that served this long lets the next attempt after it be made at once.
const STABLE: Duration = Duration::from_secs(1);

impl Client {
    /// The connection that was asked for stands.
    pub fn connected(&mut self, now: Time, generation: Generation) {
        if self.is_current(generation) && matches!(self.link, Link::Connecting { .. }) {
            self.heard = now;
            self.pinged = false;
            self.seq = 0;
            self.bind(now);
        }
        self.tick(now);
    }

    /// The connection that was asked for could not be made.
    pub fn connect_failed(&mut self, now: Time, generation: Generation, failure: Failure) {
        if self.is_current(generation) {
            if failure.is_permanent() {
                self.fail(now, failure);
            } else {
                self.failure = Some(failure);
                self.link_lost(now, Duration::ZERO);
            }
        }
        self.tick(now);
    }

    /// The connection is gone.
    pub fn disconnected(&mut self, now: Time, generation: Generation) {
        if self.is_current(generation) {
            self.link_lost(now, Duration::ZERO);
        }
        self.tick(now);
    }

    /// The hub's side gave a sign of life: a pong, a ping.
    pub fn heard(&mut self, now: Time, generation: Generation) {
        if self.is_current(generation) {
            self.heard = now;
            self.pinged = false;
        }
    }

    /// Whether a report is about the present connection.
    pub(super) fn is_current(&self, generation: Generation) -> bool {
        generation == self.generation && !matches!(self.link, Link::Idle { .. } | Link::Over)
    }

    pub(super) const fn is_bound(&self) -> bool {
        matches!(self.link, Link::Bound { .. })
    }

    pub(super) fn send(&mut self, request: Request, about: InFlight) -> u64 {
        self.seq += 1;
        let seq = self.seq;
        self.in_flight.insert(seq, about);
        self.outputs.push_back(Output::Send { generation: self.generation, frame: ClientFrame { seq, request } });
        seq
    }

    fn connect(&mut self, now: Time) {
        self.generation.0 += 1;
        self.link = Link::Connecting { by: now + self.connect_timeout(now) };
        self.outputs.push_back(Output::Connect { generation: self.generation });
    }

    /// While a lease runs, several attempts have to fit into it.
    fn connect_timeout(&self, now: Time) -> Duration {
        match &self.session {
            Some(session) if session.deadline > now => {
                self.config.connect_timeout.min((session.ttl / 3).max(Duration::from_millis(250)))
            }
            _ => self.config.connect_timeout,
        }
    }

    /// The session is bound to the connection, or none is wanted: everything without an answer goes out.
    pub(super) fn bound(&mut self, now: Time) {
        self.link = Link::Bound { since: now };
        self.failure = None;
        self.resubscribe();
        self.send_unsent(now);
    }

    /// The connection does not serve any more, by the hub's word or our own.
    pub(super) fn drop_link(&mut self, now: Time, pause_min: Duration) {
        if !matches!(self.link, Link::Idle { .. } | Link::Over) {
            self.outputs.push_back(Output::Disconnect { generation: self.generation });
            self.link_lost(now, pause_min);
        }
    }

    fn link_lost(&mut self, now: Time, pause_min: Duration) {
        if let Link::Bound { since } = self.link
            && now.since(since) >= STABLE
        {
            self.backoff.reset();
        }
        let cap = match &self.session {
            Some(session) => (session.ttl / 6).max(Duration::from_millis(10)),
            None => Duration::MAX,
        };
        let pause = self.backoff.pause(cap).max(pause_min);
        self.link = Link::Idle { retry_at: now + pause };
        self.in_flight.clear();
        self.resend_at = None;
        if let Some(session) = &mut self.session {
            session.unanswered = None;
        }
        self.unsend_all();
        if self.config.on_disconnect == OnDisconnect::End {
            self.end_session(now, LostReason::Disconnected);
        }
    }

    /// Gives up for good.
    pub(super) fn fail(&mut self, now: Time, failure: Failure) {
        if matches!(self.link, Link::Over) {
            return;
        }
        self.end_session(now, LostReason::Disconnected);
        self.drop_link(now, Duration::ZERO);
        self.link = Link::Over;
        self.abandon_all(&super::OpError::Failed(failure.clone()));
        self.failure = Some(failure);
    }

    /// What is due about the connection.
    pub(super) fn tick_link(&mut self, now: Time) {
        match self.link {
            Link::Connecting { by } | Link::Binding { by } if by <= now => {
                self.failure = Some(Failure::Unreachable("it did not answer in time".into()));
                self.drop_link(now, Duration::ZERO);
            }
            Link::Bound { .. } => self.tick_bound(now),
            _ => {}
        }
        if let Link::Idle { retry_at } = self.link
            && retry_at <= now
        {
            self.connect(now);
        }
    }

    fn tick_bound(&mut self, now: Time) {
        if self.resend_at.is_some_and(|at| at <= now) {
            self.resend_at = None;
            self.send_unsent(now);
        }
        self.tick_keepalive(now);
        if self.ping_due() <= now && self.is_bound() {
            if !self.pinged {
                self.pinged = true;
                self.outputs.push_back(Output::Ping { generation: self.generation });
            } else if self.may_disconnect() {
                self.drop_link(now, Duration::ZERO);
            }
        }
    }

    fn ping_due(&self) -> Time {
        let silences = if self.pinged { 2 } else { 1 };
        self.heard + self.config.ping_interval * silences
    }

    /// Whether a connection that seems dead may be closed: not when that would end a session that may yet live.
    pub(super) fn may_disconnect(&self) -> bool {
        self.session.is_none() || self.config.on_disconnect == OnDisconnect::Keep
    }

    /// When something is due about the connection.
    pub(super) fn link_deadline(&self) -> Option<Time> {
        match self.link {
            Link::Idle { retry_at } => Some(retry_at),
            Link::Connecting { by } | Link::Binding { by } => Some(by),
            Link::Bound { .. } => {
                let ping = (!self.pinged || self.may_disconnect()).then(|| self.ping_due());
                let keepalive = self.session.as_ref().map(super::lease::Session::keepalive_due);
                [ping, keepalive, self.resend_at].into_iter().flatten().min()
            }
            Link::Over => None,
        }
    }
}
