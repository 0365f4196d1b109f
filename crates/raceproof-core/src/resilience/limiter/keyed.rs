//! A quota for each key, in bounded memory.

use std::fmt;
use std::time::Duration;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;

use super::{KeyRefused, Quota, Tat};
use crate::time::Time;

/// Below this many keys nothing is swept for want of room.
const SWEEP_AT_MIN: usize = 64;

/// Sweeps of an unused table are at least this far apart.
const SWEEP_EVERY_MIN: Duration = Duration::from_secs(10);

/// The limiters of many keys. The caller hashes, because good hashing needs a random seed.
pub struct Keyed<K> {
    quota: Quota,
    keys_max: usize,
    entries: HashTable<Entry<K>>,
    /// When there are as many entries as this, those that are whole are dropped.
    sweep_at: usize,
    /// Then too.
    sweep_after: Time,
    /// No entry is whole before: a full table is not searched again until then.
    whole_from: Time,
}

struct Entry<K> {
    hash: u64,
    tat: Tat,
    key: K,
}

impl<K> Keyed<K> {
    /// A table for at most so many keys.
    #[must_use]
    pub fn new(quota: Quota, keys_max: usize) -> Self {
        Self {
            quota,
            keys_max: keys_max.max(1),
            entries: HashTable::new(),
            sweep_at: SWEEP_AT_MIN,
            sweep_after: Time::ZERO,
            whole_from: Time::ZERO,
        }
    }

    /// Takes `cells` from a key's quota. `eq` says whether an entry is the key's, and `key` makes the key if it has no
    /// entry.
    ///
    /// # Errors
    /// [`KeyRefused`], and nothing is taken.
    pub fn check(
        &mut self,
        now: Time,
        hash: u64,
        eq: impl Fn(&K) -> bool,
        key: impl FnOnce() -> K,
        cells: u32,
    ) -> Result<(), KeyRefused> {
        if let Ok(mut slot) = self.entries.find_entry(hash, |entry| entry.hash == hash && eq(&entry.key)) {
            let tat = &mut slot.get_mut().tat;
            *tat = self.quota.decide(*tat, now, cells)?;
            return Ok(());
        }
        let tat = self.quota.decide(Tat::WHOLE, now, cells)?;
        self.make_room(now)?;
        let entry = Entry { hash, tat, key: key() };
        if let Slot::Vacant(slot) = self.entries.entry(hash, |_| false, |entry| entry.hash) {
            slot.insert(entry);
            self.whole_from = self.whole_from.min(tat.whole_at());
        }
        Ok(())
    }

    /// What is left of a key's quota.
    #[must_use]
    pub fn left(&self, now: Time, hash: u64, eq: impl Fn(&K) -> bool) -> u32 {
        let entry = self.entries.find(hash, |entry| entry.hash == hash && eq(&entry.key));
        self.quota.left(entry.map_or(Tat::WHOLE, |entry| entry.tat), now)
    }

    /// How many keys are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// For how many keys there is memory.
    #[must_use]
    pub fn capacity(&self) -> usize {
        self.entries.capacity()
    }

    /// Forgets every key whose quota is whole, and gives their memory back.
    pub fn sweep(&mut self, now: Time) {
        let mut whole_from = Time::MAX;
        self.entries.retain(|entry| {
            let keep = !entry.tat.is_whole(now);
            if keep {
                whole_from = whole_from.min(entry.tat.whole_at());
            }
            keep
        });
        self.whole_from = whole_from;
        if self.entries.capacity() > SWEEP_AT_MIN.max(self.entries.len() * 4) {
            self.entries.shrink_to(self.entries.len() * 2, |entry| entry.hash);
        }
        // Each sweep is paid for by as many insertions as it leaves entries.
        self.sweep_at = SWEEP_AT_MIN.max(self.entries.len() * 2);
        self.sweep_after = now + self.quota.period().max(SWEEP_EVERY_MIN);
    }

    fn make_room(&mut self, now: Time) -> Result<(), KeyRefused> {
        let full = self.entries.len() >= self.keys_max;
        let due = self.entries.len() >= self.sweep_at || now >= self.sweep_after;
        if due || (full && now >= self.whole_from) {
            self.sweep(now);
        }
        if self.entries.len() < self.keys_max {
            return Ok(());
        }
        Err(KeyRefused::Full { keys_max: self.keys_max, retry_at: self.whole_from })
    }
}

impl<K> fmt::Debug for Keyed<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (quota, keys) = (&self.quota, self.entries.len());
        f.debug_struct("Keyed").field("quota", quota).field("keys", &keys).finish_non_exhaustive()
    }
}
