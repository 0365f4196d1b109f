//! `[startup]`: how long a shutdown may take.

use std::time::Duration;

use raceproof_core::startup::Config;

use crate::startup::Startup;

/// The section `[startup]`: what a [`Startup`] is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct StartupConfig {
    /// How long the first phase of a shutdown may take: starts end, services drain.
    pub drain_timeout: Duration,
    /// How long the second may take: services stop.
    pub stop_timeout: Duration,
}

impl Default for StartupConfig {
    fn default() -> Self {
        let Config { drain_timeout, stop_timeout, .. } = Config::default();
        Self { drain_timeout, stop_timeout }
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
}
