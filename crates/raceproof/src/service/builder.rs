//! How a service is made.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use raceproof_core::service::{Backoff, Config};

use super::Service;
use super::shared::{CleanUp, Init, Shared};

/// Makes a [`Service`]; from [`Service::builder`].
pub struct Builder<T, E> {
    init: Init<T, E>,
    clean_up: Option<CleanUp<T>>,
    name: Arc<str>,
    timeout: Option<Duration>,
    config: Config,
}

impl<T, E> fmt::Debug for Builder<T, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Builder").field("name", &self.name).field("config", &self.config).finish_non_exhaustive()
    }
}

impl<T, E> Builder<T, E>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    pub(super) fn new(init: Init<T, E>) -> Self {
        Self { init, clean_up: None, name: "service".into(), timeout: None, config: Config::default() }
    }

    /// What the service is called in logs. Default: `service`.
    #[must_use]
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.name = name.into();
        self
    }

    /// How long an initialisation may take before it is dropped and counts as failed. Default: no limit.
    #[must_use]
    pub const fn timeout(mut self, limit: Duration) -> Self {
        self.timeout = Some(limit);
        self
    }

    /// After a failure, callers are refused for `first`, then twice as long after each further failure in a row, up to
    /// `max`. Default: the next caller tries at once.
    #[must_use]
    pub const fn backoff(mut self, first: Duration, max: Duration) -> Self {
        self.config.backoff = Some(Backoff { first, max });
        self
    }

    /// Everything that a section `[service]` says.
    #[must_use]
    pub fn configured(mut self, config: &crate::config::ServiceConfig) -> Self {
        let backoff = |first| Backoff { first, max: config.backoff_max };
        self.timeout = config.timeout;
        self.config = Config { backoff: config.backoff.map(backoff), waiters_max: config.waiters_max };
        self
    }

    /// How many callers may wait at a time. Default: 100,000.
    #[must_use]
    pub const fn waiters_max(mut self, limit: usize) -> Self {
        self.config.waiters_max = limit;
        self
    }

    /// Run once for every value that is given up by a reset or a close, before the next is made. Others may still hold
    /// the value. Default: the value is only dropped.
    #[must_use]
    pub fn clean_up<F, Fut>(mut self, clean_up: F) -> Self
    where
        F: Fn(Arc<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.clean_up = Some(Box::new(move |value| Box::pin(clean_up(value))));
        self
    }

    /// The service. Nothing is started yet.
    #[must_use]
    pub fn build(self) -> Service<T, E> {
        let Self { init, clean_up, name, timeout, config } = self;
        Service { shared: Arc::new(Shared::new(init, clean_up, name, timeout, config)) }
    }
}
