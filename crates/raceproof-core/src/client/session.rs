//! The session: opened, resumed, renewed, and given up as soon as its lease is over on this side (L8).

use std::sync::Arc;
use std::time::Duration;

use super::connection::{InFlight, Link};
use super::lease::Session;
use super::op::Belief;
use super::{Client, Mutation, Output};
use crate::time::Time;
use crate::wire::{Held, LostReason, Open, Request, Resume};

impl Client {
    /// The session's lease was found to be over by someone who read a later clock. Does what reaching the deadline
    /// does: nothing brings the session's grants back (L8).
    pub fn expire(&mut self, now: Time) {
        self.give_up(now, LostReason::Expired);
        self.tick(now);
    }

    /// The transport stands: opens the session, or resumes it with everything believed in.
    pub(super) fn bind(&mut self, now: Time) {
        let by = match self.link {
            Link::Connecting { by } | Link::Binding { by } => by,
            _ => now + self.config.connect_timeout,
        };
        self.link = Link::Binding { by };
        if !self.config.session {
            self.bound(now);
        } else if let Some(session) = &mut self.session {
            session.renewal_sent = now;
            let key = session.key;
            let reports = !self.config.has(Mutation::HeldUnreported);
            let held = self.beliefs.values().filter(|_| reports).filter_map(held).collect();
            let resume = Resume { session: key, attempt: self.generation.0, held, pending: self.take_pending() };
            self.send(Request::Resume(resume), InFlight::Resume { sent: now });
        } else {
            let open = Open {
                name: self.config.name.clone(),
                ttl_ms: u64::try_from(self.config.ttl.as_millis()).unwrap_or(u64::MAX),
                on_disconnect: self.config.on_disconnect,
            };
            self.send(Request::Open(open), InFlight::Open { sent: now });
        }
    }

    pub(super) fn opened(&mut self, now: Time, session: Session) {
        let (id, deadline) = (session.key.id, session.deadline);
        self.session = Some(session);
        self.outputs.push_back(Output::Lease { session: id, deadline });
        self.bound(now);
    }

    /// A renewal that was sent at `sent` was answered.
    pub(super) fn renewed(&mut self, ttl_ms: u64, sent: Time) {
        if let Some(session) = &mut self.session
            && session.renewed(Duration::from_millis(ttl_ms), sent)
        {
            self.outputs.push_back(Output::Lease { session: session.key.id, deadline: session.deadline });
        }
    }

    /// Whether the lease is over; if so, everything under it is lost.
    pub(super) fn tick_lease(&mut self, now: Time) {
        let is_over = self.session.as_ref().is_some_and(|session| session.deadline <= now);
        if is_over && !self.config.has(Mutation::LateLoss) {
            self.give_up(now, LostReason::Expired);
        }
    }

    pub(super) fn tick_keepalive(&mut self, now: Time) {
        let may_disconnect = self.may_disconnect();
        let Some(session) = &mut self.session else { return };
        if session.keepalive_due() > now {
            return;
        }
        if session.unanswered.is_some() && may_disconnect {
            // Two thirds of the lease are over: what is left is for a connection that works.
            self.drop_link(now, Duration::ZERO);
            return;
        }
        session.renewal_sent = now;
        session.unanswered.get_or_insert(now);
        self.send(Request::Keepalive {}, InFlight::Keepalive { sent: now });
    }

    /// Gives the session up, and with it a connection that is bound to it.
    pub(super) fn give_up(&mut self, now: Time, reason: LostReason) {
        if self.session.is_some() {
            self.end_session(now, reason);
            self.drop_link(now, Duration::ZERO);
        }
    }

    /// Forgets the session. Everything it held is lost; waits for locks go on in the session that follows.
    pub(super) fn end_session(&mut self, now: Time, reason: LostReason) {
        let Some(session) = self.session.take() else { return };
        for belief in std::mem::take(&mut self.beliefs).into_values() {
            self.lost(&belief, reason);
        }
        self.session_ended_for_ops(now, reason);
        self.outputs.push_back(Output::SessionOver { session: session.key.id, reason });
    }

    /// A belief that was taken out turned out to be wrong.
    pub(super) fn lost(&mut self, belief: &Belief, reason: LostReason) {
        match belief.unclaimed {
            Some(_) => self.unclaimed_lost(belief, reason),
            None => self.outputs.push_back(Output::Lost { token: belief.token, reason }),
        }
    }
}

/// A belief as it is reported to a hub that may have forgotten it.
fn held(belief: &Belief) -> Option<Held> {
    let token = belief.token;
    match &*belief.request {
        Request::Acquire(acquire) => Some(Held {
            token,
            names: acquire.names.clone(),
            mode: acquire.mode,
            permits: acquire.permits,
            take: acquire.take,
            class: acquire.class,
            lock_delay_ms: acquire.lock_delay_ms,
        }),
        Request::Campaign(campaign) => Some(Held {
            token,
            names: vec![Arc::clone(&campaign.election)],
            mode: crate::wire::Mode::Exclusive,
            permits: None,
            take: 1,
            class: crate::wire::Class::Durable,
            lock_delay_ms: 0,
        }),
        _ => None,
    }
}
