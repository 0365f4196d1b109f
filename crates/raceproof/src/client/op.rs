//! The future of an operation. Dropping it gives the operation up.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use raceproof_core::client::{OpError, OpId};
use raceproof_core::wire::{Grant, Leader, Response};

use super::Shared;
use super::lease::GrantCell;

/// What an operation that succeeded gives its owner.
#[derive(Debug)]
pub(crate) enum Claimed {
    Granted { grant: Grant, cell: Arc<GrantCell> },
    Elected { leader: Leader, cell: Arc<GrantCell> },
    Answer(Box<Response>),
    Done,
}

#[derive(Debug)]
#[must_use = "dropping it gives the operation up"]
pub(crate) struct OpFuture {
    shared: Arc<Shared>,
    op: Option<OpId>,
}

impl OpFuture {
    pub(super) const fn new(shared: Arc<Shared>, op: OpId) -> Self {
        Self { shared, op: Some(op) }
    }
}

impl Future for OpFuture {
    type Output = Result<Claimed, OpError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(op) = self.op else { return Poll::Ready(Err(OpError::Closed)) };
        match self.shared.with(|state, now| state.claim(now, op, cx.waker())) {
            None => Poll::Pending,
            Some(result) => {
                self.op = None;
                Poll::Ready(result)
            }
        }
    }
}

impl Drop for OpFuture {
    fn drop(&mut self) {
        if let Some(op) = self.op {
            self.shared.with(|state, now| state.forget(now, op));
        }
    }
}
