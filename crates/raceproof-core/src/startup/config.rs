//! What is to be started, and how long that may take.

use std::sync::Arc;
use std::time::Duration;

use crate::service::Backoff;

/// How a service's health is watched once it is ready.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Check {
    /// The time between the end of a check and the next.
    pub interval: Duration,
    /// How long a check may take before it counts as failed.
    pub timeout: Duration,
    /// Failures in a row that make the service unhealthy.
    pub failures_max: u32,
}

/// One service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Spec {
    /// Its name.
    pub name: Arc<str>,
    /// The names of those it depends on.
    pub after: Vec<Arc<str>>,
    /// How long an attempt to start it may take; none for no limit.
    pub start_timeout: Option<Duration>,
    /// How often it is tried to start it, at least once.
    pub attempts: u32,
    /// The wait between attempts.
    pub backoff: Backoff,
    /// How long its stop may take before it is stuck.
    pub stop_timeout: Duration,
    /// Whether it has something to do before anything is stopped.
    pub drains: bool,
    /// Whether it has to be stopped also after a start that was given up for its time limit.
    pub stops_unfinished: bool,
    /// How its health is watched; none does not watch it.
    pub check: Option<Check>,
}

impl Spec {
    /// A service by its name, tried once, with 60 s to start and 10 s to stop.
    #[must_use]
    pub fn new(name: impl Into<Arc<str>>) -> Self {
        Self {
            name: name.into(),
            after: Vec::new(),
            start_timeout: Some(Duration::from_secs(60)),
            attempts: 1,
            backoff: Backoff { first: Duration::from_millis(100), max: Duration::from_secs(10) },
            stop_timeout: Duration::from_secs(10),
            drains: false,
            stops_unfinished: false,
            check: None,
        }
    }
}

/// What holds for all services together.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Config {
    /// How long the first phase of a shutdown may take: starts that are under way end, services drain.
    pub drain_timeout: Duration,
    /// How long the second phase may take: services stop.
    pub stop_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { drain_timeout: Duration::from_secs(10), stop_timeout: Duration::from_secs(30) }
    }
}
