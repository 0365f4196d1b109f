//! A wait in the queue of a name. Dropping it gives up the place, or what was handed to it (L4).

use std::sync::Arc;
use std::task::{Context, Poll};

use raceproof_core::client::OpError;
use raceproof_core::id::Token;

use super::op::LocalOp;
use super::shards::{Entered, Key, Polled};
use super::{Local, LocalHeld};
use crate::owner::Flow;

pub(crate) struct Queued<'a> {
    local: &'a Arc<Local>,
    key: &'a Key,
    /// None when this is over.
    place: Option<u64>,
}

/// What came of asking to wait.
pub(crate) enum Entry<'a> {
    Held(LocalHeld),
    Waiting(Queued<'a>),
    /// The machine has to decide.
    Elsewhere,
}

/// How a wait in a queue ended.
pub(crate) enum Left {
    Held(LocalHeld),
    /// The machine has taken it over.
    Moved(LocalOp),
    Failed(OpError),
}

impl<'a> Queued<'a> {
    /// Waits for one name alone, or takes it if it is free.
    pub(crate) fn enter(local: &'a Arc<Local>, key: &'a Key, flow: &Flow, cx: &Context<'_>) -> Entry<'a> {
        if !flow.is_usable() {
            return Entry::Elsewhere;
        }
        match local.shards.enter(key, flow.owner(), cx.waker().clone()) {
            Entered::Held(token) => Entry::Held(local.held(key, token)),
            Entered::Waiting { place } => {
                local.watch();
                Entry::Waiting(Self { local, key, place: Some(place) })
            }
            Entered::Elsewhere => Entry::Elsewhere,
        }
    }

    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Left> {
        let Some(place) = self.place else { return Poll::Ready(Left::Failed(OpError::Closed)) };
        let (polled, _spent) = self.local.shards.poll(self.key, place, cx.waker());
        match polled {
            Polled::Held(token) => {
                self.place = None;
                Poll::Ready(Left::Held(self.local.held(self.key, token)))
            }
            Polled::Waiting => {
                self.local.watch();
                Poll::Pending
            }
            Polled::Elsewhere => {
                self.place = None;
                Poll::Ready(self.moved(place).map_or(Left::Failed(OpError::Unclaimed), Left::Moved))
            }
        }
    }

    /// The machine's operation that this wait has become; none if its grant passed on.
    fn moved(&self, place: u64) -> Option<LocalOp> {
        let moved = self.local.lock().moved.remove(&place)?;
        Some(LocalOp::resume(self.local, self.key.to_shared(), moved))
    }
}

impl Local {
    fn held(self: &Arc<Self>, key: &Key, token: Token) -> LocalHeld {
        LocalHeld::fast(Arc::clone(self), token, key.hash())
    }
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        let Some(place) = self.place else { return };
        match self.local.shards.give_up(self.key, place) {
            Ok(given_up) => {
                if let Some(next) = given_up.wake {
                    next.wake();
                }
            }
            Err(()) => drop(self.moved(place)),
        }
    }
}
