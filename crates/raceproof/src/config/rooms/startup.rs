//! `[startup]`: how services start, and how long that and a shutdown may take.

use std::time::Duration;

use raceproof_core::startup::{Config, Spec};

use crate::startup::Startup;

/// The section `[startup]`: what a [`Startup`] is made of, and, by [`Unit::configured`](crate::startup::Unit::configured),
/// its units.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct StartupConfig {
    /// How long the first phase of a shutdown may take: starts end, services drain.
    pub drain_timeout: Duration,
    /// How long the second may take: services stop.
    pub stop_timeout: Duration,
    /// How long an attempt to start a service may take; none for no limit.
    pub unit_start_timeout: Option<Duration>,
    /// How long the stop of a service may take.
    pub unit_stop_timeout: Duration,
    /// How often it is tried to start a service.
    pub unit_attempts: u32,
    /// The pause after a service's first failure to start; doubles with each.
    pub unit_backoff: Duration,
    /// The longest pause.
    pub unit_backoff_max: Duration,
}

impl Default for StartupConfig {
    fn default() -> Self {
        let Config { drain_timeout, stop_timeout, .. } = Config::default();
        let unit = Spec::new("");
        Self {
            drain_timeout,
            stop_timeout,
            unit_start_timeout: unit.start_timeout,
            unit_stop_timeout: unit.stop_timeout,
            unit_attempts: unit.attempts,
            unit_backoff: unit.backoff.first,
            unit_backoff_max: unit.backoff.max,
        }
    }
}

impl StartupConfig {
    /// A startup without units.
    pub fn startup(&self) -> Startup {
        Startup::new().drain_timeout(self.drain_timeout).stop_timeout(self.stop_timeout)
    }
}

section! {
    StartupConfig, "startup", "Starting and stopping services together.";
    "drain-timeout" drain_timeout: Duration, "how long the first phase of a shutdown may take: starts end, services drain";
    "stop-timeout" stop_timeout: Duration, "how long the second may take: services stop";
    "unit-start-timeout" unit_start_timeout: Option<Duration>, "how long an attempt to start a service may take";
    "unit-stop-timeout" unit_stop_timeout: Duration, "how long the stop of a service may take";
    "unit-attempts" unit_attempts: u32, "how often it is tried to start a service";
    "unit-backoff" unit_backoff: Duration, "the pause after a service's first failure to start; doubles with each";
    "unit-backoff-max" unit_backoff_max: Duration, "the longest pause";
    check |values| {
        super::some("unit-attempts", values.unit_attempts == 0)?;
        super::ordered("unit-backoff", values.unit_backoff, "unit-backoff-max", values.unit_backoff_max)
    }
}
