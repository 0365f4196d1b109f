//! How a cache is made.

use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use raceproof_core::cache::Config;

use super::Cache;
use super::shared::Shared;
use super::storage::{Storage, Weigher};

/// Makes a [`Cache`]; from [`Cache::builder`].
pub struct Builder<K, V, E> {
    capacity: usize,
    weight_max: Option<u64>,
    weigher: Option<Weigher<K, V>>,
    load_timeout: Option<Duration>,
    config: Config,
    error: PhantomData<fn() -> E>,
}

impl<K, V, E> fmt::Debug for Builder<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut debug = f.debug_struct("Builder");
        debug.field("capacity", &self.capacity).field("weight_max", &self.weight_max);
        debug.field("config", &self.config).finish_non_exhaustive()
    }
}

impl<K, V, E> Builder<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            weight_max: None,
            weigher: None,
            load_timeout: Some(Duration::from_secs(30)),
            config: Config::default(),
            error: PhantomData,
        }
    }

    /// How long a value is fresh. Default: for ever.
    #[must_use]
    pub const fn ttl(mut self, ttl: Duration) -> Self {
        self.config.ttl = Some(ttl);
        self
    }

    /// How long after its time to live a value is still served, while it is loaded again in the background. Default:
    /// not at all.
    #[must_use]
    pub const fn stale(mut self, stale: Duration) -> Self {
        self.config.stale = stale;
        self
    }

    /// How long it is remembered that there is no value under a key. Default: not at all.
    #[must_use]
    pub const fn absent_ttl(mut self, ttl: Duration) -> Self {
        self.config.absent_ttl = Some(ttl);
        self
    }

    /// How long after a failed refresh a stale value is served before the next. Default: 1 s.
    #[must_use]
    pub const fn retry(mut self, retry: Duration) -> Self {
        self.config.retry = retry;
        self
    }

    /// How long a load may take before it is dropped and counts as failed; none for no limit. Default: 30 s.
    #[must_use]
    pub const fn load_timeout(mut self, limit: Option<Duration>) -> Self {
        self.load_timeout = limit;
        self
    }

    /// How many loads may be under way or queued at a time. Callers that need another are refused. Default: 10,000.
    #[must_use]
    pub const fn loads_max(mut self, limit: usize) -> Self {
        self.config.loads_max = limit;
        self
    }

    /// How many callers may wait for one load. Default: 100,000.
    #[must_use]
    pub const fn waiters_max(mut self, limit: usize) -> Self {
        self.config.waiters_max = limit;
        self
    }

    /// Bounds the cache by the total weight of its entries instead of their number; the capacity is then only a hint
    /// of how many there will be. An entry weighs at least 1. One that is heavier than the part of the cache it falls
    /// into, of which there are several in a large cache, is served to those who wait and not kept.
    #[must_use]
    pub fn weight(mut self, max: u64, weigher: impl Fn(&K, &V) -> u64 + Send + Sync + 'static) -> Self {
        self.weight_max = Some(max);
        self.weigher = Some(Arc::new(weigher));
        self
    }

    /// The cache.
    #[must_use]
    pub fn build(self) -> Cache<K, V, E> {
        let weight_max = self.weight_max.unwrap_or_else(|| u64::try_from(self.capacity).unwrap_or(u64::MAX));
        let storage = Storage::new(self.capacity, weight_max, self.weigher);
        Cache { shared: Arc::new(Shared::new(storage, self.config, self.load_timeout)) }
    }
}
