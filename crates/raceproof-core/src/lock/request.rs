//! What the lock table keeps of a request: while it waits, and once it holds.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::Claim;
use crate::id::{Lsn, RequestId, SessionId, Token};
use crate::time::Time;
use crate::wire::Class;

/// What a name names. Elections share the table, not the names.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Space {
    /// A lock.
    Lock,
    /// An election, whose leader is the holder.
    Election,
}

/// The table's key.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Key {
    /// The kind of name.
    pub space: Space,
    /// The name.
    pub name: Arc<str>,
}

impl Key {
    /// The key of a lock.
    #[must_use]
    pub const fn lock(name: Arc<str>) -> Self {
        Self { space: Space::Lock, name }
    }

    /// The key of an election.
    #[must_use]
    pub const fn election(name: Arc<str>) -> Self {
        Self { space: Space::Election, name }
    }
}

/// One flow of work: what waits as one and releases as one, for the search for deadlocks.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Flow {
    /// The session.
    pub session: SessionId,
    /// The flow within it; `None` is the session's only one.
    pub owner: Option<Arc<str>>,
}

/// What a request asked for, beyond the locks themselves; a grant carries it on.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Terms {
    /// The durability class.
    pub class: Class,
    /// How long the locks stay closed after a lease ended by itself.
    pub lock_delay_ms: u64,
    /// The request's id.
    pub request: Option<RequestId>,
    /// What a candidate says of itself.
    pub value: Arc<str>,
    /// The flow within the session.
    pub owner: Option<Arc<str>>,
    /// Whether it takes part in the search for deadlocks. Candidates do not: they stand for as long as it takes.
    pub flows: bool,
}

/// Names a waiting request. Ascending in order of arrival.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct WaitId(pub u64);

/// A place in every queue that a request waits in: higher ranks first, then the first to come. One order over all
/// queues, so that requests for several names cannot wait for each other in a circle.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Ticket {
    rank_inverted: u16,
    id: WaitId,
}

impl Ticket {
    /// The rank above every priority: of a successor that a leader named.
    pub const RANK_CHOSEN: u16 = 256;

    /// A ticket of the given rank.
    #[must_use]
    pub const fn new(rank: u16, id: WaitId) -> Self {
        Self { rank_inverted: u16::MAX - rank, id }
    }

    /// The rank.
    #[must_use]
    pub const fn rank(self) -> u16 {
        u16::MAX - self.rank_inverted
    }

    /// The waiting request.
    #[must_use]
    pub const fn id(self) -> WaitId {
        self.id
    }
}

/// A request that waits.
#[derive(Clone, Debug)]
pub struct Wait {
    /// Its place.
    pub ticket: Ticket,
    /// Whose it is.
    pub session: SessionId,
    /// The locks it wants, all or none.
    pub keys: Vec<Key>,
    /// How it wants them.
    pub claim: Claim,
    /// What else it asked for.
    pub terms: Terms,
    /// Since when it waits.
    pub since: Time,
    /// When it gives up.
    pub until: Option<Time>,
}

/// What a session holds.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The fencing token.
    pub token: Token,
    /// Whose it is.
    pub session: SessionId,
    /// The locks.
    pub keys: Vec<Key>,
    /// How they are held.
    pub claim: Claim,
    /// What else was asked for.
    pub terms: Terms,
    /// When it was granted, by the wall clock.
    pub since_unix_ms: u64,
    /// The record that must be on disk before anyone hears of it.
    pub visible_from: Lsn,
}

fn flow(session: SessionId, terms: &Terms) -> Option<Flow> {
    terms.flows.then(|| Flow { session, owner: terms.owner.clone() })
}

impl Wait {
    /// The flow of work that waits, if it takes part in the search for deadlocks.
    #[must_use]
    pub fn flow(&self) -> Option<Flow> {
        flow(self.session, &self.terms)
    }
}

impl Grant {
    /// The flow of work that holds, if it takes part in the search for deadlocks.
    #[must_use]
    pub fn flow(&self) -> Option<Flow> {
        flow(self.session, &self.terms)
    }
}
