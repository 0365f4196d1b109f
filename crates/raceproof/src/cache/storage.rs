//! The entries, in quick_cache.

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use quick_cache::sync::Cache;
use quick_cache::{DefaultHashBuilder, Lifecycle, Weighter};
use raceproof_core::cache::{Freshness, Times};
use raceproof_core::time::Time;

pub(super) type Weigher<K, V> = Arc<dyn Fn(&K, &V) -> u64 + Send + Sync>;

/// What is known under a key.
#[derive(Clone)]
pub(super) struct Entry<V> {
    /// None: that there is no value.
    pub(super) value: Option<V>,
    pub(super) times: Times,
}

pub(super) struct Storage<K, V> {
    entries: Cache<K, Entry<V>, Weigh<K, V>, DefaultHashBuilder, Eviction>,
    evicted: Arc<AtomicU64>,
}

impl<K: Hash + Eq + Clone, V: Clone> Storage<K, V> {
    pub(super) fn new(capacity: usize, weight_max: u64, weigher: Option<Weigher<K, V>>) -> Self {
        let evicted = Arc::new(AtomicU64::new(0));
        let eviction = Eviction { evicted: Arc::clone(&evicted) };
        let entries = Cache::with(capacity, weight_max, Weigh(weigher), DefaultHashBuilder::default(), eviction);
        Self { entries, evicted }
    }

    #[inline]
    pub(super) fn get<Q>(&self, key: &Q) -> Option<Entry<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.get(key)
    }

    /// What is known, without counting as use.
    pub(super) fn peek<Q>(&self, key: &Q) -> Option<Entry<V>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.peek(key)
    }

    /// What comes back is to be dropped outside of any lock.
    pub(super) fn insert(&self, key: K, entry: Entry<V>) -> Evicted<K, V> {
        let mut evicted = Evicted(Vec::new());
        self.entries.insert_with_lifecycle(key, entry, &mut evicted);
        evicted
    }

    /// What comes back is to be dropped outside of any lock.
    pub(super) fn remove<Q>(&self, key: &Q) -> Option<(K, Entry<V>)>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.entries.remove(key)
    }

    /// Whether the entry still has these times; and the entry, if it has and they are over, to be dropped outside of any
    /// lock.
    pub(super) fn expire(&self, key: &K, times: Times, over: bool) -> (bool, Option<(K, Entry<V>)>) {
        let mut same = false;
        let expired = self.entries.remove_if(key, |entry| {
            same = entry.times == times;
            same && over
        });
        (same, expired)
    }

    pub(super) fn remove_where(&self, which: impl Fn(&K) -> bool) {
        self.entries.retain(|key, _| !which(key));
    }

    pub(super) fn remove_expired(&self, now: Time) {
        self.entries.retain(|_, entry| entry.times.at(now) != Freshness::Expired);
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn weight(&self) -> u64 {
        self.entries.weight()
    }

    pub(super) fn evicted(&self) -> u64 {
        self.evicted.load(Ordering::Relaxed)
    }
}

impl<K, V> fmt::Debug for Storage<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Storage").finish_non_exhaustive()
    }
}

struct Weigh<K, V>(Option<Weigher<K, V>>);

impl<K, V> Clone for Weigh<K, V> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<K, V> Weighter<K, Entry<V>> for Weigh<K, V> {
    fn weight(&self, key: &K, entry: &Entry<V>) -> u64 {
        match (&self.0, &entry.value) {
            // What weighs nothing would never go.
            (Some(weigher), Some(value)) => weigher(key, value).max(1),
            _ => 1,
        }
    }
}

#[derive(Clone)]
struct Eviction {
    evicted: Arc<AtomicU64>,
}

/// Entries that went to make room, to be dropped outside of any lock.
pub(super) struct Evicted<K, V>(Vec<(K, Entry<V>)>);

impl<K, V> Default for Evicted<K, V> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K, V> Lifecycle<K, Entry<V>> for Eviction {
    type RequestState = Evicted<K, V>;

    fn on_evict(&self, state: &mut Self::RequestState, key: K, entry: Entry<V>) {
        self.evicted.fetch_add(1, Ordering::Relaxed);
        state.0.push((key, entry));
    }
}
