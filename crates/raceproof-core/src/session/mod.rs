//! A session: a client's presence with a lease (L11), and the memory of what its requests were answered (L12).
//!
//! Owns when the lease ends and which answers are remembered. Knows nothing of locks beyond tokens and wait numbers.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use crate::hub::PastGrant;
use crate::id::{ConnId, RequestId, SessionId, SessionKey, Token};
use crate::lock::WaitId;
use crate::time::Time;
use crate::wire::{OnDisconnect, Problem};

/// What is known of a request id.
#[derive(Clone, Debug)]
pub enum Asked {
    /// It waits.
    Waiting(WaitId),
    /// It was granted, and the grant is valid.
    Granted(Token),
    /// It was granted, and the grant is over.
    Past(Box<PastGrant>),
    /// It was refused.
    Refused(u64, Box<Problem>),
}

/// A session's lease: all that a renewal looks at, in one place.
#[derive(Debug)]
pub struct Lease {
    /// Its length.
    pub ttl: Duration,
    /// When it ends.
    pub expires: Time,
    /// When its timer fires: at `expires` or before.
    pub timer: Time,
    /// Whether it was given for a stall of the hub, and the session has not been heard of since.
    graced: bool,
}

/// A client's presence.
#[derive(Debug)]
pub struct Session {
    /// Its public id.
    pub id: SessionId,
    secret: u128,
    /// Its name, for people.
    pub name: Arc<str>,
    /// Its lease.
    pub lease: Lease,
    /// What the end of its connection means.
    pub on_disconnect: OnDisconnect,
    /// Whether it was opened over a socket, and so can come back and say what it holds.
    pub socket: bool,
    /// The connection it is bound to.
    pub conn: Option<ConnId>,
    /// The number that its client gave the connection that resumed it last.
    pub attempt: u64,
    /// What it holds.
    pub grants: BTreeSet<Token>,
    /// Which of its requests wait.
    pub waits: BTreeSet<WaitId>,
    /// Grants that nobody has claimed, with the time at which they pass on.
    pub unclaimed: BTreeMap<Token, Time>,
    asked: BTreeMap<RequestId, Asked>,
    answered: VecDeque<RequestId>,
    past: VecDeque<PastGrant>,
}

impl Session {
    /// A session whose lease begins at `now`.
    #[must_use]
    pub fn new(key: SessionKey, name: Arc<str>, ttl: Duration, on_disconnect: OnDisconnect, now: Time) -> Self {
        Self {
            id: key.id,
            secret: key.secret,
            name,
            lease: Lease { ttl, expires: now + ttl, timer: now + ttl, graced: false },
            on_disconnect,
            socket: false,
            conn: None,
            attempt: 0,
            grants: BTreeSet::new(),
            waits: BTreeSet::new(),
            unclaimed: BTreeMap::new(),
            asked: BTreeMap::new(),
            answered: VecDeque::new(),
            past: VecDeque::new(),
        }
    }

    /// What speaks for it.
    #[must_use]
    pub const fn key(&self) -> SessionKey {
        SessionKey { id: self.id, secret: self.secret }
    }

    /// Whether `key` speaks for it.
    #[must_use]
    pub const fn is_opened_by(&self, key: SessionKey) -> bool {
        // No early exit: how much of a guess is right must not show in the time it takes.
        self.id.as_u64() == key.id.as_u64() && self.secret ^ key.secret == 0
    }

    /// Begins a full lease at `now`. A lease never becomes shorter by it.
    pub fn renew(&mut self, now: Time) {
        self.lease.graced = false;
        self.lease.expires = self.lease.expires.max(now + self.lease.ttl);
    }

    /// The hub heard nobody for `gap`, until `now` (L5). A full lease, once: a session that is not heard of between two
    /// stalls is only not charged for the second, or a hub that falters often would keep the dead for ever.
    pub fn spare(&mut self, now: Time, gap: Duration) {
        if self.lease.graced {
            self.lease.expires += gap;
        } else {
            self.renew(now);
            self.lease.graced = true;
        }
    }

    /// What is known of a request id.
    #[must_use]
    pub fn asked(&self, request: &RequestId) -> Option<&Asked> {
        self.asked.get(request)
    }

    /// Every request id that waits or whose grant is valid.
    pub fn asked_and_open(&self) -> impl Iterator<Item = (&RequestId, &Asked)> {
        self.asked.iter().filter(|(_, asked)| matches!(asked, Asked::Waiting(_) | Asked::Granted(_)))
    }

    /// Notes that a request waits or is granted.
    pub fn note(&mut self, request: &RequestId, asked: Asked) {
        self.asked.insert(request.clone(), asked);
    }

    /// Notes a request's last answer; of these, `max` are remembered.
    pub fn note_answered(&mut self, request: &RequestId, asked: Asked, max: usize) {
        if !matches!(self.asked.insert(request.clone(), asked), Some(Asked::Past(_) | Asked::Refused(..))) {
            self.answered.push_back(request.clone());
        }
        while self.answered.len() > max {
            if let Some(oldest) = self.answered.pop_front() {
                self.asked.remove(&oldest);
            }
        }
    }

    /// Forgets a request, as if it had never been made.
    pub fn forget(&mut self, request: &RequestId) {
        if matches!(self.asked.get(request), Some(Asked::Waiting(_) | Asked::Granted(_))) {
            self.asked.remove(request);
        }
    }

    /// Forgets the answer to a request that its asker never saw.
    pub fn forget_answer(&mut self, request: &RequestId) {
        self.asked.remove(request);
        self.answered.retain(|other| other != request);
    }

    /// Notes that a grant is over; of these, `max` are remembered.
    pub fn note_past(&mut self, past: PastGrant, max: usize) {
        if let Some(request) = past.request.clone() {
            self.note_answered(&request, Asked::Past(Box::new(past.clone())), max);
        }
        self.past.push_back(past);
        while self.past.len() > max {
            self.past.pop_front();
        }
    }

    /// A grant that is over.
    #[must_use]
    pub fn past(&self, token: Token) -> Option<&PastGrant> {
        self.past.iter().rev().find(|past| past.token == token)
    }

    /// Every grant that is over and remembered, the oldest first.
    pub fn past_all(&self) -> impl Iterator<Item = &PastGrant> {
        self.past.iter()
    }
}
