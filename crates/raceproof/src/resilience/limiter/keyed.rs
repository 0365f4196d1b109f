//! A quota for each key.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Arc, PoisonError};

use raceproof_core::resilience::limiter::Keyed;
use tracing::Instrument as _;

use super::{Limited, Quota, WaitError, until_taken};
use crate::resilience::clock::Clock;
use crate::resilience::queue::Place;
use crate::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// More of them make a table that many threads use at once faster, and its bound less exact.
const SHARDS_MAX: usize = 64;
const KEYS_PER_SHARD: usize = 1_024;
/// Bits of the hash that the tables themselves use least.
const SHARD_SHIFT: u32 = 48;

/// At most so many calls in a time for each key. Clones share the table.
///
/// A key takes memory while its quota is not whole. There are at most about `keys_max` such keys (each of up to 64
/// shards has its part, so the first refusals come a little before, and there may be a few more than that); a further
/// one is refused with [`Limited::KeysFull`] until one of them is whole. Keys are hashed with a random seed, so that
/// nobody can choose keys that collide.
///
/// ```
/// use std::num::NonZeroU32;
/// use raceproof::resilience::limiter::{KeyedRateLimiter, Quota};
///
/// let per_user = KeyedRateLimiter::<String>::new(Quota::per_minute(NonZeroU32::new(1).expect("not zero")));
/// assert!(per_user.check("ann").is_ok());
/// assert!(per_user.check("bob").is_ok());
/// assert!(per_user.check("ann").is_err());
/// ```
pub struct KeyedRateLimiter<K> {
    inner: Arc<Inner<K>>,
}

struct Inner<K> {
    quota: Quota,
    clock: Clock,
    seed: RandomState,
    shards: Box<[Shard<K>]>,
    waiting_max: usize,
    waiting: AtomicUsize,
}

/// Apart from its neighbours, so that they do not share a line of the cache.
#[repr(align(128))]
struct Shard<K> {
    table: Mutex<Keyed<K>>,
    admitted: AtomicU64,
    refused: AtomicU64,
}

/// What happened so far at a [`KeyedRateLimiter`].
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct KeyedStats {
    /// Calls that were admitted.
    pub admitted: u64,
    /// Calls that were refused, and not those that wait.
    pub refused: u64,
    /// How many wait.
    pub waiting: usize,
    /// How many keys are remembered.
    pub keys: usize,
    /// For how many keys there is memory.
    pub capacity: usize,
}

impl<K> KeyedRateLimiter<K> {
    /// A limiter for about a million keys that are in use at a time, where at most 1024 calls may wait.
    #[must_use]
    pub fn new(quota: Quota) -> Self {
        Self::with_limits(quota, 1_000_000, 1_024)
    }

    /// A limiter for about `keys_max` keys that are in use at a time, where at most `waiting_max` calls may wait.
    #[must_use]
    pub fn with_limits(quota: Quota, keys_max: usize, waiting_max: usize) -> Self {
        let shards = (keys_max / KEYS_PER_SHARD).clamp(1, SHARDS_MAX).next_power_of_two();
        let keys = keys_max.div_ceil(shards);
        let shard = || Shard {
            table: Mutex::new(Keyed::new(quota, keys)),
            admitted: AtomicU64::new(0),
            refused: AtomicU64::new(0),
        };
        let inner = Inner {
            quota,
            clock: Clock::new(),
            seed: RandomState::new(),
            shards: (0..shards).map(|_| shard()).collect(),
            waiting_max,
            waiting: AtomicUsize::new(0),
        };
        Self { inner: Arc::new(inner) }
    }

    /// The quota of each key.
    #[must_use]
    pub fn quota(&self) -> Quota {
        self.inner.quota
    }

    /// Forgets the keys whose quota is whole and gives their memory back. Keys that are used do that by themselves;
    /// this is for a table that nobody uses any more.
    pub fn sweep(&self) {
        for shard in &self.inner.shards {
            let mut table = shard.lock();
            table.sweep(self.inner.clock.now());
        }
    }

    /// What happened so far.
    #[must_use]
    pub fn stats(&self) -> KeyedStats {
        let waiting = self.inner.waiting.load(Ordering::Relaxed);
        let mut stats = KeyedStats { admitted: 0, refused: 0, waiting, keys: 0, capacity: 0 };
        for shard in &self.inner.shards {
            stats.admitted += shard.admitted.load(Ordering::Relaxed);
            stats.refused += shard.refused.load(Ordering::Relaxed);
            let table = shard.lock();
            stats.keys += table.len();
            stats.capacity += table.capacity();
        }
        stats
    }
}

impl<K: Hash + Eq> KeyedRateLimiter<K> {
    /// Takes one cell of the key's quota.
    ///
    /// # Errors
    /// [`Limited`], and nothing is taken.
    pub fn check<Q>(&self, key: &Q) -> Result<(), Limited>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.check_n(key, 1)
    }

    /// Takes so many cells of the key's quota, all or none.
    ///
    /// # Errors
    /// [`Limited`], and nothing is taken.
    pub fn check_n<Q>(&self, key: &Q, cells: u32) -> Result<(), Limited>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        self.inner.take(key, cells, true)
    }

    /// Waits for a cell of the key's quota and takes it. Those who wait for the same key are not served in order.
    ///
    /// # Errors
    /// [`WaitError::Full`] if as many wait as may; [`Limited::KeysFull`] if there is no room for the key.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing.
    pub async fn until_ready<Q>(&self, key: &Q) -> Result<(), WaitError>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let inner = &*self.inner;
        let _place = Place::take(&inner.waiting, inner.waiting_max)?;
        let span = tracing::debug_span!("raceproof.keyed_rate_limit.wait");
        until_taken(|| inner.take(key, 1, false)).instrument(span).await
    }
}

impl<K: Hash + Eq> Inner<K> {
    fn take<Q>(&self, key: &Q, cells: u32, counts: bool) -> Result<(), Limited>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let hash = self.seed.hash_one(key);
        let shard = self.shard(hash);
        let mut table = shard.lock();
        // Read under the lock, so that the order of times is that of the inputs.
        let now = self.clock.now();
        let taken = table.check(now, hash, |entry| entry.borrow() == key, || key.to_owned(), cells);
        drop(table);
        match taken {
            Ok(()) => {
                shard.admitted.fetch_add(1, Ordering::Relaxed);
                Ok(())
            }
            Err(refused) => {
                shard.refused.fetch_add(u64::from(counts), Ordering::Relaxed);
                Err(Limited::of_key(refused, now))
            }
        }
    }

    fn shard(&self, hash: u64) -> &Shard<K> {
        let index = usize::try_from(hash >> SHARD_SHIFT).unwrap_or(0) & (self.shards.len() - 1);
        self.shards.get(index).expect("there is a power of two of shards, and the index is below it")
    }
}

impl<K> Shard<K> {
    fn lock(&self) -> MutexGuard<'_, Keyed<K>> {
        // A comparison or a copy of a key that panics leaves the table as it was.
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K> Clone for KeyedRateLimiter<K> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<K> fmt::Debug for KeyedRateLimiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimiter").field("quota", &self.inner.quota).finish_non_exhaustive()
    }
}
