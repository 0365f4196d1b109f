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
    /// How many callers may wait for room besides.
    pub patient_max: usize,
    /// How long a call waits for its answer; none for as long as it takes.
    pub timeout: Option<Duration>,
    /// The pause after a second panic in a row; doubles with each.
    pub backoff: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// After so many panics in a row a worker gives up; none for never.
    pub restarts_max: Option<u32>,
    /// Whether a request in hand is dropped when its caller has gone.
    pub drop_abandoned: bool,
}

impl Default for WorkerConfig {
    fn default() -> Self {
        let Config { capacity, patient_max, backoff, .. } = Config::default();
        Self {
            workers: NonZeroU32::MIN,
            mailbox: capacity,
            patient_max,
            timeout: None,
            backoff: backoff.first,
            backoff_max: backoff.cap,
            restarts_max: Some(backoff.restarts_max).filter(|max| *max < u32::MAX),
            drop_abandoned: false,
        }
    }
}

impl WorkerConfig {
    /// A worker of this name.
    pub fn builder(&self, name: impl Into<Arc<str>>) -> Builder {
        let workers = usize::try_from(self.workers.get()).unwrap_or(usize::MAX);
        let builder = Worker::<(), ()>::builder(name)
            .workers(workers)
            .mailbox(self.mailbox)
            .patient_max(self.patient_max)
            .backoff(self.backoff, self.backoff_max)
            .restarts_max(self.restarts_max.unwrap_or(u32::MAX));
        let builder = self.timeout.into_iter().fold(builder, Builder::timeout);
        if self.drop_abandoned { builder.drop_abandoned() } else { builder }
    }
}

section! {
    WorkerConfig, "worker", "Workers that answer requests from a mailbox.";
    "workers" workers: NonZeroU32 = "concurrency", "how many requests are answered at a time";
    "mailbox" mailbox: usize = "queue", "how many requests may wait";
    "patient-max" patient_max: usize = "waiters-max", "how many callers may wait for room besides";
    "timeout" timeout: Option<Duration> = "timeout", "how long a call waits for its answer";
    "backoff" backoff: Duration, "the pause after a second panic in a row; doubles with each";
    "backoff-max" backoff_max: Duration, "the longest pause";
    "restarts-max" restarts_max: Option<u32>, "after so many panics in a row a worker gives up; none: never";
    "drop-abandoned" drop_abandoned: bool, "whether a request in hand is dropped when its caller has gone";
    check |values| {
        super::some("mailbox", values.mailbox == 0)?;
        super::ordered("backoff", values.backoff, "backoff-max", values.backoff_max)
    }
}
