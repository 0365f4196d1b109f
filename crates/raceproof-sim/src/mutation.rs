//! Known bugs that can be put back, in the hub or in the client machine, to prove that a run would notice them.

/// A known bug.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mutation {
    /// In the hub.
    Hub(raceproof_core::hub::Mutation),
    /// In the client machine.
    Client(raceproof_core::client::Mutation),
}

impl Mutation {
    /// Every known bug.
    #[must_use]
    pub fn all() -> Vec<Self> {
        let hub = raceproof_core::hub::Mutation::ALL.iter().copied().map(Self::Hub);
        hub.chain(raceproof_core::client::Mutation::ALL.iter().copied().map(Self::Client)).collect()
    }

    /// The bug of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::all().into_iter().find(|mutation| mutation.name().eq_ignore_ascii_case(name))
    }

    /// Its name.
    #[must_use]
    pub fn name(self) -> String {
        match self {
            Self::Hub(mutation) => format!("{mutation:?}"),
            Self::Client(mutation) => format!("{mutation:?}"),
        }
    }

    /// The hub's part.
    #[must_use]
    pub const fn of_hub(self) -> Option<raceproof_core::hub::Mutation> {
        match self {
            Self::Hub(mutation) => Some(mutation),
            Self::Client(_) => None,
        }
    }

    /// The client machine's part.
    #[must_use]
    pub const fn of_client(self) -> Option<raceproof_core::client::Mutation> {
        match self {
            Self::Client(mutation) => Some(mutation),
            Self::Hub(_) => None,
        }
    }
}
