//! `[rate-limit]`: so many calls in so much time.

use std::hash::Hash;
use std::num::NonZeroU32;
use std::time::Duration;

use crate::resilience::limiter::{KeyedRateLimiter, Quota, RateLimiter};

/// The section `[rate-limit]`: what a [`RateLimiter`] or a [`KeyedRateLimiter`] is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct LimitConfig {
    /// How many calls there may be in `per`.
    pub calls: NonZeroU32,
    /// In which time.
    pub per: Duration,
    /// How many there may be at once; none for all of them.
    pub burst: Option<NonZeroU32>,
    /// How many calls may wait.
    pub waiting_max: usize,
    /// About how many keys may be in use at a time, where each has a quota of its own.
    pub keys_max: usize,
}

impl Default for LimitConfig {
    fn default() -> Self {
        let calls = NonZeroU32::new(100).expect("it is not zero");
        Self { calls, per: Duration::from_secs(1), burst: None, waiting_max: 1_024, keys_max: 1_000_000 }
    }
}

impl LimitConfig {
    /// Its quota.
    #[must_use]
    pub fn quota(&self) -> Quota {
        let quota = Quota::new(self.calls, self.per);
        self.burst.map_or(quota, |burst| quota.burst(burst))
    }

    /// A limiter.
    #[must_use]
    pub fn limiter(&self) -> RateLimiter {
        RateLimiter::with_waiting_max(self.quota(), self.waiting_max)
    }

    /// A limiter with a quota for each key.
    #[must_use]
    pub fn keyed<K: Hash + Eq>(&self) -> KeyedRateLimiter<K> {
        KeyedRateLimiter::with_limits(self.quota(), self.keys_max, self.waiting_max)
    }
}

section! {
    LimitConfig, "rate-limit", "Rate limiters, with one quota or with one for each key.";
    "calls" calls: NonZeroU32, "how many calls there may be";
    "per" per: Duration, "in which time";
    "burst" burst: Option<NonZeroU32>, "how many there may be at once; none: as `calls`";
    "waiting-max" waiting_max: usize = "waiters-max", "how many calls may wait";
    "keys-max" keys_max: usize, "about how many keys may be in use at a time";
    check |values| {
        super::some("per", values.per.is_zero())?;
        super::some("keys-max", values.keys_max == 0)
    }
}
