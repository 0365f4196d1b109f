//! How long entries live.

use std::time::Duration;

use crate::time::Time;

/// How often the expired are looked for at most, and at least.
const SWEEP_EVERY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// What a cache is told at the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// How long a value is fresh; none for ever.
    pub ttl: Option<Duration>,
    /// How long after that it may still be served while it is loaded again.
    pub stale: Duration,
    /// How long it is remembered that there is no value; none does not remember it.
    pub absent_ttl: Option<Duration>,
    /// How long after a failed refresh a stale value is served before the next.
    pub retry: Duration,
    /// Loads that may be under way or queued at a time.
    pub loads_max: usize,
    /// Callers that may wait for one load.
    pub waiters_max: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ttl: None,
            stale: Duration::ZERO,
            absent_ttl: None,
            retry: Duration::from_secs(1),
            loads_max: 10_000,
            waiters_max: 100_000,
        }
    }
}

impl Config {
    /// The times of a value that came at `now`.
    #[must_use]
    pub fn value(&self, now: Time) -> Times {
        let fresh_until = self.ttl.map_or(Time::MAX, |ttl| now + ttl);
        Times { fresh_until, stale_until: fresh_until + self.stale }
    }

    /// What is kept of a load that ended at `now` and is still wanted.
    #[must_use]
    pub fn keep(&self, now: Time, loaded: Loaded) -> Keep {
        match loaded {
            Loaded::Value => Keep::Put(self.value(now)),
            Loaded::Absent => self.absent_ttl.map_or(Keep::Remove, |ttl| Keep::Put(Times::fresh_until(now + ttl))),
            // A refresh failed: the stale value has to do for a while.
            Loaded::Failed(Some(before)) if before.at(now) == Freshness::Stale => {
                let again = (now + self.retry).min(before.stale_until);
                Keep::Put(Times { fresh_until: again, ..before })
            }
            Loaded::Failed(_) => Keep::Leave,
        }
    }

    /// How often those entries are looked for whose time is over, where nobody writes: as often as the longest of them
    /// ends, within bounds. None if none ends by time.
    #[must_use]
    pub fn sweep_every(&self) -> Option<Duration> {
        let value = self.ttl.map(|ttl| ttl.saturating_add(self.stale));
        Some(value.max(self.absent_ttl)?.clamp(SWEEP_EVERY.0, SWEEP_EVERY.1))
    }

    /// Whether any answer depends on the time.
    #[must_use]
    pub const fn is_timed(&self) -> bool {
        self.ttl.is_some() || self.absent_ttl.is_some()
    }
}

/// What a load came to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Loaded {
    /// A value.
    Value,
    /// That there is none.
    Absent,
    /// Nothing; with the times of the value that is there, if one is.
    Failed(Option<Times>),
}

/// What becomes of the entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Keep {
    /// It is put there with these times: what was found, or after a failure the value that is there.
    Put(Times),
    /// It goes.
    Remove,
    /// It stays as it is.
    Leave,
}

/// Until when an entry may be served.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Times {
    fresh_until: Time,
    stale_until: Time,
}

impl Times {
    const fn fresh_until(until: Time) -> Self {
        Self { fresh_until: until, stale_until: until }
    }

    /// Whether it may be served for ever.
    #[must_use]
    pub fn are_endless(&self) -> bool {
        self.stale_until == Time::MAX
    }

    /// What the entry is worth at `now`.
    #[must_use]
    #[inline]
    pub fn at(&self, now: Time) -> Freshness {
        if now < self.fresh_until {
            Freshness::Fresh
        } else if now < self.stale_until {
            Freshness::Stale
        } else {
            Freshness::Expired
        }
    }
}

/// What an entry is worth.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Freshness {
    /// It is served.
    Fresh,
    /// It is served, and loaded again.
    Stale,
    /// It is not served any more.
    Expired,
}
