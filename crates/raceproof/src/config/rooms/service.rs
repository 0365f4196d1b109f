//! `[service]`: values that are made once.

use std::time::Duration;

use raceproof_core::service::Config;

/// The section `[service]`; see [`service::Builder::configured`](crate::service::Builder::configured).
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct ServiceConfig {
    /// How long an initialisation may take.
    pub timeout: Option<Duration>,
    /// How long callers are refused after a failure.
    pub backoff: Option<Duration>,
    /// The longest time that callers are refused, after failures in a row.
    pub backoff_max: Duration,
    /// How many callers may wait.
    pub waiters_max: usize,
}

impl Default for ServiceConfig {
    fn default() -> Self {
        let config = Config::default();
        Self {
            timeout: None,
            backoff: config.backoff.map(|backoff| backoff.first),
            backoff_max: config.backoff.map_or(Duration::from_secs(60), |backoff| backoff.max),
            waiters_max: config.waiters_max,
        }
    }
}

section! {
    ServiceConfig, "service", "Values that are made once and shared.";
    "timeout" timeout: Option<Duration> = "timeout", "how long an initialisation may take";
    "backoff" backoff: Option<Duration>, "how long callers are refused after a failure; doubles with each in a row";
    "backoff-max" backoff_max: Duration, "the longest that callers are refused";
    "waiters-max" waiters_max: usize = "waiters-max", "how many callers may wait at a time";
    check |values| {
        super::ordered("backoff", values.backoff.unwrap_or_default(), "backoff-max", values.backoff_max)
    }
}
