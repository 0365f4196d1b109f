//! Limits of a supervisor, and what is asked for each task.

use std::time::Duration;

use crate::overlap::Overlap;

/// Limits of a supervisor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How many tasks there may be, those that wait included. Default 1,024.
    pub tasks_max: usize,
    /// How many tasks of one name may wait. Default 64.
    pub queue_max: usize,
    /// How long a task that is cancelled or replaced may take to end before it is stopped by force. Default 5 s.
    pub grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self { tasks_max: 1_024, queue_max: 64, grace: Duration::from_secs(5) }
    }
}

/// When a task that has ended is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub enum Restart {
    /// Never.
    #[default]
    Never,
    /// When it failed or panicked.
    OnFailure,
    /// However it ended, unless it was stopped.
    Always,
}

/// How long to wait before a task is started again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Backoff {
    /// Before the first restart; doubles with every further failure. Default 100 ms.
    pub first: Duration,
    /// The longest pause. Default 30 s.
    pub cap: Duration,
    /// How many failures in a row are followed by a restart. Default 10.
    pub restarts_max: u32,
    /// A task that ran so long was well: the failures before it do not count any more. Default 60 s.
    pub healthy_after: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            cap: Duration::from_secs(30),
            restarts_max: 10,
            healthy_after: Duration::from_secs(60),
        }
    }
}

impl Backoff {
    /// The pause after so many failures in a row, from 1: a random point in the upper half of what doubling gives, so
    /// that tasks which failed together do not start together.
    #[must_use]
    pub fn pause(&self, failures: u32, rng: &mut fastrand::Rng) -> Duration {
        let longest = self.first.saturating_mul(1 << failures.saturating_sub(1).min(20)).min(self.cap);
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(micros - rng.u64(0..=micros / 2))
    }
}

/// What is asked for one task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Spec {
    /// What happens if the name is taken.
    pub overlap: Overlap,
    /// When it is started again.
    pub restart: Restart,
    /// With which pauses, and how often.
    pub backoff: Backoff,
}
