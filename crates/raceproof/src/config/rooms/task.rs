//! `[task]`: supervisors of tasks, and how those restart.

use std::time::Duration;

use raceproof_core::task::{Backoff, Config};

use crate::task::Supervisor;

/// The section `[task]`: what a [`Supervisor`] is made of.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct TaskConfig {
    /// How many tasks there may be, those that wait included.
    pub tasks_max: usize,
    /// How many tasks of one name may wait.
    pub queue_max: usize,
    /// How long a task that is cancelled may take to end before it is stopped by force.
    pub grace: Duration,
    /// The pause before the first restart of a task; doubles with every failure in a row.
    pub backoff: Duration,
    /// The longest pause.
    pub backoff_max: Duration,
    /// After so many restarts in a row the next failure ends a task.
    pub restarts_max: u32,
    /// How long a task has to run for the failures before it not to count any more.
    pub healthy_after: Duration,
}

impl Default for TaskConfig {
    fn default() -> Self {
        let Config { tasks_max, queue_max, grace, .. } = Config::default();
        let Backoff { first, cap, restarts_max, healthy_after, .. } = Backoff::default();
        Self { tasks_max, queue_max, grace, backoff: first, backoff_max: cap, restarts_max, healthy_after }
    }
}

impl TaskConfig {
    /// A supervisor.
    #[must_use]
    pub fn supervisor(&self) -> Supervisor {
        Supervisor::builder()
            .tasks_max(self.tasks_max)
            .queue_max(self.queue_max)
            .grace(self.grace)
            .backoff(self.backoff, self.backoff_max)
            .restarts_max(self.restarts_max)
            .healthy_after(self.healthy_after)
            .build()
    }
}

section! {
    TaskConfig, "task", "Supervisors of tasks: how many there may be, and how they restart.";
    "tasks-max" tasks_max: usize, "how many tasks there may be, those that wait included";
    "queue-max" queue_max: usize, "how many tasks of one name may wait";
    "grace" grace: Duration, "how long a task that is cancelled may take to end before it is stopped by force";
    "backoff" backoff: Duration, "the pause before a task's first restart; doubles with every failure in a row";
    "backoff-max" backoff_max: Duration, "the longest pause";
    "restarts-max" restarts_max: u32, "after so many restarts in a row the next failure ends a task";
    "healthy-after" healthy_after: Duration, "how long a task has to run for the failures before it not to count";
    check |values| {
        super::some("tasks-max", values.tasks_max == 0)?;
        super::ordered("backoff", values.backoff, "backoff-max", values.backoff_max)
    }
}
