//! `[async]`: what holds for every room that does not say it for itself.

use std::num::NonZeroU32;
use std::time::Duration;

/// The section `[async]`. What it does not say is left to each room.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct AsyncConfig {
    /// How long one piece of work may take.
    pub timeout: Option<Duration>,
    /// How many callers may wait for one thing.
    pub waiters_max: Option<usize>,
    /// How many may do one thing at a time.
    pub concurrency: Option<NonZeroU32>,
    /// How much a queue holds.
    pub queue: Option<usize>,
}

#[cfg(feature = "config")]
impl crate::config::schema::sealed::Section for AsyncConfig {
    const NAME: &'static str = super::SHARED;
    const ABOUT: &'static str = "What holds for every room that does not say it for itself.";
    const NAMED: bool = false;
    type Values = Self;

    fn keys() -> Vec<crate::config::schema::Key<Self>> {
        crate::config::schema::keys![
            "timeout" timeout: Option<Duration>, "how long one piece of work may take";
            "waiters-max" waiters_max: Option<usize>, "how many callers may wait for one thing";
            "concurrency" concurrency: Option<NonZeroU32>, "how many may do one thing at a time";
            "queue" queue: Option<usize>, "how much a queue holds: events, messages, work";
        ]
    }

    fn build(values: Self) -> Result<Self, String> {
        Ok(values)
    }
}
