//! One service.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use raceproof_core::service::Backoff;
use raceproof_core::startup::{Check, Spec, What};

use crate::rt::BoxFuture;
use crate::service::Service;

pub(super) type Hook = Arc<dyn Fn() -> BoxFuture<Result<(), Arc<str>>> + Send + Sync>;

/// One service: how it is started, and stopped, and what it depends on.
#[must_use]
pub struct Unit {
    pub(super) spec: Spec,
    pub(super) hooks: Hooks,
}

pub(super) struct Hooks {
    start: Hook,
    stop: Option<Hook>,
    drain: Option<Hook>,
    check: Option<Hook>,
}

impl Hooks {
    pub(super) const fn of(&self, what: What) -> Option<&Hook> {
        match what {
            What::Start => Some(&self.start),
            What::Stop => self.stop.as_ref(),
            What::Drain => self.drain.as_ref(),
            What::Check => self.check.as_ref(),
        }
    }
}

impl fmt::Debug for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Unit").field("spec", &self.spec).finish_non_exhaustive()
    }
}

fn hook<F, Fut, E>(run: F) -> Hook
where
    F: Fn() -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<(), E>> + Send + 'static,
    E: fmt::Display,
{
    Arc::new(move || {
        let future = run();
        Box::pin(async move { future.await.map_err(|error| format!("{error:#}").into()) })
    })
}

impl Unit {
    /// A service that is started by `start`: once, and again if it [retries](Self::attempts). The start is over when
    /// the future ends, so what has to go on runs in a task of its own.
    pub fn new<F, Fut, E>(name: impl Into<Arc<str>>, start: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        Self { spec: Spec::new(name), hooks: Hooks { start: hook(start), stop: None, drain: None, check: None } }
    }

    /// A [`Service`]: its start makes the value, its stop closes it.
    pub fn service<T, E>(name: impl Into<Arc<str>>, service: &Service<T, E>) -> Self
    where
        T: Send + Sync + 'static,
        E: fmt::Display + Send + Sync + 'static,
    {
        let (starts, stops) = (service.clone(), service.clone());
        let start = move || {
            let service = starts.clone();
            async move { service.get().await.map(drop) }
        };
        let mut unit = Self::new(name, start).stop(move || stops.close());
        // An initialisation outlives whoever waits for it.
        unit.spec.stops_unfinished = true;
        unit
    }

    /// Every time limit and the attempts, as a section `[startup]` has them.
    pub const fn configured(self, config: &crate::config::StartupConfig) -> Self {
        self.start_timeout(config.unit_start_timeout).stop_timeout(config.unit_stop_timeout).attempts(
            config.unit_attempts,
            config.unit_backoff,
            config.unit_backoff_max,
        )
    }

    /// What it depends on, by name.
    pub fn after<N: Into<Arc<str>>>(mut self, names: impl IntoIterator<Item = N>) -> Self {
        self.spec.after.extend(names.into_iter().map(Into::into));
        self
    }

    /// How it is stopped. Run once, after everything that depends on it was stopped. Default: nothing is done.
    pub fn stop<F, Fut, E>(mut self, stop: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        self.hooks.stop = Some(hook(stop));
        self
    }

    /// What it does before anything is stopped, such as to take no more work and finish what it has. Run once, after
    /// everything that depends on it has drained. Default: nothing.
    pub fn drain<F, Fut, E>(mut self, drain: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        self.hooks.drain = Some(hook(drain));
        self.spec.drains = true;
        self
    }

    /// Asks from time to time whether it is well, once it was started. So many failures in a row, or checks that took
    /// longer than `timeout`, make it unhealthy; a success makes it ready again. Default: it is not asked.
    pub fn check<F, Fut, E>(mut self, interval: Duration, timeout: Duration, failures_max: u32, check: F) -> Self
    where
        F: Fn() -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), E>> + Send + 'static,
        E: fmt::Display,
    {
        self.hooks.check = Some(hook(check));
        self.spec.check = Some(Check { interval, timeout, failures_max });
        self
    }

    /// How long an attempt to start it may take before it is dropped and counts as failed; none for no limit. Default:
    /// 60 s.
    pub const fn start_timeout(mut self, limit: Option<Duration>) -> Self {
        self.spec.start_timeout = limit;
        self
    }

    /// How long its stop may take before it is dropped and named as stuck. Default: 10 s.
    pub const fn stop_timeout(mut self, limit: Duration) -> Self {
        self.spec.stop_timeout = limit;
        self
    }

    /// How often it is tried to start it, with a wait of `first` after the first failure that doubles up to `max`.
    /// Default: once.
    pub const fn attempts(mut self, attempts: u32, first: Duration, max: Duration) -> Self {
        self.spec.attempts = attempts;
        self.spec.backoff = Backoff { first, max };
        self
    }
}
