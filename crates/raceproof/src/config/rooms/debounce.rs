//! `[debounce]`: events that are handed on when it is quiet.

use std::time::Duration;

use crate::resilience::Debounce;
use crate::resilience::debounce::Builder;

/// The section `[debounce]`: what a [`Debounce`] is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DebounceConfig {
    /// How long it has to be quiet.
    pub quiet: Duration,
    /// What came first waits no longer than this; none for as long as it takes.
    pub wait_max: Option<Duration>,
    /// Whether the first event after a time of quiet is handed on at once.
    pub leading: bool,
}

impl Default for DebounceConfig {
    fn default() -> Self {
        Self { quiet: Duration::from_millis(100), wait_max: Some(Duration::from_secs(1)), leading: false }
    }
}

impl DebounceConfig {
    /// A debounce.
    pub fn builder<T>(&self) -> Builder<T> {
        let builder = Debounce::builder(self.quiet).wait_max(self.wait_max);
        if self.leading { builder.leading() } else { builder }
    }
}

section! {
    DebounceConfig, "debounce", "Debouncing: events are handed on when it has been quiet.";
    "quiet" quiet: Duration, "how long it has to be quiet";
    "wait-max" wait_max: Option<Duration>, "what came first waits no longer than this";
    "leading" leading: bool, "whether the first event after a time of quiet is handed on at once";
    check |values| {
        super::ordered("quiet", values.quiet, "wait-max", values.wait_max.unwrap_or(Duration::MAX))
    }
}
