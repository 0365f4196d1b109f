//! Observers of a server's elections.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;

use raceproof_core::client::{ObserverId, OpError, RefusedReason};
use raceproof_core::wire::Election;

use super::Owner;
use crate::observer::ObserveError;

#[derive(Debug)]
pub(crate) struct ServerObserver {
    owner: Arc<Owner>,
    id: ObserverId,
}

impl ServerObserver {
    pub(crate) fn start(owner: Arc<Owner>, election: Arc<str>) -> Result<Self, ObserveError> {
        match owner.0.with(|state, now| state.client.observe(now, election)) {
            Ok(id) => Ok(Self { owner, id }),
            Err(refused) => Err(match refused.reason {
                RefusedReason::Full { limit } => ObserveError::Full { limit },
                _ => ObserveError::Closed,
            }),
        }
    }

    pub(crate) async fn next(&self) -> Result<Election, OpError> {
        poll_fn(|cx| {
            self.owner.0.with(|state, _| match state.client.observed(self.id) {
                Some(news) => Poll::Ready(news),
                None => {
                    state.wait_observed(self.id, cx.waker());
                    Poll::Pending
                }
            })
        })
        .await
    }
}

impl Drop for ServerObserver {
    fn drop(&mut self) {
        self.owner.0.with(|state, now| state.unobserve(now, self.id));
    }
}
