//! Observers of elections.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use raceproof_core::client::{ObserverId, OpError, RefusedReason};
use raceproof_core::wire::{Election, Problem};

use crate::client::Owner;

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
    owner: Arc<Owner>,
    id: ObserverId,
    over: bool,
}

impl Observer {
    pub(crate) fn start(owner: Arc<Owner>, election: Arc<str>) -> Result<Self, ObserveError> {
        match owner.0.with(|state, now| state.client.observe(now, election)) {
            Ok(id) => Ok(Self { owner, id, over: false }),
            Err(refused) => Err(match refused.reason {
                RefusedReason::Full { limit } => ObserveError::Full { limit },
                _ => ObserveError::Closed,
            }),
        }
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
        let news = poll_fn(|cx| {
            self.owner.0.with(|state, _| match state.client.observed(self.id) {
                Some(news) => Poll::Ready(news),
                None => {
                    state.wait_observed(self.id, cx.waker());
                    Poll::Pending
                }
            })
        })
        .await;
        self.over = news.is_err();
        Ok(news?)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.owner.0.with(|state, now| state.unobserve(now, self.id));
    }
}
