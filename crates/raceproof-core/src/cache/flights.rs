//! The loads that are under way.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash};

use super::Config;

/// One load.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct FlightId(u64);

/// What somebody does who found nothing.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Join {
    /// Starts this load and waits for it.
    Lead(FlightId),
    /// Waits for this load, and leaves behind how it is started: the one under way was overtaken, and has to end first.
    Queue(FlightId),
    /// Waits for this load.
    Wait(FlightId),
    /// Waits for nothing.
    Full(Limit),
}

/// A limit that is reached.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Limit {
    /// [`Config::loads_max`].
    Loads(usize),
    /// [`Config::waiters_max`].
    Waiters(usize),
}

/// What follows the end of a load.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// Whether its result is kept. Those who wait for it get it in any case.
    pub keep: bool,
    /// The load that is started next for this key.
    pub next: Option<FlightId>,
    /// A queued load that nobody waits for any more, and that is not started.
    pub dropped: Option<FlightId>,
}

#[derive(Debug)]
struct Flight {
    id: FlightId,
    /// Nothing was written or invalidated since it began.
    wanted: bool,
    waiters: usize,
    /// For those who asked after it was overtaken.
    next: Option<Queued>,
}

#[derive(Debug)]
struct Queued {
    id: FlightId,
    waiters: usize,
}

// The machine is given its hasher, so nothing about it is random by itself.
#[expect(clippy::disallowed_types, reason = "the hasher is given by the caller")]
type Table<K, S> = std::collections::HashMap<K, Flight, S>;

/// Which keys are being loaded, for how many.
#[derive(Debug)]
pub struct Flights<K, S> {
    loads_max: usize,
    waiters_max: usize,
    table: Table<K, S>,
    last: u64,
}

impl<K: Eq + Hash, S: BuildHasher> Flights<K, S> {
    /// No loads. The hasher is the caller's, who knows whether keys come from strangers.
    pub fn new(config: &Config, hasher: S) -> Self {
        Self {
            loads_max: config.loads_max,
            waiters_max: config.waiters_max,
            table: Table::with_hasher(hasher),
            last: 0,
        }
    }

    /// Somebody found nothing under `key`; `loads` are under way in the whole cache.
    pub fn join<Q>(&mut self, key: &Q, loads: usize) -> Join
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        let fresh = FlightId(self.last + 1);
        let Some(flight) = self.table.get_mut(key) else {
            if loads >= self.loads_max {
                return Join::Full(Limit::Loads(self.loads_max));
            }
            self.last += 1;
            self.table.insert(key.to_owned(), Flight { id: fresh, wanted: true, waiters: 1, next: None });
            return Join::Lead(fresh);
        };
        let (id, waiters) = match &mut flight.next {
            _ if flight.wanted => (flight.id, &mut flight.waiters),
            Some(next) => (next.id, &mut next.waiters),
            none => {
                if loads >= self.loads_max {
                    return Join::Full(Limit::Loads(self.loads_max));
                }
                self.last += 1;
                *none = Some(Queued { id: fresh, waiters: 1 });
                return Join::Queue(fresh);
            }
        };
        if *waiters >= self.waiters_max {
            return Join::Full(Limit::Waiters(self.waiters_max));
        }
        *waiters += 1;
        Join::Wait(id)
    }

    /// Somebody was served a stale value. Gives the load to start, unless the key is being loaded or as many loads are
    /// under way as may be.
    pub fn refresh<Q>(&mut self, key: &Q, loads: usize) -> Option<FlightId>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ToOwned<Owned = K> + ?Sized,
    {
        if loads >= self.loads_max || self.table.contains_key(key) {
            return None;
        }
        self.last += 1;
        let id = FlightId(self.last);
        self.table.insert(key.to_owned(), Flight { id, wanted: true, waiters: 0, next: None });
        Some(id)
    }

    /// Somebody who waits for a load is gone. The load goes on (K1).
    pub fn leave<Q>(&mut self, key: &Q, id: FlightId)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let Some(flight) = self.table.get_mut(key) else { return };
        let waiters = match &mut flight.next {
            _ if flight.id == id => &mut flight.waiters,
            Some(next) if next.id == id => &mut next.waiters,
            _ => return,
        };
        *waiters = waiters.saturating_sub(1);
    }

    /// A load ended, with a value or without. None if it is not under way.
    pub fn ended<Q>(&mut self, key: &Q, id: FlightId) -> Option<Ended>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let flight = self.table.get_mut(key).filter(|flight| flight.id == id)?;
        let keep = flight.wanted;
        match flight.next.take() {
            Some(next) if next.waiters > 0 => {
                *flight = Flight { id: next.id, wanted: true, waiters: next.waiters, next: None };
                Some(Ended { keep, next: Some(next.id), dropped: None })
            }
            abandoned => {
                self.table.remove(key);
                Some(Ended { keep, next: None, dropped: abandoned.map(|next| next.id) })
            }
        }
    }

    /// The key was written or invalidated (K2). True if a load that was wanted is not any more.
    pub fn overtake<Q>(&mut self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.table.get_mut(key).is_some_and(|flight| std::mem::replace(&mut flight.wanted, false))
    }

    /// Every key that `which` names was invalidated. Gives how many loads are not wanted any more.
    pub fn overtake_where(&mut self, mut which: impl FnMut(&K) -> bool) -> usize {
        let overtaken = self.table.iter_mut().filter(|(key, flight)| flight.wanted && which(key));
        overtaken.map(|(_, flight)| flight.wanted = false).count()
    }

    /// Keys that are being loaded.
    #[must_use]
    pub fn len(&self) -> usize {
        self.table.len()
    }

    /// Whether nothing is being loaded.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.table.is_empty()
    }

    /// Callers that wait.
    #[must_use]
    pub fn waiters(&self) -> usize {
        self.table.values().map(|flight| flight.waiters + flight.next.as_ref().map_or(0, |next| next.waiters)).sum()
    }
}
