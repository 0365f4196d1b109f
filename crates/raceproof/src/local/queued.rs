//! A wait in the queue of a name. Dropping it gives up the place, or what was handed to it (L4).

use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use raceproof_core::client::OpError;
use raceproof_core::id::Token;
use raceproof_core::local::Site;
use raceproof_core::lock::Claim;
use raceproof_core::time::Time;
use raceproof_core::wire::WAIT_MS_FOREVER;

use super::limit::Limit;
use super::op::LocalOp;
use super::shards::{Entered, Key, Polled, Waiting};
use super::{Local, LocalHeld};
use crate::owner::Flow;

pub(crate) struct Queued<'a> {
    local: &'a Arc<Local>,
    key: &'a Key,
    /// None when this is over.
    place: Option<u64>,
    until: Option<Time>,
    limit: Limit,
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
    /// Waits for one name by itself, or takes it if that is possible at once.
    pub(crate) fn enter(
        local: &'a Arc<Local>,
        key: &'a Key,
        claim: Claim,
        flow: &Flow,
        wait_ms: u64,
        site: Site,
        cx: &mut Context<'_>,
    ) -> Entry<'a> {
        if !flow.is_usable() {
            return Entry::Elsewhere;
        }
        let until = (wait_ms < WAIT_MS_FOREVER).then(|| local.now() + Duration::from_millis(wait_ms));
        match local.shards.enter(key, claim, Waiting { waker: cx.waker().clone(), owner: flow.owner(), until, site }) {
            Entered::Held(token) => Entry::Held(local.held(key, token)),
            Entered::Waiting { place } => {
                let limit = Limit::new(until.map(|until| local.instant(until)));
                let mut queued = Self { local, key, place: Some(place), until, limit };
                local.watch();
                match queued.limit.poll(cx) {
                    Poll::Pending => Entry::Waiting(queued),
                    // It woke nobody, so it has to be looked at again.
                    Poll::Ready(()) => {
                        cx.waker().wake_by_ref();
                        Entry::Waiting(queued)
                    }
                }
            }
            Entered::Elsewhere => Entry::Elsewhere,
        }
    }

    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Left> {
        let Some(place) = self.place else { return Poll::Ready(Left::Failed(OpError::Closed)) };
        let (polled, _spent) = self.local.shards.poll(self.key, place, cx.waker());
        match polled {
            Polled::Held(token) => {
                self.place = None;
                Poll::Ready(Left::Held(self.local.held(self.key, token)))
            }
            Polled::Waiting => {
                self.local.watch();
                ready!(self.limit.poll(cx));
                // It is over. The machine says so, with those who are in the way.
                self.local.with(|slow, now| self.local.promote_key(slow, now, self.key));
                Poll::Ready(self.leave(place))
            }
            Polled::Elsewhere => Poll::Ready(self.leave(place)),
        }
    }

    fn leave(&mut self, place: u64) -> Left {
        self.place = None;
        self.moved(place).map_or(Left::Failed(OpError::Unclaimed), Left::Moved)
    }

    /// The machine's operation that this wait has become; none if its grant passed on.
    fn moved(&self, place: u64) -> Option<LocalOp> {
        let moved = self.local.lock().moved.remove(&place)?;
        Some(LocalOp::resume(self.local, self.key.to_shared(), moved, self.until))
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
            Ok(given_up) => given_up.next.wake(),
            Err(()) => drop(self.moved(place)),
        }
    }
}
