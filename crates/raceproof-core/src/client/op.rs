//! Operations: what was asked, how far it got, and what came of it.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::Generation;
use super::error::OpError;
use crate::id::{SessionId, Token};
use crate::time::Time;
use crate::wire::{Grant, Leader, Request, Response, WAIT_MS_FOREVER};

/// Names an operation within its client; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct OpId(pub(super) u64);

impl fmt::Display for OpId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A request that neither holds nor frees anything of the session's own.
#[derive(Clone, PartialEq, Debug)]
pub struct Query(pub(super) Box<Request>);

impl Query {
    /// Wraps a listing, a look at one lock or election, a check of a token, a steal, or the question why an
    /// operation waits.
    ///
    /// # Errors
    /// Gives back a request of any other kind.
    pub fn new(request: Request) -> Result<Self, Box<Request>> {
        match request {
            Request::Locks(_)
            | Request::Lock { .. }
            | Request::Sessions(_)
            | Request::Election { .. }
            | Request::Elections(_)
            | Request::Check(_)
            | Request::Steal { .. }
            | Request::Why { .. } => Ok(Self(Box::new(request))),
            other => Err(Box::new(other)),
        }
    }

    /// The request.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.0
    }
}

/// What came of an operation that succeeded.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// The locks are held.
    Granted {
        /// The grant.
        grant: Grant,
        /// The session that owns it.
        session: SessionId,
    },
    /// The client leads.
    Elected {
        /// The election, the term and the value.
        leader: Leader,
    },
    /// A grant or a leadership was given back.
    Released,
    /// The session is over.
    Ended,
    /// The answer to a query.
    Answer(Box<Response>),
}

/// How far an operation got.
#[derive(Debug)]
pub(super) enum Phase {
    /// It has no answer yet.
    Open,
    /// Nobody waits for it any more, but the hub may still act on it.
    Orphan,
    /// Its result waits to be claimed.
    Done(Result<Outcome, OpError>),
}

#[derive(Debug)]
pub(super) struct Op {
    pub(super) request: Request,
    pub(super) phase: Phase,
    /// Where it was sent last, and under which number.
    pub(super) sent: Option<(Generation, u64)>,
    /// Whether the hub may have acted on an earlier copy.
    pub(super) ambiguous: bool,
    /// When it stops waiting for an answer.
    pub(super) due: Option<Time>,
    /// When its own wait is over; none for ever.
    pub(super) wait_until: Option<Time>,
    /// Whether it was asked to wait at all.
    pub(super) waits: bool,
}

impl Op {
    pub(super) fn new(request: Request, wait_until: Option<Time>, due: Option<Time>, waits: bool) -> Self {
        Self { request, phase: Phase::Open, sent: None, ambiguous: false, due, wait_until, waits }
    }

    /// Whether it asks for something to hold, so that an answer nobody waits for must be given back.
    pub(super) fn takes(&self) -> bool {
        matches!(self.request, Request::Acquire(_) | Request::Campaign(_))
    }

    /// Whether it gives something back, so that it goes on when nobody waits for it.
    pub(super) fn gives_back(&self) -> bool {
        matches!(self.request, Request::Release(_) | Request::Resign(_))
    }

    pub(super) fn needs_session(&self) -> bool {
        self.takes() || self.gives_back() || matches!(self.request, Request::End {} | Request::Why { .. })
    }

    /// Fits the wait to what is left of it, for a session that has not heard of it.
    pub(super) fn shorten_wait(&mut self, now: Time) {
        let Some(until) = self.wait_until else { return };
        let left = u64::try_from(until.since(now).as_millis()).unwrap_or(WAIT_MS_FOREVER);
        match &mut self.request {
            Request::Acquire(acquire) => acquire.wait_ms = left,
            Request::Campaign(campaign) => campaign.wait_ms = left,
            _ => {}
        }
    }
}

/// When a wait of so many milliseconds is over.
pub(super) fn wait_until(now: Time, wait_ms: u64) -> Option<Time> {
    (wait_ms < WAIT_MS_FOREVER).then(|| now + Duration::from_millis(wait_ms))
}

/// A grant or a leadership that is believed in.
#[derive(Debug)]
pub(super) struct Belief {
    pub(super) token: Token,
    /// As it was asked for, so that a hub that lost it can install it again (L13).
    pub(super) request: Arc<Request>,
    /// The operation whose result it still is, and until when that must be claimed.
    pub(super) unclaimed: Option<(OpId, Time)>,
}
