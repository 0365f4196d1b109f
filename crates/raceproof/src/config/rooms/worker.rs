//! `[worker]`: workers that answer requests.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use raceproof_core::worker::Config;

use crate::worker::{Builder, Worker};

/// The section `[worker]`: what a [`Worker`] is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct WorkerConfig {
    /// How many requests are answered at a time.
    pub workers: NonZeroU32,
    /// How many requests may wait.
    pub mailbox: usize,
    /// How long a call waits for its answer; none for as long as it takes.
    pub timeout: Option<Duration>,
    /// The pause after a second panic in a row; doubles with each.
    pub backoff: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// After so many panics in a row a worker gives up; none for never.
    pub restarts_max: Option<u32>,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        let Config { capacity, backoff, .. } = Config::default();
        let restarts_max = Some(backoff.restarts_max).filter(|max| *max < u32::MAX);
        let (mailbox, workers) = (capacity, NonZeroU32::MIN);
        Self { workers, mailbox, timeout: None, backoff: backoff.first, backoff_max: backoff.cap, restarts_max }
    }
}

impl WorkerConfig {
    /// A worker of this name.
    pub fn builder(&self, name: impl Into<Arc<str>>) -> Builder {
        let workers = usize::try_from(self.workers.get()).unwrap_or(usize::MAX);
        let builder = Worker::<(), ()>::builder(name)
            .workers(workers)
            .mailbox(self.mailbox)
            .backoff(self.backoff, self.backoff_max)
            .restarts_max(self.restarts_max.unwrap_or(u32::MAX));
        match self.timeout {
            Some(timeout) => builder.timeout(timeout),
            None => builder,
        }
    }
}

section! {
    WorkerConfig, "worker", "Workers that answer requests from a mailbox.";
    "workers" workers: NonZeroU32 = "concurrency", "how many requests are answered at a time";
    "mailbox" mailbox: usize = "queue", "how many requests may wait";
    "timeout" timeout: Option<Duration> = "timeout", "how long a call waits for its answer";
    "backoff" backoff: Duration, "the pause after a second panic in a row; doubles with each";
    "backoff-max" backoff_max: Duration, "the longest pause";
    "restarts-max" restarts_max: Option<u32>, "after so many panics in a row a worker gives up; none: never";
    check |values| {
        super::some("mailbox", values.mailbox == 0)?;
        super::ordered("backoff", values.backoff, "backoff-max", values.backoff_max)
    }
}
