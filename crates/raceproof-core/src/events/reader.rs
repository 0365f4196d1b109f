//! One subscriber's place in the ring.

use super::config::Policy;

/// Names a subscriber of one bus. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReaderId(pub(super) u64);

/// Events that a subscriber lost because it was too far behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Gap {
    /// The offset of the first event that is missing.
    pub first: u64,
    /// How many are missing. They are counted before any filter: some of them may not have been for this subscriber.
    pub missed: u64,
}

/// What a subscriber finds at its place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// So many events were taken, the first of them with this offset.
    Events {
        /// The offset of the first.
        first: u64,
        /// How many.
        count: usize,
    },
    /// These are lost; the next read goes on behind them.
    Gap(Gap),
    /// It has seen everything.
    Empty,
    /// It has seen everything, there will be no more, and its place is gone.
    Closed,
    /// It was too far behind and is cut off; its place is gone.
    Disconnected(Gap),
}

#[derive(Debug)]
pub(super) struct Reader<W> {
    pub(super) id: ReaderId,
    pub(super) policy: Policy,
    pub(super) limit: u64,
    /// The offset of the next event to read.
    pub(super) next: u64,
    pub(super) missed: u64,
    pub(super) parked: Option<W>,
}

impl<W> Reader<W> {
    /// The oldest event that is kept for it, when `head` is the offset of the next event to be published.
    pub(super) fn oldest(&self, head: u64) -> u64 {
        let oldest = self.next.max(head.saturating_sub(self.limit));
        match self.policy {
            Policy::Wait | Policy::DropOldest => oldest,
            // Nothing is kept for one that is cut off.
            Policy::Disconnect if oldest > self.next => head,
            Policy::Disconnect => oldest,
        }
    }
}
