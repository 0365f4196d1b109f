//! How a lock is wanted or held, and whether two such wishes go together.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::wire::{Acquire, Mode};

/// What one request wants of each of its locks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub enum Claim {
    /// The lock alone.
    Exclusive,
    /// The lock beside other shared holders.
    Shared,
    /// Some of a semaphore's permits.
    Permits {
        /// The semaphore's size.
        of: u32,
        /// How many to take.
        take: u32,
    },
}

impl Claim {
    /// The mode as clients know it.
    #[must_use]
    pub const fn mode(self) -> Mode {
        match self {
            Self::Shared => Mode::Shared,
            Self::Exclusive | Self::Permits { .. } => Mode::Exclusive,
        }
    }

    /// The semaphore's size, if this is a semaphore's claim.
    #[must_use]
    pub const fn permits(self) -> Option<u32> {
        match self {
            Self::Permits { of, .. } => Some(of),
            Self::Exclusive | Self::Shared => None,
        }
    }

    /// How many permits are taken, if this is a semaphore's claim.
    #[must_use]
    pub const fn take(self) -> Option<u32> {
        match self {
            Self::Permits { take, .. } => Some(take),
            Self::Exclusive | Self::Shared => None,
        }
    }

    /// The request for these locks, if they are free.
    #[must_use]
    pub fn of(self, names: Vec<Arc<str>>) -> Acquire {
        let (mode, permits, take) = (self.mode(), self.permits(), self.take().unwrap_or(1));
        Acquire { mode, permits, take, ..Acquire::several(names) }
    }

    /// Whether it can be met at all: of permits, one to all.
    #[must_use]
    #[inline]
    pub const fn is_possible(self) -> bool {
        match self {
            Self::Permits { of, take } => 1 <= take && take <= of,
            Self::Exclusive | Self::Shared => true,
        }
    }

    /// Whether one of the two may have to leave before the other can come. Two claims of a semaphore may, when others
    /// fill it.
    #[must_use]
    pub fn conflicts(self, other: Self) -> bool {
        !(self == Self::Shared && other == Self::Shared)
    }
}

impl Claim {
    /// Whether two holders with these claims can be there at once, were there no others.
    #[must_use]
    pub fn goes_with(self, other: Self) -> bool {
        let mut load = Load::default();
        load.add(self);
        load.takes(other)
    }
}

/// The sum of several claims on one lock: of its holders, or of its waiters.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Load {
    exclusive: u32,
    shared: u32,
    permits: u32,
    taken: u64,
    of: u32,
}

impl Load {
    /// Whether there is none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.exclusive == 0 && self.shared == 0 && self.permits == 0
    }

    /// The size of the semaphore, while it is used as one.
    pub(super) const fn permits_of(&self) -> Option<u32> {
        if self.permits > 0 { Some(self.of) } else { None }
    }

    /// One more.
    #[inline]
    pub fn add(&mut self, claim: Claim) {
        match claim {
            Claim::Exclusive => self.exclusive += 1,
            Claim::Shared => self.shared += 1,
            Claim::Permits { of, take } => {
                self.permits += 1;
                self.taken += u64::from(take);
                self.of = of;
            }
        }
    }

    /// One less.
    #[inline]
    pub fn remove(&mut self, claim: Claim) {
        match claim {
            Claim::Exclusive => self.exclusive = self.exclusive.saturating_sub(1),
            Claim::Shared => self.shared = self.shared.saturating_sub(1),
            Claim::Permits { take, .. } => {
                self.permits = self.permits.saturating_sub(1);
                self.taken = self.taken.saturating_sub(u64::from(take));
            }
        }
    }

    pub(super) const fn plus(self, other: Self) -> Self {
        Self {
            exclusive: self.exclusive + other.exclusive,
            shared: self.shared + other.shared,
            permits: self.permits + other.permits,
            taken: self.taken + other.taken,
            of: if self.permits > 0 { self.of } else { other.of },
        }
    }

    /// Whether `claim` can be held beside all of these, and is of their kind. A claim of no permits never is.
    #[must_use]
    #[inline]
    pub fn takes(&self, claim: Claim) -> bool {
        claim.take() != Some(0) && self.admits(claim) && !self.mismatches(claim)
    }

    /// Whether `claim` can be held beside all of these.
    #[inline]
    pub(super) fn admits(&self, claim: Claim) -> bool {
        match claim {
            Claim::Exclusive => self.is_empty(),
            Claim::Shared => self.exclusive == 0 && self.permits == 0,
            Claim::Permits { of, take } => {
                self.exclusive == 0 && self.shared == 0 && self.taken + u64::from(take) <= u64::from(of)
            }
        }
    }

    /// Whether nothing at all can be held beside these, so that looking further down a queue is in vain.
    pub(super) fn is_closed(&self) -> bool {
        self.exclusive > 0 || (self.permits > 0 && self.taken >= u64::from(self.of))
    }

    /// Whether `claim` is of another kind than these: a semaphore of one size is not one of another, nor a plain lock.
    #[inline]
    pub(super) const fn mismatches(&self, claim: Claim) -> bool {
        match (claim, self.permits_of()) {
            (Claim::Permits { of, .. }, Some(in_use)) => of != in_use,
            (Claim::Permits { .. }, None) => self.exclusive > 0 || self.shared > 0,
            (Claim::Exclusive | Claim::Shared, in_use) => in_use.is_some(),
        }
    }
}
