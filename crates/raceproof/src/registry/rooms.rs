//! What there is to ask for, room by room.

#[cfg(feature = "cache")]
use std::hash::Hash;
use std::sync::Arc;

use super::instance::Named;
use super::{Registry, RegistryError, Room};
#[cfg(feature = "cache")]
use crate::cache::Cache;
#[cfg(feature = "cache")]
use crate::config::CacheConfig;
use crate::config::{
    BreakerConfig, EventsConfig, LimitConfig, LockConfig, RetryConfig, SemaphoreConfig, TaskConfig, ThrottleConfig,
    TimeoutConfig, WorkerConfig,
};
use crate::events::Bus;
use crate::handle::Raceproof;
use crate::lock::{Lock, Semaphore};
use crate::resilience::{Breaker, Debounce, KeyedRateLimiter, Policy, RateLimiter, Recovery, Retry, Throttle, Timeout};
use crate::rt::Runtime;
use crate::service::Service;
use crate::startup::Running;
use crate::task::Supervisor;
use crate::worker::{Handler, Worker};

/// The two ways to ask for an instance whose type has no parameters.
macro_rules! by_name {
    ($(#[doc = $about:literal])+ $get:ident, $get_with:ident, $room:ident, $handle:ty, $config:ty, $build:expr) => {
        $(#[doc = $about])+
        /// It is built, when it is first asked for, as the registry's configuration says.
        #[must_use]
        pub fn $get(&self, name: &str) -> $handle {
            let found = self.get_or_build(Room::$room, name, None, || self.configuration::<$config>(name), $build(name));
            found.expect("the room has one type of handle, and no configuration is insisted on")
        }

        $(#[doc = $about])+
        /// It has this configuration.
        ///
        /// # Errors
        /// [`RegistryError::Conflict`] if it was built with another.
        pub fn $get_with(&self, name: &str, config: $config) -> Result<$handle, RegistryError> {
            self.get_or_build(Room::$room, name, Some(config), <$config>::default, $build(name))
        }
    };
}

impl Registry {
    /// Decides about the locks and semaphores of this registry, which so see each other's deadlocks. Several at once:
    /// `registry.coordinator().lock_all(["a", "b"])`. A semaphore `db` is called `semaphore/db` there.
    #[must_use]
    pub fn coordinator(&self) -> &Raceproof {
        self.inner.coordinator.get_or_init(Raceproof::local)
    }

    /// The lock of this name. How long it is waited for is as the registry's configuration says.
    pub fn lock(&self, name: &str) -> Lock {
        let config = || self.configuration::<LockConfig>(name);
        let found = self.get_or_build(Room::Lock, name, None, config, |config| self.named_lock(name, config));
        found.expect("the room has one type of handle, and no configuration is insisted on").lock
    }

    /// The lock of this name. It has this configuration.
    ///
    /// # Errors
    /// [`RegistryError::Conflict`] if it was built with another.
    pub fn lock_with(&self, name: &str, config: LockConfig) -> Result<Lock, RegistryError> {
        let build = |config: &LockConfig| self.named_lock(name, config);
        self.get_or_build(Room::Lock, name, Some(config), LockConfig::default, build).map(|named| named.lock)
    }

    fn named_lock(&self, name: &str, config: &LockConfig) -> Named<Lock> {
        let (rp, name) = (self.coordinator().clone(), Arc::<str>::from(name));
        let lock = rp.lock(Arc::clone(&name));
        let lock = config.wait.into_iter().fold(lock, Lock::wait);
        Named { lock, rp, name }
    }

    /// The semaphore of this name. It has as many permits as the registry's configuration says.
    pub fn semaphore(&self, name: &str) -> Semaphore {
        let config = || self.configuration::<SemaphoreConfig>(name);
        let found = self.get_or_build(Room::Semaphore, name, None, config, |config| self.named_semaphore(name, config));
        found.expect("the room has one type of handle, and no configuration is insisted on").lock
    }

    /// The semaphore of this name. It has this configuration.
    ///
    /// # Errors
    /// [`RegistryError::Conflict`] if it was built with another.
    pub fn semaphore_with(&self, name: &str, config: SemaphoreConfig) -> Result<Semaphore, RegistryError> {
        let build = |config: &SemaphoreConfig| self.named_semaphore(name, config);
        self.get_or_build(Room::Semaphore, name, Some(config), SemaphoreConfig::default, build).map(|named| named.lock)
    }

    fn named_semaphore(&self, name: &str, config: &SemaphoreConfig) -> Named<Semaphore> {
        let (rp, name) = (self.coordinator().clone(), Arc::<str>::from(format!("semaphore/{name}")));
        let lock = rp.semaphore(Arc::clone(&name), config.permits.get());
        let lock = config.wait.into_iter().fold(lock, Semaphore::wait);
        Named { lock, rp, name }
    }

    by_name!(
        /// The breaker of this name.
        breaker, breaker_with, Breaker, Breaker, BreakerConfig,
        |name| { let name = String::from(name); move |config: &BreakerConfig| Breaker::with_config(name, *config) }
    );

    by_name!(
        /// The retry of this name; its callers share its budget.
        retry, retry_with, Retry, Retry, RetryConfig, |_| |config: &RetryConfig| config.builder().build()
    );

    by_name!(
        /// The rate limiter of this name.
        rate_limiter, rate_limiter_with, RateLimit, RateLimiter, LimitConfig, |_| LimitConfig::limiter
    );

    by_name!(
        /// The rate limiter of this name that has a quota for each key. Its section is `[rate-limit]`, too.
        keyed_rate_limiter, keyed_rate_limiter_with, KeyedRateLimit, KeyedRateLimiter<String>, LimitConfig,
        |_| LimitConfig::keyed
    );

    by_name!(
        /// The supervisor of this name. It is not shut down by the registry.
        supervisor,
        supervisor_with,
        Task,
        Supervisor,
        TaskConfig,
        |_| TaskConfig::supervisor
    );

    by_name!(
        /// The throttle of this name.
        throttle, throttle_with, Throttle, Throttle, ThrottleConfig, |_| ThrottleConfig::throttle
    );

    by_name!(
        /// The time limit of this name.
        timeout, timeout_with, Timeout, Timeout, TimeoutConfig, |_| TimeoutConfig::timeout
    );

    /// The event bus of this name. It is built, when it is first asked for, as the registry's configuration says.
    ///
    /// # Errors
    /// [`RegistryError::Type`] if its events are of another type.
    pub fn bus<E: Send + Sync + 'static>(&self, name: &str) -> Result<Bus<E>, RegistryError> {
        let config = || self.configuration::<EventsConfig>(name);
        self.get_or_build(Room::Events, name, None, config, |config| config.builder().build())
    }

    /// The cache of this name. It is built, when it is first asked for, as the registry's configuration says.
    ///
    /// # Errors
    /// [`RegistryError::Type`] if its keys, values or errors are of another type.
    #[cfg(feature = "cache")]
    pub fn cache<K, V, E>(&self, name: &str) -> Result<Cache<K, V, E>, RegistryError>
    where
        K: Hash + Eq + Clone + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        let config = || self.configuration::<CacheConfig>(name);
        self.get_or_build(Room::Cache, name, None, config, |config| config.builder().build())
    }

    /// Takes up a service, so that it is listed and others find it by its name.
    ///
    /// # Errors
    /// [`RegistryError::Taken`] if there is one of this name.
    pub fn register_service<T, E>(&self, name: &str, service: &Service<T, E>) -> Result<(), RegistryError>
    where
        T: Send + Sync + 'static,
        E: Send + Sync + 'static,
    {
        self.insert(Room::Service, name, service.clone())
    }

    /// Takes up a debounce, so that it is observed. The registry's handle is one more: the last event is handed on when
    /// it is quiet, or by [`Debounce::close`], and not by the drop of the last handle elsewhere.
    ///
    /// # Errors
    /// [`RegistryError::Taken`] if there is one of this name.
    pub fn register_debounce<T: Send + 'static>(
        &self,
        name: &str,
        debounce: &Debounce<T>,
    ) -> Result<(), RegistryError> {
        self.insert(Room::Debounce, name, debounce.clone())
    }

    /// Takes up a policy, so that it is observed. What it is made of is observed where that was asked for by name.
    ///
    /// # Errors
    /// [`RegistryError::Taken`] if there is one of this name.
    pub fn register_policy(&self, name: &str, policy: &Policy) -> Result<(), RegistryError> {
        self.insert(Room::Policy, name, policy.clone())
    }

    /// Takes up a recovery, so that it is observed.
    ///
    /// # Errors
    /// [`RegistryError::Taken`] if there is one of this name.
    pub fn register_recovery<C>(&self, name: &str, recovery: &Recovery<C>) -> Result<(), RegistryError>
    where
        C: Ord + Clone + Send + Sync + 'static,
    {
        self.insert(Room::Recovery, name, recovery.clone())
    }

    /// The worker of this name. It is built, when it is first asked for, as the registry's configuration says, with
    /// handlers from `make`. The registry keeps it: it ends when it is stopped.
    ///
    /// # Errors
    /// [`RegistryError::Type`] if its requests or replies are of another type, and [`RegistryError::NoRuntime`].
    pub fn worker<Q, R, H>(
        &self,
        name: &str,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Result<Worker<Q, R>, RegistryError>
    where
        Q: Send + 'static,
        R: Send + 'static,
        H: Handler<Q, Reply = R>,
    {
        self.worker_of(name, None, make)
    }

    /// The worker of this name. It has this configuration, and handlers from `make` if it is built now.
    ///
    /// # Errors
    /// As [`worker`](Self::worker), and [`RegistryError::Conflict`] if it was built with another configuration.
    pub fn worker_with<Q, R, H>(
        &self,
        name: &str,
        config: WorkerConfig,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Result<Worker<Q, R>, RegistryError>
    where
        Q: Send + 'static,
        R: Send + 'static,
        H: Handler<Q, Reply = R>,
    {
        self.worker_of(name, Some(config), make)
    }

    fn worker_of<Q, R, H>(
        &self,
        name: &str,
        asked: Option<WorkerConfig>,
        make: impl Fn() -> H + Send + Sync + 'static,
    ) -> Result<Worker<Q, R>, RegistryError>
    where
        Q: Send + 'static,
        R: Send + 'static,
        H: Handler<Q, Reply = R>,
    {
        if Runtime::current().is_none() {
            return Err(RegistryError::NoRuntime { room: Room::Worker, name: name.to_owned() });
        }
        let build = |config: &WorkerConfig| config.builder(name).spawn(make).expect("there is a runtime");
        self.get_or_build(Room::Worker, name, asked, || self.configuration::<WorkerConfig>(name), build)
    }

    /// Takes up a worker, so that it is observed. The registry keeps it: it ends when it is stopped.
    ///
    /// # Errors
    /// [`RegistryError::Taken`] if there is one of this name.
    pub fn register_worker<Q, R>(&self, worker: &Worker<Q, R>) -> Result<(), RegistryError>
    where
        Q: Send + 'static,
        R: Send + 'static,
    {
        self.insert(Room::Worker, worker.name(), worker.clone())
    }

    /// Takes up services that start and stop together, so that they are observed.
    ///
    /// # Errors
    /// [`RegistryError::Taken`] if there are some of this name.
    pub fn register_startup(&self, name: &str, running: &Running) -> Result<(), RegistryError> {
        self.insert(Room::Startup, name, running.clone())
    }

    /// What an instance of this name is built with.
    #[cfg(feature = "config")]
    fn configuration<C: crate::config::Room>(&self, name: &str) -> C {
        self.inner.config.room(name)
    }

    /// What an instance of this name is built with.
    #[cfg(not(feature = "config"))]
    #[expect(clippy::unused_self, reason = "there is a configuration with the feature `config`")]
    fn configuration<C: Default>(&self, _name: &str) -> C {
        C::default()
    }
}
