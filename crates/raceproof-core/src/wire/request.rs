//! What a client can ask of a hub.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::id::{RequestId, SessionId, SessionKey, Token};

/// A `wait_ms` that never runs out: 2^53 - 1.
pub const WAIT_MS_FOREVER: u64 = (1 << 53) - 1;

/// One request. On a WebSocket it speaks for the session that the connection opened or resumed; over HTTP the session
/// key travels beside it.
#[derive(Clone, PartialEq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum Request {
    /// Opens a session and binds it to this connection.
    Open(Open),
    /// Binds a session that was opened before to this connection.
    Resume(Resume),
    /// Renews the session's lease.
    Keepalive {},
    /// Ends the session, and with it everything it holds and waits for.
    End {},
    /// Takes one or several locks, at once or after waiting.
    Acquire(Acquire),
    /// Gives up a wait: of a lock or of a campaign.
    Cancel {
        /// The id that the waiting request carries.
        request: RequestId,
    },
    /// Gives a grant back.
    Release(Release),
    /// Ends every grant of a lock without asking its holders. For operators.
    Steal {
        /// The lock.
        name: Arc<str>,
    },
    /// Asks whether a token is still the newest of its lock.
    Check(Check),
    /// Asks why a request of this session still waits.
    Why {
        /// The id that the waiting request carries.
        request: RequestId,
    },
    /// Stands for election and answers when elected.
    Campaign(Campaign),
    /// Steps down.
    Resign(Resign),
    /// Asks for the leader and for an event at each change.
    Observe {
        /// The election.
        election: Arc<str>,
    },
    /// Ends the events of `Observe`.
    Unobserve {
        /// The election.
        election: Arc<str>,
    },
    /// Lists locks that are held or waited for.
    Locks(Page),
    /// Shows one lock.
    Lock {
        /// The lock.
        name: Arc<str>,
    },
    /// Lists sessions.
    Sessions(Page),
    /// Lists elections that somebody leads or stands for.
    Elections(Page),
    /// Shows one election.
    Election {
        /// The election.
        name: Arc<str>,
    },
}

/// Opens a session.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Open {
    /// Who this is, for people: `host:pid` by custom. At most 256 bytes.
    pub name: Arc<str>,
    /// The lease, in milliseconds: 100 to 86,400,000.
    #[serde(default = "ttl_ms_default")]
    pub ttl_ms: u64,
    /// What the end of the connection means.
    #[serde(default)]
    pub on_disconnect: OnDisconnect,
}

const fn ttl_ms_default() -> u64 {
    10_000
}

/// What the end of a session's connection means (L11).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum OnDisconnect {
    /// Nothing, until the lease ends: a holder that was cut off still believes.
    #[default]
    Keep,
    /// The session ends at once: its work dies with its connection.
    End,
}

/// Takes up a session again, on a fresh connection.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// The session.
    pub session: SessionKey,
    /// Counts the client's connections. A connection that the client has given up may still deliver its `resume` after
    /// a later one's; what it says is out of date, and the hub refuses it because this is less.
    #[serde(default)]
    pub attempt: u64,
    /// Every grant the client believes in. What the hub holds for the session beyond these is released; what the hub
    /// lost of the class `reclaim` is installed again where that is safe (L13).
    #[serde(default)]
    pub held: Vec<Held>,
    /// Every request that the client has sent and seen no answer to. It sends them again after this one; until then
    /// the hub keeps their waits, and the grants that they were answered with.
    #[serde(default)]
    pub pending: Vec<RequestId>,
}

/// A grant as its holder reports it when it resumes.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// The grant's token.
    pub token: Token,
    /// The locks, as they were asked for.
    pub names: Vec<Arc<str>>,
    /// How they are held.
    #[serde(default)]
    pub mode: Mode,
    /// The semaphore's size.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permits: Option<u32>,
    /// How many permits are held.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub take: u32,
    /// The durability class they were granted in.
    #[serde(default)]
    pub class: Class,
    /// The lock-delay they were asked for with.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lock_delay_ms: u64,
}

/// How a lock is held.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Mode {
    /// By one.
    #[default]
    Exclusive,
    /// By any number of shared holders and no exclusive one.
    Shared,
}

/// What a grant costs and what a crash of the hub may do to it (L13). Both are safe.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub enum Class {
    /// On disk before the holder hears of it.
    #[default]
    Durable,
    /// Not waited for: after a crash its holder takes it up again, or its lease is waited out.
    Reclaim,
}

/// Takes locks: all that are named, or none (L6).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Acquire {
    /// Makes a retry safe (L12) and names the wait for `cancel` and `why`. At most 64 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// The locks: 1 to 64 different names of 1 to 256 bytes.
    pub names: Vec<Arc<str>>,
    /// Exclusive or shared. Must be exclusive with `permits`.
    #[serde(default)]
    pub mode: Mode,
    /// Makes the lock a semaphore of this size; all who use it at one time must name the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permits: Option<u32>,
    /// How many of the permits to take: 1 to `permits`.
    #[serde(default = "one", skip_serializing_if = "is_one")]
    pub take: u32,
    /// How long to wait, in milliseconds; 0 tries once, [`WAIT_MS_FOREVER`] never gives up.
    #[serde(default)]
    pub wait_ms: u64,
    /// The durability class.
    #[serde(default)]
    pub class: Class,
    /// Waiters of a higher priority are served first; among equals, the first to come.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub priority: u8,
    /// How long the lock stays closed after this holder's lease ends by itself, in milliseconds, for resources that
    /// cannot check a token. At most 3,600,000.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub lock_delay_ms: u64,
    /// Which flow of work within the session this is, for the search for deadlocks. Without it the session is one
    /// flow over HTTP; the library names the task. At most 64 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<Arc<str>>,
}

impl Acquire {
    /// One lock, exclusively, if it is free: everything but the name is left to its default.
    #[must_use]
    pub fn one(name: impl Into<Arc<str>>) -> Self {
        Self::several(vec![name.into()])
    }

    /// The same of several locks, all or none.
    #[must_use]
    pub fn several(names: Vec<Arc<str>>) -> Self {
        Self {
            request: None,
            names,
            mode: Mode::default(),
            permits: None,
            take: one(),
            wait_ms: 0,
            class: Class::default(),
            priority: 0,
            lock_delay_ms: 0,
            owner: None,
        }
    }
}

/// Gives a grant back: the whole of it, also when it covers several names.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    /// One of the grant's names.
    pub name: Arc<str>,
    /// The grant's token. A name alone releases nothing.
    pub token: Token,
}

/// Asks about a token.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// The lock.
    pub name: Arc<str>,
    /// The token that a writer showed.
    pub token: Token,
}

/// Stands for election.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Campaign {
    /// The election: 1 to 256 bytes.
    pub election: Arc<str>,
    /// Makes a retry safe and names the wait. At most 64 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request: Option<RequestId>,
    /// What observers are told about this candidate once it leads. At most 4,096 bytes.
    #[serde(default)]
    pub value: Arc<str>,
    /// How long to stand, in milliseconds; 0 tries once.
    #[serde(default)]
    pub wait_ms: u64,
}

/// Steps down, or hands over on purpose (E7).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Resign {
    /// The election.
    pub election: Arc<str>,
    /// The term to give up.
    pub term: Token,
    /// The candidate that follows, by its session; refused with `not_candidate` if it does not stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<SessionId>,
}

/// A page of a listing, in name order (sessions: in order of opening).
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Page {
    /// Only names that start so.
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub prefix: Arc<str>,
    /// Only names after this one: the `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Arc<str>>,
    /// At most this many: 1 to 1,000, 100 by default.
    #[serde(default = "limit_default")]
    pub limit: u32,
}

impl Default for Page {
    fn default() -> Self {
        Self { prefix: Arc::from(""), after: None, limit: limit_default() }
    }
}

const fn limit_default() -> u32 {
    100
}

const fn one() -> u32 {
    1
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "the signature serde asks for")]
const fn is_one(number: &u32) -> bool {
    *number == 1
}

fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}
