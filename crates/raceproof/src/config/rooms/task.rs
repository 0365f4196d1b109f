//! `[task]`: supervisors of tasks.

use std::time::Duration;

use raceproof_core::task::Config;

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
}

impl Default for TaskConfig {
    fn default() -> Self {
        let Config { tasks_max, queue_max, grace, .. } = Config::default();
        Self { tasks_max, queue_max, grace }
    }
}

impl TaskConfig {
    /// A supervisor.
    #[must_use]
    pub fn supervisor(&self) -> Supervisor {
        Supervisor::builder().tasks_max(self.tasks_max).queue_max(self.queue_max).grace(self.grace).build()
    }
}

section! {
    TaskConfig, "task", "Supervisors of tasks: how many there may be.";
    "tasks-max" tasks_max: usize, "how many tasks there may be, those that wait included";
    "queue-max" queue_max: usize, "how many tasks of one name may wait";
    "grace" grace: Duration, "how long a task that is cancelled may take to end before it is stopped by force";
    check |values| {
        super::some("tasks-max", values.tasks_max == 0)
    }
}
