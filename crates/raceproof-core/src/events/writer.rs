//! Publishers that wait for room. What they publish waits in the machine, so that a publisher that is not polled holds
//! up nobody behind it.

use std::collections::{BTreeMap, VecDeque};

use super::bus::Published;

/// Names a publisher that waits. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WriterId(pub(super) u64);

/// How far a waiting publisher has come.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Writing<T> {
    /// There is no room yet.
    Waiting,
    /// Its event is published.
    Published(Published),
    /// The bus was closed first; the event is given back.
    Closed(T),
}

#[derive(Debug)]
pub(super) struct Writers<T, W> {
    next_id: u64,
    queue: VecDeque<(WriterId, T, Option<W>)>,
    settled: BTreeMap<WriterId, Writing<T>>,
}

impl<T, W> Writers<T, W> {
    pub(super) const fn new() -> Self {
        Self { next_id: 0, queue: VecDeque::new(), settled: BTreeMap::new() }
    }

    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    pub(super) fn push(&mut self, event: T, waker: W) -> WriterId {
        let id = WriterId(self.next_id);
        self.next_id += 1;
        self.queue.push_back((id, event, Some(waker)));
        id
    }

    pub(super) fn pop(&mut self) -> Option<(WriterId, T, Option<W>)> {
        self.queue.pop_front()
    }

    pub(super) fn settle(&mut self, id: WriterId, how: Writing<T>) {
        self.settled.insert(id, how);
    }

    /// What became of it, and the waker that is not needed any more.
    pub(super) fn poll(&mut self, id: WriterId, waker: W) -> (Writing<T>, Option<W>) {
        if let Some(how) = self.settled.remove(&id) {
            return (how, Some(waker));
        }
        // The queue is in the order of the ids.
        match self.queue.binary_search_by_key(&id, |(id, ..)| *id) {
            Ok(at) => (Writing::Waiting, self.queue.get_mut(at).and_then(|(_, _, parked)| parked.replace(waker))),
            Err(_) => (Writing::Waiting, Some(waker)),
        }
    }

    /// The waiting event, unless it was published; and the waker.
    pub(super) fn remove(&mut self, id: WriterId) -> (Option<T>, Option<W>) {
        if let Some(how) = self.settled.remove(&id) {
            let event = match how {
                Writing::Closed(event) => Some(event),
                Writing::Waiting | Writing::Published(_) => None,
            };
            return (event, None);
        }
        let at = self.queue.binary_search_by_key(&id, |(id, ..)| *id).ok();
        match at.and_then(|at| self.queue.remove(at)) {
            Some((_, event, waker)) => (Some(event), waker),
            None => (None, None),
        }
    }
}
