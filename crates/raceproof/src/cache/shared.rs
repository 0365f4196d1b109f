//! What the handles of one cache share.
//!
//! A key's shard orders everything that happens to it: looking again, joining a load, keeping a result, writing and
//! invalidating are each done under its lock. Hits take none of these locks.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use quick_cache::DefaultHashBuilder;
use raceproof_core::cache::{Ages, Config, FlightId, Flights, Freshness, Join, Keep, Limit, Loaded};
use raceproof_core::time::Time;
use rustc_hash::FxHashMap;
use tokio::time::Instant;

use super::bounds::{Key, Value};
use super::counters::Counters;
use super::lead::{Found, Lead, Load};
use super::storage::{Entry, Storage};
use super::wait::{Flight, Outcome, Wait};
use super::{LoadError, Stats};
use crate::rt::Runtime;
use crate::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};

pub(super) const SHARDS: usize = 16;

pub(super) struct Shared<K, V, E> {
    storage: Storage<K, V>,
    pub(super) shards: [Mutex<Shard<K, V, E>>; SHARDS],
    hasher: DefaultHashBuilder,
    pub(super) config: Config,
    pub(super) load_timeout: Option<Duration>,
    origin: Instant,
    /// Loads that are under way or queued, in all shards.
    loading: AtomicUsize,
    /// Whether somebody looks for what has expired.
    pub(super) tended: AtomicBool,
    pub(super) counters: Counters,
}

pub(super) struct Shard<K, V, E> {
    flights: Flights<K, DefaultHashBuilder>,
    /// What there is of this shard's keys that ends by time.
    pub(super) ages: Ages<K>,
    /// The loads that somebody waits for.
    waited: FxHashMap<FlightId, Arc<Flight<K, V, E>>>,
    /// How queued loads are started.
    queued: FxHashMap<FlightId, (Runtime, Load<V, E>)>,
}

/// What a look at the entries finds.
pub(super) enum Look<V> {
    Hit(Option<V>),
    Stale(V),
    Miss,
}

/// What a caller that found nothing does.
pub(super) enum Joined<K: Key, V: Value, E: Send + Sync + 'static> {
    /// It came meanwhile.
    Hit(Option<V>),
    Lead(Lead<K, V, E>),
    /// Its own load is queued, and waited for.
    Queued(Wait<K, V, E>),
    Wait(Wait<K, V, E>),
    Refused(LoadError<E>),
}

impl<K: Key, V: Value, E: Send + Sync + 'static> Shared<K, V, E> {
    pub(super) fn new(storage: Storage<K, V>, config: Config, load_timeout: Option<Duration>) -> Self {
        let hasher = DefaultHashBuilder::default();
        let shards = std::array::from_fn(|_| {
            let flights = Flights::new(&config, hasher.clone());
            let (waited, queued) = (FxHashMap::default(), FxHashMap::default());
            Mutex::new(Shard { flights, ages: Ages::default(), waited, queued })
        });
        Self {
            storage,
            shards,
            hasher,
            config,
            load_timeout,
            origin: Instant::now(),
            loading: AtomicUsize::new(0),
            tended: AtomicBool::new(false),
            counters: Counters::default(),
        }
    }

    /// The time, where it matters.
    #[inline]
    pub(super) fn now(&self) -> Time {
        if self.config.is_timed() { Time::ZERO + self.origin.elapsed() } else { Time::ZERO }
    }

    fn shard<Q>(&self, key: &Q) -> MutexGuard<'_, Shard<K, V, E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let index = (self.hasher.hash_one(key) >> 32) as usize % SHARDS;
        let Some(shard) = self.shards.get(index) else { unreachable!("the remainder is below the number of shards") };
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What may be served.
    #[inline]
    pub(super) fn look<Q>(&self, key: &Q) -> Look<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.judge(self.storage.get(key))
    }

    #[inline]
    fn judge(&self, entry: Option<Entry<V>>) -> Look<V> {
        let Some(entry) = entry else { return Look::Miss };
        match (entry.times.at(self.now()), entry.value) {
            (Freshness::Fresh, value) => Look::Hit(value),
            (Freshness::Stale, Some(value)) => Look::Stale(value),
            (Freshness::Stale | Freshness::Expired, _) => Look::Miss,
        }
    }

    /// Somebody found nothing. `load` is only taken if this caller's load has to queue.
    pub(super) fn join<Q>(
        self: &Arc<Self>,
        key: &Q,
        wants: Found,
        load: impl FnOnce() -> Option<(Runtime, Load<V, E>)>,
    ) -> Joined<K, V, E>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let mut shard = self.shard(key);
        // A load may have ended since the first look; from here on none can.
        match self.judge(self.storage.peek(key)) {
            Look::Hit(None) if wants == Found::Value => {}
            Look::Hit(value) => return Joined::Hit(value),
            Look::Stale(value) => return Joined::Hit(Some(value)),
            Look::Miss => {}
        }
        match shard.flights.join(key, self.loading.load(Ordering::Relaxed)) {
            Join::Lead(id) => {
                self.loading.fetch_add(1, Ordering::Relaxed);
                drop(shard);
                Joined::Lead(Lead::new(Arc::clone(self), key.to_owned(), id))
            }
            Join::Wait(id) => {
                self.counters.coalesced();
                Joined::Wait(shard.wait(self, key, id))
            }
            Join::Queue(id) => {
                self.loading.fetch_add(1, Ordering::Relaxed);
                let wait = shard.wait(self, key, id);
                let Some(load) = load() else {
                    // Without a load of its own it fails whoever else waits for it. The place is left outside the lock.
                    drop(shard);
                    drop(wait);
                    return Joined::Refused(LoadError::NoRuntime);
                };
                shard.queued.insert(id, load);
                Joined::Queued(wait)
            }
            Join::Full(Limit::Loads(limit)) => Joined::Refused(LoadError::TooManyLoads { limit }),
            Join::Full(Limit::Waiters(limit)) => Joined::Refused(LoadError::TooManyWaiters { limit }),
        }
    }

    /// A place among those who wait for the load that this caller leads.
    pub(super) fn wait(self: &Arc<Self>, key: &K, id: FlightId) -> Wait<K, V, E> {
        self.shard(key).wait(self, key, id)
    }

    /// Somebody was served a stale value. Gives the load to run in the background, if there has to be one.
    pub(super) fn refresh<Q>(self: &Arc<Self>, key: &Q) -> Option<Lead<K, V, E>>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let mut shard = self.shard(key);
        if !matches!(self.judge(self.storage.peek(key)), Look::Stale(_)) {
            return None;
        }
        let id = shard.flights.refresh(key, self.loading.load(Ordering::Relaxed))?;
        self.loading.fetch_add(1, Ordering::Relaxed);
        drop(shard);
        Some(Lead::new(Arc::clone(self), key.to_owned(), id))
    }

    pub(super) fn leave(&self, key: &K, id: FlightId) {
        self.shard(key).flights.leave(key, id);
    }

    /// A load ended: its result is kept if it is still wanted, whoever waits gets it, and the next one is started.
    pub(super) fn ended(self: &Arc<Self>, key: &K, id: FlightId, outcome: &Outcome<V, E>) {
        let now = self.now();
        // Cloned before the lock is taken, because it is the user's code.
        let found = outcome.as_ref().ok().cloned();
        let mut shard = self.shard(key);
        let Some(ended) = shard.flights.ended(key, id) else { return };
        self.loading.fetch_sub(1 + usize::from(ended.dropped.is_some()), Ordering::Relaxed);
        let spent = ended.keep.then(|| self.keep(&mut shard, key, found, now));
        let flight = shard.waited.remove(&id);
        let dropped = ended.dropped.map(|id| (shard.waited.remove(&id), shard.queued.remove(&id)));
        let next = ended.next.map(|id| (id, shard.queued.remove(&id)));
        drop(shard);
        self.tend();
        drop((spent, dropped));
        if let Some(flight) = flight {
            flight.settle(outcome.clone());
        }
        if let Some((id, load)) = next {
            let lead = Lead::new(Arc::clone(self), key.clone(), id);
            match load {
                Some((runtime, load)) => lead.go_on(&runtime, Instant::now(), load),
                None => lead.end(&Err(LoadError::NoRuntime)),
            }
        }
    }

    /// Keeps what a load found. What comes back is to be dropped outside the lock.
    fn keep(
        &self,
        shard: &mut Shard<K, V, E>,
        key: &K,
        found: Option<Option<V>>,
        now: Time,
    ) -> impl Sized + use<K, V, E> {
        let (loaded, value) = match found {
            Some(Some(value)) => (Loaded::Value, Some(value)),
            Some(None) => (Loaded::Absent, None),
            None => match self.storage.peek(key) {
                Some(Entry { value: Some(value), times }) => (Loaded::Failed(Some(times)), Some(value)),
                _ => (Loaded::Failed(None), None),
            },
        };
        match self.config.keep(now, loaded) {
            Keep::Put(times) => (None, Some(self.put(shard, key.clone(), Entry { value, times }, now)), None),
            Keep::Remove => (self.storage.remove(key), None, None),
            Keep::Leave => (None, None, value),
        }
    }

    /// Puts an entry in place of what there is, and sweeps a little. What comes back is to be dropped outside the lock.
    fn put(&self, shard: &mut Shard<K, V, E>, key: K, entry: Entry<V>, now: Time) -> impl Sized + use<K, V, E> {
        let before = self.storage.remove(&key);
        let times = entry.times;
        if !times.are_endless() && before.as_ref().is_none_or(|(_, before)| before.times != times) {
            shard.ages.note(key.clone(), times);
        }
        let evicted = self.storage.insert(key, entry);
        let mut expired = Vec::new();
        let forgotten = self.sweep(shard, now, &mut expired);
        (before, evicted, expired, forgotten)
    }

    /// Looks at the next few that end by time. What comes back, by both ways, is to be dropped outside the lock.
    pub(super) fn sweep(
        &self,
        shard: &mut Shard<K, V, E>,
        now: Time,
        expired: &mut Vec<(K, Entry<V>)>,
    ) -> impl Sized + use<K, V, E> {
        shard.ages.sweep(now, |key, times, over| {
            let (same, gone) = self.storage.expire(key, times, over);
            expired.extend(gone);
            same
        })
    }

    pub(super) fn insert(self: &Arc<Self>, key: K, value: V) {
        let now = self.now();
        let entry = Entry { value: Some(value), times: self.config.value(now) };
        let mut shard = self.shard(&key);
        let overtaken = shard.flights.overtake(&key);
        let spent = self.put(&mut shard, key, entry, now);
        drop(shard);
        self.tend();
        self.counters.overtaken(u64::from(overtaken));
        drop(spent);
    }

    pub(super) fn invalidate<Q>(&self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut shard = self.shard(key);
        let overtaken = shard.flights.overtake(key);
        let spent = self.storage.remove(key);
        drop(shard);
        self.counters.overtaken(u64::from(overtaken));
        drop(spent);
    }

    /// Overtakes first: a load that ends afterwards keeps nothing, and what one kept before goes with the rest.
    pub(super) fn invalidate_where(&self, which: impl Fn(&K) -> bool) {
        for shard in &self.shards {
            let overtaken = self.locked(shard).flights.overtake_where(&which);
            self.counters.overtaken(overtaken as u64);
        }
        self.storage.remove_where(which);
    }

    pub(super) fn remove_expired(&self) {
        self.storage.remove_expired(self.now());
    }

    pub(super) fn stats(&self) -> Stats {
        let mut stats = Stats {
            entries: self.storage.len(),
            weight: self.storage.weight(),
            loading: self.loading.load(Ordering::Relaxed),
            waiters: self.shards.iter().map(|shard| self.locked(shard).flights.waiters()).sum(),
            evicted: self.storage.evicted(),
            ..Stats::default()
        };
        self.counters.fill(&mut stats);
        stats
    }

    #[expect(clippy::unused_self, reason = "as the other way to a shard")]
    pub(super) fn locked<'a>(&self, shard: &'a Mutex<Shard<K, V, E>>) -> MutexGuard<'a, Shard<K, V, E>> {
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Key, V: Value, E: Send + Sync + 'static> Shard<K, V, E> {
    fn wait<Q>(&mut self, shared: &Arc<Shared<K, V, E>>, key: &Q, id: FlightId) -> Wait<K, V, E>
    where
        K: Borrow<Q>,
        Q: ToOwned<Owned = K> + ?Sized,
    {
        let flight = self.waited.entry(id).or_insert_with(|| Arc::new(Flight::new(key.to_owned(), id)));
        Wait::new(Arc::clone(shared), Arc::clone(flight))
    }
}
