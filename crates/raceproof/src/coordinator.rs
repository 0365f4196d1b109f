//! Where the decisions are made: by a server, or in this process.

use std::sync::Arc;

use raceproof_core::client::ConnectionState;
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
