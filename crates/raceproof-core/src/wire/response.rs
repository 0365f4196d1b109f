//! What a hub answers.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::request::{Class, Mode};
use crate::id::{Epoch, RequestId, SessionId, SessionKey, Token};

/// The answer to a request that succeeded.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Response {
    /// A session is open.
    Opened {
        /// What speaks for the session from here on. A secret.
        session: SessionKey,
        /// The lease as granted.
        ttl_ms: u64,
        /// The hub's run.
        epoch: Epoch,
    },
    /// A session is bound to this connection again.
    Resumed {
        /// The lease as granted.
        ttl_ms: u64,
        /// The hub's run.
        epoch: Epoch,
        /// Tokens of the grants that the session holds.
        held: Vec<Token>,
        /// Tokens of the grants that were reported and are no longer valid.
        lost: Vec<Token>,
    },
    /// The lease runs from the receipt of the renewal.
    Renewed {
        /// Its length.
        ttl_ms: u64,
    },
    /// The session is over.
    Ended {},
    /// The locks are held.
    Granted(Grant),
    /// The grant is given back.
    Released {},
    /// The wait is given up; or there was none, and nothing is held under that request id.
    Cancelled {},
    /// The lock's grants were ended.
    Stolen {
        /// Tokens of the grants that ended.
        tokens: Vec<Token>,
    },
    /// What a token is worth.
    Checked {
        /// Whether the token belongs to a grant that is valid.
        valid: bool,
        /// The greatest token among the lock's grants.
        newest: Option<Token>,
    },
    /// Why a request waits.
    Waiting(Waiting),
    /// The candidate leads.
    Elected(Leader),
    /// The leader as of this answer; events follow.
    Observing(Election),
    /// No further events.
    Unobserved {},
    /// A page of locks.
    Locks(LockPage),
    /// One lock.
    Lock(Lock),
    /// A page of sessions.
    Sessions(SessionPage),
    /// A page of elections.
    Elections(ElectionPage),
    /// One election.
    Election(Election),
}

/// What a lock gives, owned by a session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Grant {
    /// The fencing token: one for all the names.
    pub token: Token,
    /// The locks that are held.
    pub names: Vec<Arc<str>>,
    /// How they are held.
    pub mode: Mode,
    /// The session's lease. The holder counts it from when it *sent* its last renewal (L8).
    pub lease_ms: u64,
}

/// A holder of a lock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Holder {
    /// Its session.
    pub session: SessionId,
    /// The session's name.
    pub session_name: Arc<str>,
    /// Its token.
    pub token: Token,
    /// How it holds.
    pub mode: Mode,
    /// Permits held of a semaphore.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub take: Option<u32>,
    /// The durability class.
    pub class: Class,
    /// How long it has held, by the hub's wall clock.
    pub age_ms: u64,
    /// What is left of its lease.
    pub lease_left_ms: u64,
}

/// A request that waits for a lock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Waiter {
    /// Its session.
    pub session: SessionId,
    /// The session's name.
    pub session_name: Arc<str>,
    /// The request's id, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// How it wants to hold.
    pub mode: Mode,
    /// Its priority.
    #[serde(default)]
    pub priority: u8,
    /// Its place in the queue, from 1.
    pub position: u64,
    /// How long it has waited.
    pub age_ms: u64,
}

/// A lock that is held, waited for, or closed for a while.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Lock {
    /// Its name.
    pub name: Arc<str>,
    /// The semaphore's size, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permits: Option<u32>,
    /// Its holders, in token order.
    pub holders: Vec<Holder>,
    /// How many wait.
    pub waiters_count: u64,
    /// The first of its waiters, in the order they will be served: at most 100.
    pub waiters: Vec<Waiter>,
    /// How long its lock-delay still lasts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delay_left_ms: Option<u64>,
}

/// Why a request waits, lock by lock.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Waiting {
    /// The request.
    pub request: RequestId,
    /// How long it has waited.
    pub age_ms: u64,
    /// Whether the hub still waits for holders from before its last crash (L13).
    #[serde(default)]
    pub recovering: bool,
    /// Each lock that stands in its way, with its holders and the waiters before it.
    pub blocked_by: Vec<Lock>,
}

/// A page of locks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LockPage {
    /// The locks, in name order.
    pub locks: Vec<Lock>,
    /// What to pass as `after` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Arc<str>>,
}

/// A session, as anyone may see it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionInfo {
    /// Its public id.
    pub session: SessionId,
    /// Its name.
    pub name: Arc<str>,
    /// Its lease.
    pub ttl_ms: u64,
    /// What is left of the lease.
    pub lease_left_ms: u64,
    /// Whether a connection is bound to it.
    pub connected: bool,
    /// How many grants it holds.
    pub grants: u64,
    /// How many of its requests wait.
    pub waits: u64,
}

/// A page of sessions.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionPage {
    /// The sessions, in order of opening.
    pub sessions: Vec<SessionInfo>,
    /// What to pass as `after` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Arc<str>>,
}

/// Who leads.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Leader {
    /// The election.
    pub election: Arc<str>,
    /// The term, which is the fencing token (E1, E2).
    pub term: Token,
    /// What the leader said of itself.
    pub value: Arc<str>,
    /// Its session.
    pub session: SessionId,
    /// Its session's name.
    pub session_name: Arc<str>,
    /// The session's lease.
    pub lease_ms: u64,
}

/// An election. Events say who leads and leave the rest out: it changes without an event.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Election {
    /// Its name.
    pub election: Arc<str>,
    /// Who leads, if anyone does.
    pub leader: Option<Leader>,
    /// How long the leader has led, by the hub's wall clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub led_ms: Option<u64>,
    /// What is left of the leader's lease.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lease_left_ms: Option<u64>,
    /// How many stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub candidates_count: Option<u64>,
    /// The first who stand, in the order they will be served: at most 100.
    pub candidates: Vec<Waiter>,
}

/// A page of elections.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ElectionPage {
    /// The elections, in name order.
    pub elections: Vec<Election>,
    /// What to pass as `after` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<Arc<str>>,
}

/// One step of a cycle of waiters (L6): this one waits for a lock that the next one has, or is to have before it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CycleMember {
    /// The session that waits.
    pub session: SessionId,
    /// The session's name.
    pub session_name: Arc<str>,
    /// The flow of work within the session.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Arc<str>>,
    /// The lock it waits for.
    pub waits_for: Arc<str>,
}
