//! Observers of elections.

use std::sync::Arc;

use raceproof_core::client::OpError;
use raceproof_core::wire::{Election, Problem};

#[cfg(feature = "client")]
use crate::client::observer::ServerObserver;
use crate::coordinator::Coordinator;
use crate::local::LocalObserver;

/// Why an observer has no more to tell.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ObserveError {
    /// The server refused.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// As many observers look on as the client takes.
    #[error("{limit} observers look on, which is the client's limit")]
    Full {
        /// The limit.
        limit: usize,
    },
    /// The client failed or was closed.
    #[error("the client is closed")]
    Closed,
}

impl From<OpError> for ObserveError {
    fn from(error: OpError) -> Self {
        match error {
            OpError::Refused(problem) => Self::Refused(problem),
            _ => Self::Closed,
        }
    }
}

/// Looks on at an election: see [`Election::observe`](crate::Election::observe).
///
/// Terms come in order (E3), across reconnections too. An observer that does not keep up skips terms, and always gets
/// the latest.
#[derive(Debug)]
pub struct Observer {
    source: Source,
    over: bool,
}

#[derive(Debug)]
enum Source {
    #[cfg(feature = "client")]
    Server(ServerObserver),
    Local(LocalObserver),
}

impl Observer {
    pub(crate) fn start(coordinator: &Coordinator, election: Arc<str>) -> Result<Self, ObserveError> {
        let source = match coordinator {
            #[cfg(feature = "client")]
            Coordinator::Server(owner) => Source::Server(ServerObserver::start(Arc::clone(owner), election)?),
            Coordinator::Local(local) => Source::Local(LocalObserver::start(Arc::clone(local), election)?),
        };
        Ok(Self { source, over: false })
    }

    /// The next state of the election: first the one that is, then each change of leader. After an error there is
    /// none, and it is [`ObserveError::Closed`] from then on.
    ///
    /// # Errors
    /// When nothing will come any more.
    ///
    /// # Cancel safety
    /// Cancel safe: what came is given by the next call.
    pub async fn next(&mut self) -> Result<Election, ObserveError> {
        if self.over {
            return Err(ObserveError::Closed);
        }
        let news = match &self.source {
            #[cfg(feature = "client")]
            Source::Server(observer) => observer.next().await,
            Source::Local(observer) => observer.next().await,
        };
        self.over = news.is_err();
        Ok(news?)
    }
}
