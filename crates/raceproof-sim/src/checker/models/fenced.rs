//! A lock with places and fencing tokens: a mutex has one place, a semaphore n, and of a shared/exclusive lock a shared
//! holder takes one place and an exclusive one all. Tokens grow from grant to grant, whoever the owners are.

use crate::checker::Model;

/// The model.
#[derive(Clone, Copy, Debug)]
pub struct Fenced {
    places: u32,
}

impl Fenced {
    /// What an exclusive holder of a shared/exclusive lock takes.
    pub const ALL: u32 = u32::MAX;

    /// A mutex. Not reentrant.
    #[must_use]
    pub const fn mutex() -> Self {
        Self { places: 1 }
    }

    /// A semaphore.
    #[must_use]
    pub const fn semaphore(permits: u32) -> Self {
        Self { places: permits }
    }

    /// A lock for any number of shared holders (each takes 1) or one exclusive holder (takes [`Self::ALL`]).
    #[must_use]
    pub const fn shared_exclusive() -> Self {
        Self { places: Self::ALL }
    }
}

/// A call on the lock.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum FencedOp {
    /// Tries to take places.
    Acquire {
        /// Who asks.
        owner: u64,
        /// How many.
        take: u32,
    },
    /// Gives a grant back.
    Release {
        /// Who asks.
        owner: u64,
        /// The grant.
        token: u64,
    },
    /// A grant ends by itself.
    Lose {
        /// Whose.
        owner: u64,
        /// The grant.
        token: u64,
    },
    /// The owner's session ends, and with it all its grants.
    End {
        /// Whose.
        owner: u64,
    },
    /// An operator ends every grant.
    Steal,
}

/// An answer of the lock.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum FencedAnswer {
    /// The places are taken.
    Granted {
        /// The fencing token.
        token: u64,
    },
    /// It is done.
    Done,
    /// There are not enough places, or the asker does not hold that grant.
    Refused,
}

/// A grant that is held.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Holding {
    owner: u64,
    /// The token; of a grant whose answer nobody saw, the least that it can be.
    token: u64,
    token_is_exact: bool,
    take: u32,
}

/// What the lock remembers.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Default)]
pub struct FencedState {
    /// In order, so that equal states are equal.
    held: Vec<Holding>,
    /// No earlier grant had a greater token.
    newest: u64,
}

impl FencedState {
    fn without(&self, gone: impl Fn(&Holding) -> bool) -> Self {
        Self { held: self.held.iter().filter(|h| !gone(h)).cloned().collect(), newest: self.newest }
    }

    fn find(&self, owner: u64, token: u64) -> Option<&Holding> {
        let exact = self.held.iter().find(|h| h.owner == owner && h.token_is_exact && h.token == token);
        exact.or_else(|| self.held.iter().find(|h| h.owner == owner && !h.token_is_exact && h.token <= token))
    }
}

impl Fenced {
    fn acquire(
        &self,
        state: &FencedState,
        owner: u64,
        take: u32,
        answer: Option<&FencedAnswer>,
    ) -> Option<FencedState> {
        let used: u64 = state.held.iter().map(|h| u64::from(h.take)).sum();
        let fits = used + u64::from(take) <= u64::from(self.places);
        let token = match answer {
            Some(FencedAnswer::Granted { token }) if fits && *token > state.newest => *token,
            None if fits => state.newest + 1,
            Some(FencedAnswer::Refused) | None if !fits => return Some(state.clone()),
            _ => return None,
        };
        let mut after = state.clone();
        after.newest = token;
        after.held.push(Holding { owner, token, token_is_exact: answer.is_some(), take });
        after.held.sort_unstable();
        Some(after)
    }
}

impl Model for Fenced {
    type State = FencedState;
    type Op = FencedOp;
    type Answer = FencedAnswer;

    fn initial(&self) -> FencedState {
        FencedState::default()
    }

    fn step(&self, state: &FencedState, op: &FencedOp, answer: Option<&FencedAnswer>) -> Option<FencedState> {
        let (after, gives) = match *op {
            FencedOp::Acquire { owner, take } => return self.acquire(state, owner, take, answer),
            FencedOp::Release { owner, token } => match state.find(owner, token) {
                Some(found) => {
                    let mut after = state.without(|h| h == found);
                    after.newest = after.newest.max(token);
                    (after, FencedAnswer::Done)
                }
                None => (state.clone(), FencedAnswer::Refused),
            },
            FencedOp::Lose { owner, token } => {
                (state.without(|h| h.owner == owner && h.token_is_exact && h.token == token), FencedAnswer::Done)
            }
            FencedOp::End { owner } => (state.without(|h| h.owner == owner), FencedAnswer::Done),
            FencedOp::Steal => (state.without(|_| true), FencedAnswer::Done),
        };
        answer.is_none_or(|answer| *answer == gives).then_some(after)
    }
}
