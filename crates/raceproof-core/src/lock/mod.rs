//! The lock table: who holds what, who waits for it, and who is served next.
//!
//! Owns the queues and the holders. Knows sessions only as labels, time only for lock-delays, and nothing of leases,
//! logs or answers: the hub does.
//!
//! Promises: L1 (no two conflicting grants), L3 (a request is served once it conflicts neither with a holder nor with
//! anyone before it in the queue, so nobody is overtaken by what would delay them), L6 (all names or none; cycles are
//! found in `deadlock`), L7 (an entry lives as long as a holder, a waiter or a lock-delay needs it).

mod claim;
mod deadlock;
mod line;
mod request;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use rustc_hash::FxHashMap;

pub use self::claim::{Claim, Load};
pub use self::deadlock::Blocked;
pub use self::line::{Line, Turn};
pub use self::request::{Flow, Grant, Key, Space, Terms, Ticket, Wait, WaitId};
use crate::id::Token;
use crate::time::Time;

#[derive(Debug, Default)]
struct Entry {
    holders: Vec<Token>,
    held: Load,
    queue: BTreeSet<Ticket>,
    waiting: Load,
    closed_until: Option<Time>,
}

impl Entry {
    fn is_unused(&self) -> bool {
        self.holders.is_empty() && self.queue.is_empty() && self.closed_until.is_none()
    }
}

#[derive(Debug, Default)]
struct FlowUse {
    grants: u32,
    waits: Vec<WaitId>,
}

/// Who holds what, and who waits for it.
#[derive(Debug, Default)]
pub struct LockTable {
    entries: BTreeMap<Key, Entry>,
    grants: BTreeMap<Token, Grant>,
    waits: FxHashMap<WaitId, Wait>,
    flows: BTreeMap<Flow, FlowUse>,
    /// Lets shared requests overtake exclusive ones: a bug that the simulator must notice.
    pub(crate) shared_barges: bool,
    /// Serves a request once its first name is free: a bug that the simulator must notice.
    pub(crate) partial_grants: bool,
    /// Gives lone permits while a lock-delay lasts: a bug that the simulator must notice.
    pub(crate) ignores_delays: bool,
    /// Keeps entries that nobody uses: a bug that the simulator must notice.
    pub(crate) keeps_entries: bool,
}

impl LockTable {
    /// A grant that is valid.
    #[must_use]
    pub fn grant(&self, token: Token) -> Option<&Grant> {
        self.grants.get(&token)
    }

    /// A request that waits.
    #[must_use]
    pub fn wait(&self, id: WaitId) -> Option<&Wait> {
        self.waits.get(&id)
    }

    /// Every request that waits, in no order.
    pub fn waits(&self) -> impl Iterator<Item = &Wait> {
        self.waits.values()
    }

    /// How many names are in use.
    #[must_use]
    pub fn entries_count(&self) -> usize {
        self.entries.len()
    }

    /// How many grants are valid.
    #[must_use]
    pub fn grants_count(&self) -> usize {
        self.grants.len()
    }

    /// How many requests wait.
    #[must_use]
    pub fn waits_count(&self) -> usize {
        self.waits.len()
    }

    /// Every grant, in token order.
    pub fn grants(&self) -> impl Iterator<Item = &Grant> {
        self.grants.values()
    }

    /// The grants of one name, in token order.
    pub fn holders(&self, key: &Key) -> impl Iterator<Item = &Grant> {
        let tokens = self.entries.get(key).map(|entry| entry.holders.as_slice()).unwrap_or_default();
        tokens.iter().filter_map(|token| self.grants.get(token))
    }

    /// The waiters of one name, in the order they will be served.
    pub fn waiters(&self, key: &Key) -> impl Iterator<Item = &Wait> {
        let queue = self.entries.get(key).map(|entry| entry.queue.iter());
        queue.into_iter().flatten().filter_map(|ticket| self.waits.get(&ticket.id()))
    }

    /// How many wait for one name.
    #[must_use]
    pub fn waiters_count(&self, key: &Key) -> usize {
        self.entries.get(key).map_or(0, |entry| entry.queue.len())
    }

    /// The semaphore's size, while the name is used as one.
    #[must_use]
    pub fn permits_of(&self, key: &Key) -> Option<u32> {
        self.entries.get(key).and_then(|entry| entry.held.plus(entry.waiting).permits_of())
    }

    /// Until when a lock-delay keeps the name closed.
    #[must_use]
    pub fn closed_until(&self, key: &Key) -> Option<Time> {
        self.entries.get(key).and_then(|entry| entry.closed_until)
    }

    /// Every lock-delay that lasts.
    pub fn delays(&self) -> impl Iterator<Item = (&Key, Time)> {
        self.entries.iter().filter_map(|(key, entry)| entry.closed_until.map(|until| (key, until)))
    }

    /// Every name that somebody waits for, in order.
    #[must_use]
    pub fn keys_waited_for(&self) -> Vec<Key> {
        self.entries.iter().filter(|(_, entry)| !entry.queue.is_empty()).map(|(key, _)| key.clone()).collect()
    }

    /// Names in use of one space that come after `after` (or from `prefix` on), in order.
    pub fn keys_from(&self, space: Space, prefix: &str, after: Option<&str>) -> impl Iterator<Item = &Key> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(Key { space, name: after.into() }),
            _ => Bound::Included(Key { space, name: prefix.into() }),
        };
        self.entries.range((start, Bound::Unbounded)).map(|(key, _)| key).take_while(move |key| key.space == space)
    }

    /// The first name that is in use as another kind than `claim` wants.
    #[must_use]
    pub fn mismatch(&self, keys: &[Key], claim: Claim) -> Option<Key> {
        keys.iter()
            .find(|key| self.entries.get(key).is_some_and(|entry| entry.held.plus(entry.waiting).mismatches(claim)))
            .cloned()
    }

    /// Whether a request of this rank, coming last, could be served at once without overtaking anyone.
    #[must_use]
    pub fn is_free(&self, keys: &[Key], claim: Claim, rank: u16) -> bool {
        let ticket = Ticket::new(rank, WaitId(u64::MAX));
        let mut keys = self.judged(keys).iter();
        keys.all(|key| self.entries.get(key).is_none_or(|entry| self.admits(entry, claim, ticket)))
    }

    fn judged<'k>(&self, keys: &'k [Key]) -> &'k [Key] {
        if self.partial_grants { keys.get(..1).unwrap_or(keys) } else { keys }
    }

    fn admits(&self, entry: &Entry, claim: Claim, ticket: Ticket) -> bool {
        // Also when the lock-delay has just run out: [`Self::open`] lets in those first who waited for it (L3).
        if entry.closed_until.is_some() && !(self.ignores_delays && claim.take() == Some(1)) {
            return false;
        }
        if self.shared_barges && claim == Claim::Shared {
            return entry.held.admits(claim);
        }
        entry.held.plus(self.load_before(entry, ticket)).admits(claim)
    }

    /// The claims of everyone before `ticket` in the queue.
    fn load_before(&self, entry: &Entry, ticket: Ticket) -> Load {
        if entry.queue.last().is_none_or(|last| *last < ticket) {
            return entry.waiting;
        }
        let mut load = Load::default();
        for before in entry.queue.range(..ticket) {
            if let Some(wait) = self.waits.get(&before.id()) {
                load.add(wait.claim);
            }
        }
        load
    }

    /// Makes a grant valid. The caller has asked [`Self::is_free`], or knows better (a restart).
    pub fn insert(&mut self, grant: Grant) {
        for key in &grant.keys {
            let entry = self.entries.entry(key.clone()).or_default();
            let place = entry.holders.partition_point(|token| *token < grant.token);
            entry.holders.insert(place, grant.token);
            entry.held.add(grant.claim);
        }
        if let Some(flow) = grant.flow() {
            self.flows.entry(flow).or_default().grants += 1;
        }
        self.grants.insert(grant.token, grant);
    }

    /// Ends a grant. Follow with [`Self::serve`] of its keys.
    pub fn remove(&mut self, token: Token) -> Option<Grant> {
        let grant = self.grants.remove(&token)?;
        for key in &grant.keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.holders.retain(|holder| *holder != token);
                entry.held.remove(grant.claim);
            }
            self.drop_if_unused(key);
        }
        if let Some(flow) = grant.flow() {
            self.use_flow(&flow, |used| used.grants = used.grants.saturating_sub(1));
        }
        Some(grant)
    }

    /// Puts a request in the queues of all its names.
    pub fn enqueue(&mut self, wait: Wait) {
        for key in &wait.keys {
            let entry = self.entries.entry(key.clone()).or_default();
            entry.queue.insert(wait.ticket);
            entry.waiting.add(wait.claim);
        }
        if let Some(flow) = wait.flow() {
            self.flows.entry(flow).or_default().waits.push(wait.ticket.id());
        }
        self.waits.insert(wait.ticket.id(), wait);
    }

    /// Takes a request out of all its queues. Follow with [`Self::serve`] of its keys: others may have waited for it.
    pub fn dequeue(&mut self, id: WaitId) -> Option<Wait> {
        let wait = self.waits.remove(&id)?;
        for key in &wait.keys {
            if let Some(entry) = self.entries.get_mut(key)
                && entry.queue.remove(&wait.ticket)
            {
                entry.waiting.remove(wait.claim);
            }
            self.drop_if_unused(key);
        }
        if let Some(flow) = wait.flow() {
            self.use_flow(&flow, |used| used.waits.retain(|other| *other != id));
        }
        Some(wait)
    }

    /// Takes out of the queues of `keys` the first request that can be served. The caller makes it a grant with
    /// [`Self::insert`] and asks again, until there is none. Names that are done with are taken off `keys`: what is
    /// granted makes nobody's turn come.
    #[must_use]
    pub fn serve(&mut self, keys: &mut &[Key]) -> Option<Wait> {
        while let Some((key, rest)) = keys.split_first() {
            if let Some(id) = self.first_servable(key) {
                return self.dequeue(id);
            }
            *keys = rest;
        }
        None
    }

    fn first_servable(&self, key: &Key) -> Option<WaitId> {
        let entry = self.entries.get(key)?;
        let mut before = entry.held;
        for ticket in &entry.queue {
            if before.is_closed() && !self.shared_barges {
                return None;
            }
            let wait = self.waits.get(&ticket.id())?;
            let mut keys = self.judged(&wait.keys).iter();
            let admitted =
                |key: &Key| self.entries.get(key).is_some_and(|entry| self.admits(entry, wait.claim, wait.ticket));
            if keys.all(admitted) {
                return Some(ticket.id());
            }
            before.add(wait.claim);
        }
        None
    }

    /// Keeps a name closed until `until`, whoever waits.
    pub fn close(&mut self, key: Key, until: Time) {
        let entry = self.entries.entry(key).or_default();
        entry.closed_until = Some(entry.closed_until.map_or(until, |before| before.max(until)));
    }

    /// Opens a name whose lock-delay is over. Follow with [`Self::serve`].
    pub fn open(&mut self, now: Time, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.closed_until = entry.closed_until.filter(|until| *until > now);
        }
        self.drop_if_unused(key);
    }

    /// Forgets everyone who waits for a name: a bug that the simulator must notice.
    pub(crate) fn forget_queue(&mut self, key: &Key) {
        if let Some(entry) = self.entries.get_mut(key) {
            entry.queue.clear();
            entry.waiting = Load::default();
        }
        self.drop_if_unused(key);
    }

    /// Lets a name's next holder in beside this one: a bug that the simulator must notice.
    pub(crate) fn forget_holder(&mut self, token: Token) {
        let Some(grant) = self.grants.get(&token) else { return };
        for key in &grant.keys {
            if let Some(entry) = self.entries.get_mut(key) {
                entry.held.remove(grant.claim);
            }
        }
    }

    fn drop_if_unused(&mut self, key: &Key) {
        if !self.keeps_entries && self.entries.get(key).is_some_and(Entry::is_unused) {
            self.entries.remove(key);
        }
    }

    fn use_flow(&mut self, flow: &Flow, change: impl FnOnce(&mut FlowUse)) {
        if let Some(used) = self.flows.get_mut(flow) {
            change(used);
            if used.grants == 0 && used.waits.is_empty() {
                self.flows.remove(flow);
            }
        }
    }
}
