//! A cache that loads what it lacks, once.
//!
//! Owns: the entries, the tasks that load, and everybody who waits for one. Decides nothing about loads and ages: see
//! [`raceproof_core::cache`]. Which entries go when it is full is quick_cache's to decide; `docs/rooms/cache.md` says
//! why that one.
//!
//! - K1: one load per key at a time, also when the caller that started it is cancelled: a load that does not end at
//!   once goes on as a task of its own.
//! - K2: a write or an invalidation during a load wins: nothing of that load is kept, and whoever asks afterwards
//!   waits for a load that began afterwards.

mod bounds;
mod builder;
mod counters;
mod error;
mod keeper;
mod lead;
mod shared;
mod storage;
#[cfg(test)]
mod tests;
mod wait;

use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

pub use builder::Builder;
pub use error::LoadError;

pub use crate::attempt::Failure;

use self::lead::Found;
use self::shared::{Look, Shared};

/// Values by key, loaded when they are asked for and missing.
///
/// ```
/// use std::time::Duration;
/// use raceproof::cache::Cache;
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// let cache: Cache<String, u32, std::io::Error> = Cache::builder(1_000).ttl(Duration::from_secs(2)).build();
/// let length = cache.get_or_load("engines", || async { Ok(7) }).await;
/// assert_eq!(length.unwrap(), 7);
/// assert_eq!(cache.stats().loads, 1);
/// # }
/// ```
///
/// Values are cloned on every hit, under a lock of the storage: keep what is large in an [`Arc`]. Neither `Clone` nor
/// `Drop` of a value may use the cache.
///
/// Clones are handles of the same cache. When the last one goes, the entries are dropped; a load that is under way
/// ends unheard.
pub struct Cache<K, V, E> {
    shared: Arc<Shared<K, V, E>>,
}

impl<K, V, E> Cache<K, V, E>
where
    K: Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// A cache for about so many entries, without a time limit on them.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self::builder(capacity).build()
    }

    /// A cache for about so many entries, or for a total weight, with times to live.
    #[must_use]
    pub fn builder(capacity: usize) -> Builder<K, V, E> {
        Builder::new(capacity)
    }

    /// The value under `key`; if there is none, `load` makes it, once for all who ask meanwhile.
    ///
    /// A value that is stale but may still be served is served, and `load` runs in the background. The load runs in
    /// the caller until it first waits, and from then on as a task in the caller's Tokio runtime.
    ///
    /// # Errors
    /// [`LoadError`], told to all who waited for the load. A failure is not kept.
    ///
    /// # Cancel safety
    /// Cancel safe: the load goes on, for others who wait and for the cache (K1).
    pub async fn get_or_load<Q, F, Fut>(&self, key: &Q, load: F) -> Result<V, LoadError<E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + Sync + ?Sized,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<V, E>> + Send + 'static,
    {
        let looked = match self.shared.look(key) {
            Look::Hit(Some(value)) => {
                self.shared.counters.hit();
                return Ok(value);
            }
            looked => looked,
        };
        let load = move || async move { load().await.map(Some) };
        match lead::find(&self.shared, key, load, Found::Value, looked).await? {
            Some(value) => Ok(value),
            // A load of this kind gives a value or fails.
            None => Err(LoadError::Load(Failure::Aborted)),
        }
    }

    /// As [`get_or_load`](Self::get_or_load), where `load` may find that there is no value. If the cache was built
    /// with [`absent_ttl`](Builder::absent_ttl), that is remembered, too.
    ///
    /// # Errors
    /// As [`get_or_load`](Self::get_or_load).
    ///
    /// # Cancel safety
    /// Cancel safe, as [`get_or_load`](Self::get_or_load).
    pub async fn get_or_find<Q, F, Fut>(&self, key: &Q, load: F) -> Result<Option<V>, LoadError<E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + Sync + ?Sized,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<V>, E>> + Send + 'static,
    {
        let looked = match self.shared.look(key) {
            Look::Hit(found) => {
                self.shared.counters.hit();
                return Ok(found);
            }
            looked => looked,
        };
        lead::find(&self.shared, key, load, Found::Anything, looked).await
    }

    /// The value under `key`, if it is there and may be served. Loads nothing.
    #[must_use]
    pub fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        match self.shared.look(key) {
            Look::Hit(value) => {
                self.shared.counters.hit();
                value
            }
            Look::Stale(value) => {
                self.shared.counters.stale();
                Some(value)
            }
            Look::Miss => {
                self.shared.counters.miss();
                None
            }
        }
    }

    /// Puts a value under `key`. A load that is under way keeps nothing (K2).
    pub fn insert(&self, key: K, value: V) {
        self.shared.insert(key, value);
    }

    /// Forgets the value under `key`. A load that is under way keeps nothing; whoever asks from now on waits for it to
    /// end and then for one that begins after it (K2).
    pub fn invalidate<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.shared.invalidate(key);
    }

    /// Forgets everything under the keys that `which` names, as [`invalidate`](Self::invalidate) does. Walks the whole
    /// cache. `which` must not use the cache.
    pub fn invalidate_where(&self, which: impl Fn(&K) -> bool) {
        self.shared.invalidate_where(which);
    }

    /// Forgets everything, as [`invalidate`](Self::invalidate) does.
    pub fn invalidate_all(&self) {
        self.shared.invalidate_where(|_| true);
    }

    /// Drops the entries that may not be served any more, all at once. Without it they go a few with each write, to make
    /// room, and within about a minute by a task of the Tokio runtime that the cache was written in.
    pub fn remove_expired(&self) {
        self.shared.remove_expired();
    }

    /// What the cache holds and has done.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }
}

impl<K, V, E> Clone for Cache<K, V, E> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K, V, E> fmt::Debug for Cache<K, V, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").finish_non_exhaustive()
    }
}

/// What a cache holds, and what it has done since it was made.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Entries, also those whose time is over and that were not swept yet.
    pub entries: usize,
    /// Their weight; as many as there are entries, unless the cache weighs them.
    pub weight: u64,
    /// Loads that are under way or queued.
    pub loading: usize,
    /// Callers that wait for one.
    pub waiters: usize,
    /// Callers that were served at once by a fresh entry, also by one that says there is no value.
    pub hits: u64,
    /// Callers that were served at once by a stale entry.
    pub stale_hits: u64,
    /// Callers that found nothing to serve.
    pub misses: u64,
    /// Those of them that waited for a load that another had started.
    pub coalesced: u64,
    /// Loads that were started.
    pub loads: u64,
    /// Those that failed.
    pub failed: u64,
    /// Loads whose key was written or invalidated while they ran, and of which nothing was kept.
    pub overtaken: u64,
    /// Entries that went to make room.
    pub evicted: u64,
}

impl Stats {
    /// Which part of all callers was served at once; none before the first.
    #[must_use]
    pub fn hit_rate(&self) -> Option<f64> {
        let served = self.hits + self.stale_hits;
        let all = served + self.misses;
        #[expect(clippy::cast_precision_loss, reason = "a rate")]
        (all > 0).then(|| served as f64 / all as f64)
    }
}
