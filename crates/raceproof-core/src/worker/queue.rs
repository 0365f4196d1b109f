//! Requests in their order, of which any may be taken out.

use std::collections::VecDeque;

use crate::time::Time;

/// Names a request of one worker. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub(super) u64);

#[derive(Debug)]
struct Entry<T> {
    id: RequestId,
    deadline: Option<Time>,
    /// None once it was taken out.
    request: Option<T>,
}

#[derive(Debug)]
pub(super) struct Queue<T> {
    /// In the order of their ids; the first and the last were not taken out.
    entries: VecDeque<Entry<T>>,
    live: usize,
    /// How many have a deadline.
    timed: usize,
}

impl<T> Queue<T> {
    pub(super) const fn new() -> Self {
        Self { entries: VecDeque::new(), live: 0, timed: 0 }
    }

    pub(super) const fn len(&self) -> usize {
        self.live
    }

    pub(super) const fn is_timed(&self) -> bool {
        self.timed > 0
    }

    #[cfg(test)]
    pub(super) fn entries(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn push(&mut self, id: RequestId, deadline: Option<Time>, request: T) {
        self.entries.push_back(Entry { id, deadline, request: Some(request) });
        self.live += 1;
        self.timed += usize::from(deadline.is_some());
    }

    /// The first, with its deadline.
    pub(super) fn pop(&mut self) -> Option<(T, Option<Time>)> {
        loop {
            let entry = self.entries.pop_front()?;
            if let Some(request) = entry.request {
                self.left(entry.deadline);
                return Some((request, entry.deadline));
            }
        }
    }

    /// Takes one out, wherever it is.
    pub(super) fn remove(&mut self, id: RequestId) -> Option<T> {
        let at = self.entries.binary_search_by_key(&id, |entry| entry.id).ok()?;
        let entry = self.entries.get_mut(at)?;
        let request = entry.request.take()?;
        let deadline = entry.deadline;
        self.left(deadline);
        self.tidy();
        Some(request)
    }

    /// Takes out all whose time is over.
    pub(super) fn remove_expired(&mut self, now: Time, expired: &mut Vec<T>) {
        if !self.is_timed() {
            return;
        }
        let before = expired.len();
        for entry in self.entries.iter_mut().filter(|entry| entry.deadline.is_some_and(|deadline| deadline <= now)) {
            expired.extend(entry.request.take());
        }
        let gone = expired.len() - before;
        self.live -= gone;
        self.timed -= gone;
        self.tidy();
    }

    /// Puts all of another queue behind its own.
    pub(super) fn append(&mut self, other: &mut Self) {
        if self.entries.is_empty() {
            std::mem::swap(&mut self.entries, &mut other.entries);
        } else {
            self.entries.append(&mut other.entries);
        }
        self.live += std::mem::take(&mut other.live);
        self.timed += std::mem::take(&mut other.timed);
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = T> {
        (self.live, self.timed) = (0, 0);
        self.entries.drain(..).filter_map(|entry| entry.request)
    }

    fn left(&mut self, deadline: Option<Time>) {
        self.live -= 1;
        self.timed -= usize::from(deadline.is_some());
    }

    fn tidy(&mut self) {
        let gone = |entry: Option<&Entry<T>>| entry.is_some_and(|entry| entry.request.is_none());
        while gone(self.entries.back()) {
            self.entries.pop_back();
        }
        while gone(self.entries.front()) {
            self.entries.pop_front();
        }
        // What was taken out between two that stay takes memory, but about as much again as those that stay.
        if self.entries.len() > 2 * self.live + 4 {
            self.entries.retain(|entry| entry.request.is_some());
        }
    }
}
