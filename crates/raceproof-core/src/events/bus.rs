//! The ring, its readers and its writers.

use std::collections::VecDeque;

use super::config::{Config, Policy, ReaderConfig};
use super::error::{PublishError, SubscribeError, WaitError};
use super::reader::{Gap, Read, Reader, ReaderId};
use super::writer::{WriterId, Writers, Writing};

/// Where an event went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Published {
    /// Its place in the order of all events of the bus, from 0.
    pub offset: u64,
    /// How many subscribers there were.
    pub subscribers: usize,
}

/// What is left to do after an input, best without holding a lock: `W` and `T` may run foreign code when they are
/// called or dropped.
#[derive(Debug)]
pub struct Outputs<T, W> {
    /// Who has to look again.
    pub wakes: Vec<W>,
    /// Events that nobody needs any more.
    pub spent: Vec<T>,
    /// Wakers that were replaced.
    pub spent_wakes: Vec<W>,
    /// The last subscriber is gone.
    pub emptied: bool,
}

impl<T, W> Default for Outputs<T, W> {
    fn default() -> Self {
        Self { wakes: Vec::new(), spent: Vec::new(), spent_wakes: Vec::new(), emptied: false }
    }
}

/// How far a subscriber has read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// How many events it has yet to read, those included that it is about to lose.
    pub behind: u64,
    /// How many it lost.
    pub missed: u64,
    /// Whether publishers wait for it.
    pub full: bool,
}

/// A bus of events `T`, on which those who wait leave a `W`.
#[derive(Debug)]
pub struct Bus<T, W> {
    config: Config,
    /// Holds the events `head - ring.len() .. head`.
    ring: VecDeque<T>,
    /// The offset of the next event.
    head: u64,
    /// Below this offset no subscriber is full that is waited for. It may be too low, never too high.
    gate: u64,
    /// In the order of their ids.
    readers: Vec<Reader<W>>,
    reader_next: u64,
    /// How many readers left a waker.
    parked: usize,
    writers: Writers<T, W>,
    closed: bool,
}

impl<T: Clone, W> Bus<T, W> {
    /// An empty bus. Impossible limits are raised or lowered to the nearest possible ones.
    #[must_use]
    pub fn new(mut config: Config) -> Self {
        config.capacity = config.capacity.max(1);
        config.replay = config.replay.min(config.capacity);
        Self {
            config,
            ring: VecDeque::new(),
            head: 0,
            gate: u64::MAX,
            readers: Vec::new(),
            reader_next: 0,
            parked: 0,
            writers: Writers::new(),
            closed: false,
        }
    }

    /// Publishes an event if nobody has to be waited for.
    ///
    /// # Errors
    /// The event, if a subscriber is full that is waited for, or the bus is closed.
    pub fn publish(&mut self, event: T, out: &mut Outputs<T, W>) -> Result<Published, PublishError<T>> {
        if self.closed {
            return Err(PublishError::Closed(event));
        }
        if !self.writers.is_empty() || !self.has_room() {
            return Err(PublishError::Full(event));
        }
        Ok(self.append(event, out))
    }

    /// Publishes an event as soon as there is room: at once, or after those who wait already.
    ///
    /// # Errors
    /// The event, if too many wait or the bus is closed.
    pub fn enqueue(&mut self, event: T, waker: W, out: &mut Outputs<T, W>) -> Result<WriterId, WaitError<T>> {
        if self.closed {
            out.spent_wakes.push(waker);
            return Err(WaitError::Closed(event));
        }
        // Who can be published at once is not one of those who wait.
        let waits = !self.writers.is_empty() || !self.has_room();
        if waits && self.writers.len() >= self.config.publishers_waiting_max {
            out.spent_wakes.push(waker);
            return Err(WaitError::TooManyWaiting(event));
        }
        let id = self.writers.push(event, waker);
        self.admit(out);
        Ok(id)
    }

    /// What became of an event that had to wait. `waker` is kept while it waits.
    pub fn poll_enqueued(&mut self, id: WriterId, waker: W, out: &mut Outputs<T, W>) -> Writing<T> {
        let (how, spent) = self.writers.poll(id, waker);
        out.spent_wakes.extend(spent);
        how
    }

    /// Nobody waits for this event any more. It is taken back, unless it was published.
    pub fn forget(&mut self, id: WriterId, out: &mut Outputs<T, W>) -> Option<T> {
        let (event, waker) = self.writers.remove(id);
        out.spent_wakes.extend(waker);
        event
    }

    /// Adds a subscriber, which reads from here on, or from a little earlier if it asked for a replay.
    ///
    /// # Errors
    /// If there are too many, or the bus is closed.
    pub fn subscribe(&mut self, wanted: ReaderConfig) -> Result<ReaderId, SubscribeError> {
        if self.closed {
            return Err(SubscribeError::Closed);
        }
        if self.readers.len() >= self.config.subscribers_max {
            return Err(SubscribeError::TooMany { max: self.config.subscribers_max });
        }
        let limit = wanted.limit.unwrap_or(self.config.capacity).clamp(1, self.config.capacity);
        let replay = wanted.replay.min(limit).min(self.ring.len()).min(self.config.replay);
        let limit = limit as u64;
        let id = ReaderId(self.reader_next);
        self.reader_next += 1;
        let next = self.head - replay as u64;
        if wanted.policy == Policy::Wait {
            self.gate = self.gate.min(next + limit);
        }
        self.readers.push(Reader { id, policy: wanted.policy, limit, next, missed: 0, parked: None });
        Ok(id)
    }

    /// Takes up to `max` events for this subscriber, or says why there are none. An unknown subscriber is closed.
    pub fn read(&mut self, id: ReaderId, max: usize, taken: &mut VecDeque<T>, out: &mut Outputs<T, W>) -> Read {
        let (head, base) = (self.head, self.base());
        let Some(at) = self.find(id) else { return Read::Closed };
        let Some(reader) = self.readers.get_mut(at) else { return Read::Closed };
        let first = reader.next;
        let oldest = head.saturating_sub(reader.limit).max(base);
        if first < oldest {
            return self.lost(at, oldest, out);
        }
        if first == head {
            if self.closed {
                self.remove(at, out);
                return Read::Closed;
            }
            return Read::Empty;
        }
        let start = usize::try_from(first - base).unwrap_or(usize::MAX);
        let count = max.max(1).min(self.ring.len().saturating_sub(start));
        reader.next = first + count as u64;
        let waited_for = reader.policy == Policy::Wait;
        taken.extend(self.ring.range(start..start + count).cloned());
        // Only who was among the last can have been what the oldest events were kept for.
        let replay = self.config.replay as u64;
        if first <= base + replay {
            self.trim(out);
        }
        if waited_for && !self.writers.is_empty() {
            self.admit(out);
        }
        Read::Events { first, count }
    }

    /// Leaves a waker with a subscriber that has read everything. False if there is something to read: read again.
    pub fn park(&mut self, id: ReaderId, waker: W, out: &mut Outputs<T, W>) -> bool {
        let head = self.head;
        let closed = self.closed;
        let parks =
            self.find(id).and_then(|at| self.readers.get_mut(at)).filter(|reader| reader.next == head && !closed);
        let Some(reader) = parks else {
            out.spent_wakes.push(waker);
            return false;
        };
        match reader.parked.replace(waker) {
            Some(old) => out.spent_wakes.push(old),
            None => self.parked += 1,
        }
        true
    }

    /// Removes a subscriber, who holds up nobody from here on.
    pub fn unsubscribe(&mut self, id: ReaderId, out: &mut Outputs<T, W>) {
        if let Some(at) = self.find(id) {
            self.remove(at, out);
        }
    }

    /// Takes no more events: those that wait for room are given back, those that were published can be read.
    pub fn close(&mut self, out: &mut Outputs<T, W>) {
        self.closed = true;
        while let Some((id, event, waker)) = self.writers.pop() {
            self.writers.settle(id, Writing::Closed(event));
            out.wakes.extend(waker);
        }
        self.wake_readers(out);
        self.trim(out);
    }

    /// Whether the bus is closed.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.closed
    }

    /// How many events were published.
    #[must_use]
    pub const fn published(&self) -> u64 {
        self.head
    }

    /// How many events the ring holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether the ring holds no event.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }

    /// How many publishers wait for room.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.writers.len()
    }

    /// All subscribers.
    pub fn readers(&self) -> impl Iterator<Item = (ReaderId, Reading)> {
        self.readers.iter().map(|reader| {
            let behind = self.head - reader.next;
            let full = reader.policy == Policy::Wait && behind >= reader.limit;
            (reader.id, Reading { behind, missed: reader.missed, full })
        })
    }

    fn base(&self) -> u64 {
        self.head - self.ring.len() as u64
    }

    fn find(&self, id: ReaderId) -> Option<usize> {
        self.readers.binary_search_by_key(&id, |reader| reader.id).ok()
    }

    fn has_room(&mut self) -> bool {
        if self.head >= self.gate {
            let ends = self.readers.iter().filter(|reader| reader.policy == Policy::Wait);
            self.gate = ends.map(|reader| reader.next + reader.limit).min().unwrap_or(u64::MAX);
        }
        self.head < self.gate
    }

    fn append(&mut self, event: T, out: &mut Outputs<T, W>) -> Published {
        let published = Published { offset: self.head, subscribers: self.readers.len() };
        if self.readers.is_empty() && self.config.replay == 0 {
            out.spent.push(event);
        } else {
            // Nobody waits for the oldest: the gate is at most a capacity ahead of every reader that is waited for.
            if self.ring.len() >= self.config.capacity {
                out.spent.extend(self.ring.pop_front());
            }
            self.ring.push_back(event);
            if self.readers.is_empty() && self.ring.len() > self.config.replay {
                out.spent.extend(self.ring.pop_front());
            }
        }
        self.head += 1;
        self.wake_readers(out);
        published
    }

    fn wake_readers(&mut self, out: &mut Outputs<T, W>) {
        if self.parked > 0 {
            self.parked = 0;
            out.wakes.extend(self.readers.iter_mut().filter_map(|reader| reader.parked.take()));
        }
    }

    /// Publishes what waits, as far as there is room.
    fn admit(&mut self, out: &mut Outputs<T, W>) {
        while !self.writers.is_empty() && self.has_room() {
            let Some((id, event, waker)) = self.writers.pop() else { break };
            let published = self.append(event, out);
            self.writers.settle(id, Writing::Published(published));
            out.wakes.extend(waker);
        }
    }

    fn lost(&mut self, at: usize, oldest: u64, out: &mut Outputs<T, W>) -> Read {
        let head = self.head;
        let Some(reader) = self.readers.get_mut(at) else { return Read::Closed };
        let first = reader.next;
        match reader.policy {
            Policy::Wait | Policy::DropOldest => {
                reader.next = oldest;
                reader.missed += oldest - first;
                self.trim(out);
                Read::Gap(Gap { first, missed: oldest - first })
            }
            Policy::Disconnect => {
                self.remove(at, out);
                Read::Disconnected(Gap { first, missed: head - first })
            }
        }
    }

    fn remove(&mut self, at: usize, out: &mut Outputs<T, W>) {
        let reader = self.readers.remove(at);
        if let Some(waker) = reader.parked {
            self.parked -= 1;
            out.spent_wakes.push(waker);
        }
        self.trim(out);
        // Whoever it held up may go on.
        self.gate = self.gate.min(self.head);
        self.admit(out);
        out.emptied |= self.readers.is_empty();
    }

    /// Lets go of what everybody has read and no later subscriber may ask for.
    fn trim(&mut self, out: &mut Outputs<T, W>) {
        let head = self.head;
        let replay = if self.closed { 0 } else { self.config.replay as u64 };
        let unread = self.readers.iter().map(|reader| reader.oldest(head)).min().unwrap_or(head);
        let keep = unread.min(head.saturating_sub(replay));
        let spent = keep.saturating_sub(self.base());
        let spent = usize::try_from(spent).unwrap_or(usize::MAX).min(self.ring.len());
        out.spent.extend(self.ring.drain(..spent));
    }
}
