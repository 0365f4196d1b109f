//! A supervisor at one moment, and how its shutdown went.

use std::time::Duration;

/// A supervisor at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Stats {
    /// Tasks whose bodies run, the oldest first.
    pub running: Vec<RunningTask>,
    /// Tasks that wait for others of the same name.
    pub queued: usize,
    /// Tasks that pause before they are started again.
    pub pausing: usize,
    /// Bodies started since the supervisor was made, restarts included.
    pub started: u64,
    /// Bodies that returned an error.
    pub failed: u64,
    /// Bodies that panicked.
    pub panicked: u64,
    /// Bodies that had to be stopped by force.
    pub aborted: u64,
    /// Tasks that were refused.
    pub refused: u64,
    /// Tasks that were the same as one that waited.
    pub coalesced: u64,
}

/// A task whose body runs.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct RunningTask {
    /// Its name.
    pub name: String,
    /// For how long, since its last start.
    pub running_for: Duration,
    /// Whether it was asked to stop.
    pub stopping: bool,
}

/// How a shutdown went (T2).
#[derive(Clone, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct ShutdownReport {
    /// Names of tasks that had to be stopped by force at the deadline, and then ended.
    pub aborted: Vec<String>,
    /// Names of tasks that did not end even then, because they do not await: they block a thread of the runtime.
    pub stuck: Vec<String>,
}

impl ShutdownReport {
    /// Whether every task ended when it was asked.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.aborted.is_empty() && self.stuck.is_empty()
    }
}
