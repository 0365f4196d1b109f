//! What there is to ask for, room by room.

#[cfg(feature = "cache")]
use std::hash::Hash;

use super::{Registry, RegistryError, Room};
#[cfg(feature = "cache")]
use crate::cache::Cache;
#[cfg(feature = "cache")]
use crate::config::CacheConfig;
use crate::config::{BreakerConfig, EventsConfig, LimitConfig, RetryConfig, TaskConfig, ThrottleConfig, TimeoutConfig};
use crate::events::Bus;
use crate::resilience::{Breaker, KeyedRateLimiter, RateLimiter, Retry, Throttle, Timeout};
use crate::service::Service;
use crate::task::Supervisor;

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
