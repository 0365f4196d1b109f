//! What the registry keeps, whatever its type.

use std::any::{Any, type_name};
use std::sync::Arc;

use raceproof_core::wire::{self, Request, Response};

use super::Stats;
#[cfg(feature = "cache")]
use crate::cache::Cache;
use crate::coordinator::Coordinator;
use crate::events::Bus;
use crate::handle::Raceproof;
use crate::resilience::{Breaker, Debounce, KeyedRateLimiter, Policy, RateLimiter, Recovery, Retry, Throttle, Timeout};
use crate::service::Service;
use crate::startup::Running;
use crate::task::Supervisor;
use crate::worker::Worker;

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

/// A lock or a semaphore beside what it takes to ask about it.
#[derive(Clone)]
pub(super) struct Named<L> {
    pub(super) lock: L,
    pub(super) rp: Raceproof,
    pub(super) name: Arc<str>,
}

impl<L: Clone + Send + Sync + 'static> Handle for Named<L> {
    fn observe(&self) -> Stats {
        let request = Request::Lock { name: Arc::clone(&self.name) };
        let answer = match &self.rp.coordinator {
            Coordinator::Local(local) => local.ask(request).ok(),
            #[cfg(feature = "client")]
            Coordinator::Server(_) => None,
        };
        match answer {
            Some(Response::Lock(lock)) => Stats::Lock(lock),
            // The name is none that a lock can have, or the coordinator was closed: nobody holds it.
            _ => Stats::Lock(unused(&self.name)),
        }
    }
}

fn unused(name: &Arc<str>) -> wire::Lock {
    wire::Lock {
        name: Arc::clone(name),
        permits: None,
        holders: Vec::new(),
        waiters_count: 0,
        waiters: Vec::new(),
        delay_left_ms: None,
    }
}

impl Handle for Breaker {
    fn observe(&self) -> Stats {
        Stats::Breaker(self.stats())
    }
}

impl<T: Send + 'static> Handle for Debounce<T> {
    fn observe(&self) -> Stats {
        Stats::Debounce(self.stats())
    }
}

impl Handle for Policy {
    fn observe(&self) -> Stats {
        Stats::Policy(self.stats())
    }
}

impl<C: Ord + Clone + Send + Sync + 'static> Handle for Recovery<C> {
    fn observe(&self) -> Stats {
        Stats::Recovery(self.totals())
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
        Stats::Throttle(self.stats())
    }
}

impl Handle for Timeout {
    fn observe(&self) -> Stats {
        Stats::Timeout(self.stats())
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

impl Handle for Running {
    fn observe(&self) -> Stats {
        Stats::Startup(self.stats())
    }
}

impl<Q: Send + 'static, R: Send + 'static> Handle for Worker<Q, R> {
    fn observe(&self) -> Stats {
        Stats::Worker(self.stats())
    }
}
