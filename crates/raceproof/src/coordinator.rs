//! Where the decisions are made: by a server, or in this process.

use std::sync::Arc;

use raceproof_core::client::ConnectionState;
use raceproof_core::local::{Blocked, Stats};
use tokio::sync::watch;

#[cfg(feature = "client")]
use crate::client::Owner;
use crate::lease::Lease;
use crate::local::Local;

#[derive(Clone, Debug)]
pub(crate) enum Coordinator {
    #[cfg(feature = "client")]
    Server(Arc<Owner>),
    Local(Arc<Local>),
}

impl Coordinator {
    /// What of locks is known here, in numbers.
    pub(crate) fn lock_stats(&self) -> Stats {
        match self {
            #[cfg(feature = "client")]
            Self::Server(owner) => {
                let mut stats = Stats::default();
                (stats.held, stats.waiting) = owner.0.counts();
                stats
            }
            Self::Local(local) => local.stats(),
        }
    }

    /// Who waits for a lock, and for whom, as far as that is known here: the first of them.
    pub(crate) fn blocked(&self, max: usize) -> Vec<Blocked> {
        match self {
            #[cfg(feature = "client")]
            Self::Server(_) => Vec::new(),
            Self::Local(local) => local.blocked(max),
        }
    }

    pub(crate) fn leases(&self) -> &watch::Sender<Option<Lease>> {
        match self {
            #[cfg(feature = "client")]
            Self::Server(owner) => &owner.0.leases,
            Self::Local(local) => &local.leases,
        }
    }

    pub(crate) fn connection(&self) -> &watch::Sender<ConnectionState> {
        match self {
            #[cfg(feature = "client")]
            Self::Server(owner) => &owner.0.connection,
            Self::Local(local) => &local.connection,
        }
    }
}
