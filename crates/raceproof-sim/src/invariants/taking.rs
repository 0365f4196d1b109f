//! Requests that take something, as the invariants compare them.

use std::sync::Arc;

use raceproof_core::id::RequestId;
use raceproof_core::wire::{Acquire, Class, Mode, Request};

/// What kind of a claim a request makes on its names.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Claim {
    /// Alone.
    Exclusive,
    /// Beside other shared ones.
    Shared,
    /// So many permits of so many.
    Permits {
        /// Of so many.
        of: u32,
        /// So many.
        take: u32,
    },
}

impl Claim {
    /// Whether two such claims can be held side by side, if nobody else holds anything.
    #[must_use]
    pub const fn goes_with(self, other: Self) -> bool {
        match (self, other) {
            (Self::Shared, Self::Shared) => true,
            (Self::Permits { of, take }, Self::Permits { of: of_other, take: take_other }) => {
                of == of_other && take + take_other <= of
            }
            _ => false,
        }
    }
}

/// Something that takes: an acquire or a campaign.
#[derive(Clone, Debug)]
pub struct Taking {
    /// The names. An election's are told apart by being elections.
    pub names: Vec<Arc<str>>,
    /// Whether it is a campaign.
    pub election: bool,
    /// How they are wanted.
    pub claim: Claim,
    /// The durability class.
    pub class: Class,
    /// The priority.
    pub priority: u8,
    /// How long it would wait.
    pub wait_ms: u64,
    /// The closing time after a lease.
    pub lock_delay_ms: u64,
    /// Its id.
    pub id: Option<RequestId>,
}

impl Taking {
    /// Reads it from a request.
    #[must_use]
    pub fn of(request: &Request) -> Option<Self> {
        match request {
            Request::Acquire(acquire) => Some(Self {
                names: acquire.names.clone(),
                election: false,
                claim: claim(acquire),
                class: acquire.class,
                priority: acquire.priority,
                wait_ms: acquire.wait_ms,
                lock_delay_ms: acquire.lock_delay_ms,
                id: acquire.request.clone(),
            }),
            Request::Campaign(campaign) => Some(Self {
                names: vec![campaign.election.clone()],
                election: true,
                claim: Claim::Exclusive,
                class: Class::Durable,
                priority: 0,
                wait_ms: campaign.wait_ms,
                lock_delay_ms: 0,
                id: campaign.request.clone(),
            }),
            _ => None,
        }
    }

    /// Whether the two are about a common name.
    #[must_use]
    pub fn meets(&self, other: &Self) -> bool {
        self.election == other.election && self.names.iter().any(|name| other.names.contains(name))
    }
}

const fn claim_of(mode: Mode, permits: Option<u32>, take: u32) -> Claim {
    match (permits, mode) {
        (Some(of), _) => Claim::Permits { of, take },
        (None, Mode::Shared) => Claim::Shared,
        (None, Mode::Exclusive) => Claim::Exclusive,
    }
}

fn claim(acquire: &Acquire) -> Claim {
    claim_of(acquire.mode, acquire.permits, acquire.take)
}
