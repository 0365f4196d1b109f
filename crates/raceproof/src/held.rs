//! What guards and leaderships have in common, wherever the coordinator is.

use std::future::Future;
use std::sync::Arc;

use raceproof_core::id::{SessionId, Token};
use raceproof_core::time::Time;
use raceproof_core::wire::LostReason;

#[cfg(feature = "client")]
use crate::client::held::ServerHeld;
use crate::error::ReleaseError;
use crate::lease::LossHook;
use crate::local::LocalHeld;

/// Something held under a token. Dropping it gives it back.
#[derive(Debug)]
pub(crate) enum Held {
    #[cfg(feature = "client")]
    Server(Box<ServerHeld>),
    Local(LocalHeld),
}

impl Held {
    pub(crate) const fn token(&self) -> Token {
        match self {
            #[cfg(feature = "client")]
            Self::Server(held) => held.token(),
            Self::Local(held) => held.token(),
        }
    }

    pub(crate) fn names(&self) -> &[Arc<str>] {
        match self {
            #[cfg(feature = "client")]
            Self::Server(held) => held.names(),
            Self::Local(held) => held.names(),
        }
    }

    pub(crate) fn session(&self) -> SessionId {
        match self {
            #[cfg(feature = "client")]
            Self::Server(held) => held.cell.lease.session,
            Self::Local(held) => held.session(),
        }
    }

    pub(crate) fn is_valid(&self) -> bool {
        match self {
            #[cfg(feature = "client")]
            Self::Server(held) => held.cell.is_valid(),
            Self::Local(held) => held.lost_reason().is_none(),
        }
    }

    pub(crate) fn deadline(&self) -> Time {
        match self {
            #[cfg(feature = "client")]
            Self::Server(held) => held.cell.lease.deadline(),
            Self::Local(_) => Time::MAX,
        }
    }

    pub(crate) fn lost_reason(&self) -> Option<LostReason> {
        match self {
            #[cfg(feature = "client")]
            Self::Server(held) => held.cell.reason(),
            Self::Local(held) => held.lost_reason(),
        }
    }

    pub(crate) fn lost(&self) -> impl Future<Output = LostReason> + Send + use<> {
        enum Fate {
            #[cfg(feature = "client")]
            Server(Arc<crate::client::GrantCell>),
            Local(Arc<tokio::sync::SetOnce<LostReason>>),
        }
        let fate = match self {
            #[cfg(feature = "client")]
            Self::Server(held) => Fate::Server(Arc::clone(&held.cell)),
            Self::Local(held) => Fate::Local(held.fate()),
        };
        async move {
            match fate {
                #[cfg(feature = "client")]
                Fate::Server(cell) => cell.lost().await,
                Fate::Local(fate) => *fate.wait().await,
            }
        }
    }

    pub(crate) fn on_loss(&self, hook: LossHook) {
        match self {
            #[cfg(feature = "client")]
            Self::Server(held) => held.on_loss(hook),
            Self::Local(held) => held.on_loss(hook),
        }
    }

    pub(crate) async fn release(self, to: Option<SessionId>) -> Result<(), ReleaseError> {
        match self {
            #[cfg(feature = "client")]
            Self::Server(held) => held.release(to).await,
            Self::Local(held) => held.release(to),
        }
    }
}
