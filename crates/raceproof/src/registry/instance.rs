//! What the registry keeps, whatever its type.

use std::any::{Any, type_name};

use super::Stats;
#[cfg(feature = "cache")]
use crate::cache::Cache;
use crate::events::Bus;
use crate::resilience::{Breaker, KeyedRateLimiter, RateLimiter, Retry, Throttle, Timeout};
use crate::service::Service;
use crate::task::Supervisor;

/// A handle that can tell what its instance does.
pub(super) trait Handle: Clone + Any + Send + Sync {
    /// What it tells.
    fn observe(&self) -> Stats;
}

/// The same without its type.
pub(super) trait AnyHandle: Any + Send + Sync {
    fn observe(&self) -> Stats;
    fn type_name(&self) -> &'static str;
}

impl<H: Handle> AnyHandle for H {
    fn observe(&self) -> Stats {
        Handle::observe(self)
    }

    fn type_name(&self) -> &'static str {
        type_name::<H>()
    }
}

impl Handle for Breaker {
    fn observe(&self) -> Stats {
        Stats::Breaker(self.stats())
    }
}

impl Handle for Retry {
    fn observe(&self) -> Stats {
        Stats::Retry(self.stats())
    }
}

impl Handle for RateLimiter {
    fn observe(&self) -> Stats {
        Stats::RateLimit(self.stats())
    }
}

impl Handle for KeyedRateLimiter<String> {
    fn observe(&self) -> Stats {
        Stats::KeyedRateLimit(self.stats())
    }
}

impl Handle for Supervisor {
    fn observe(&self) -> Stats {
        Stats::Task(self.stats())
    }
}

impl Handle for Throttle {
    fn observe(&self) -> Stats {
        Stats::Throttle { waiting: self.waiting() }
    }
}

impl Handle for Timeout {
    fn observe(&self) -> Stats {
        Stats::Timeout { limit: self.limit() }
    }
}

impl<E: Send + Sync + 'static> Handle for Bus<E> {
    fn observe(&self) -> Stats {
        Stats::Events(self.stats())
    }
}

#[cfg(feature = "cache")]
impl<K, V, E> Handle for Cache<K, V, E>
where
    K: std::hash::Hash + Eq + Clone + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn observe(&self) -> Stats {
        Stats::Cache(self.stats())
    }
}

impl<T, E> Handle for Service<T, E>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    fn observe(&self) -> Stats {
        Stats::Service(self.stats())
    }
}
