//! `[cache]`: values by key that are loaded once.

use std::hash::Hash;
use std::time::Duration;

use raceproof_core::cache::Config;

use crate::cache::{Builder, Cache};

/// The section `[cache]`: what a [`Cache`] is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CacheConfig {
    /// How many entries there are room for.
    pub capacity: usize,
    /// How long a value is fresh; none for ever.
    pub ttl: Option<Duration>,
    /// How long after that it is still served while it is loaded again.
    pub stale: Duration,
    /// How long it is remembered that there is no value; none for not at all.
    pub absent_ttl: Option<Duration>,
    /// How long after a failed refresh a stale value is served before the next.
    pub retry: Duration,
    /// How long a load may take; none for no limit.
    pub load_timeout: Option<Duration>,
    /// How many loads may be under way or queued.
    pub loads_max: usize,
    /// How many callers may wait for one load.
    pub waiters_max: usize,
}

impl Default for CacheConfig {
    fn default() -> Self {
        let Config { ttl, stale, absent_ttl, retry, loads_max, waiters_max } = Config::default();
        let load_timeout = Some(Duration::from_secs(30));
        Self { capacity: 10_000, ttl, stale, absent_ttl, retry, load_timeout, loads_max, waiters_max }
    }
}

impl CacheConfig {
    /// A cache.
    #[must_use]
    pub fn builder<K, V, E>(&self) -> Builder<K, V, E>
    where
        K: Hash + Eq + Clone + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        let mut builder = Cache::builder(self.capacity)
            .stale(self.stale)
            .retry(self.retry)
            .load_timeout(self.load_timeout)
            .loads_max(self.loads_max)
            .waiters_max(self.waiters_max);
        if let Some(ttl) = self.ttl {
            builder = builder.ttl(ttl);
        }
        if let Some(ttl) = self.absent_ttl {
            builder = builder.absent_ttl(ttl);
        }
        builder
    }
}

section! {
    CacheConfig, "cache", "Caches: how much they hold, and for how long (feature `cache`).";
    "capacity" capacity: usize, "how many entries there is room for";
    "ttl" ttl: Option<Duration>, "how long a value is fresh; none: for ever";
    "stale" stale: Duration, "how long after that it is still served while it is loaded again";
    "absent-ttl" absent_ttl: Option<Duration>, "how long it is remembered that there is no value";
    "retry" retry: Duration, "how long after a failed refresh a stale value is served before the next";
    "load-timeout" load_timeout: Option<Duration> = "timeout", "how long a load may take";
    "loads-max" loads_max: usize, "how many loads may be under way or queued";
    "waiters-max" waiters_max: usize = "waiters-max", "how many callers may wait for one load";
    check |values| {
        super::some("capacity", values.capacity == 0)?;
        if values.ttl.is_none() && !values.stale.is_zero() {
            return Err("stale without ttl: a value that is fresh for ever never gets stale".into());
        }
        Ok(())
    }
}
