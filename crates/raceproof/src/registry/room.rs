//! The rooms whose instances have names.

use std::fmt;

/// A kind of instance. A name stands for one instance of each.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[non_exhaustive]
pub enum Room {
    /// A circuit breaker.
    Breaker,
    /// A cache.
    #[cfg(feature = "cache")]
    Cache,
    /// A debounce.
    Debounce,
    /// An event bus.
    Events,
    /// A lock.
    Lock,
    /// A rate limiter with a quota for each key.
    KeyedRateLimit,
    /// A policy.
    Policy,
    /// A rate limiter.
    RateLimit,
    /// A recovery.
    Recovery,
    /// A retry.
    Retry,
    /// A semaphore.
    Semaphore,
    /// A service.
    Service,
    /// Services that start and stop together.
    Startup,
    /// A supervisor of tasks.
    Task,
    /// A throttle.
    Throttle,
    /// A limit on the time that calls take.
    Timeout,
    /// A worker.
    Worker,
}

impl Room {
    /// Its name, as in names of metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Breaker => "breaker",
            #[cfg(feature = "cache")]
            Self::Cache => "cache",
            Self::Debounce => "debounce",
            Self::Events => "events",
            Self::KeyedRateLimit => "keyed_rate_limit",
            Self::Lock => "lock",
            Self::Policy => "policy",
            Self::RateLimit => "rate_limit",
            Self::Recovery => "recovery",
            Self::Retry => "retry",
            Self::Semaphore => "semaphore",
            Self::Service => "service",
            Self::Startup => "startup",
            Self::Task => "task",
            Self::Throttle => "throttle",
            Self::Timeout => "timeout",
            Self::Worker => "worker",
        }
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
