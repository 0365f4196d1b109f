//! One task: where it is, how it ended, what is told about it.

use std::sync::Arc;
use std::time::Duration;

use super::config::Spec;
use crate::time::Time;

/// Names a task of one supervisor, through all its restarts. Never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RunId(pub(super) u64);

/// How the body of a task ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It returned.
    Completed,
    /// It returned an error.
    Failed(String),
    /// It panicked.
    Panicked(String),
    /// It was dropped before it had returned.
    Dropped,
}

/// What became of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome {
    /// It returned.
    Completed,
    /// It returned this error, and was not to be started again.
    Failed(String),
    /// It panicked with this message, and was not to be started again.
    Panicked(String),
    /// It failed or panicked once more after the last restart that it was allowed.
    GaveUp {
        /// How often it was started again.
        restarts: u32,
        /// The last error or panic.
        last: String,
    },
    /// It was cancelled, or its supervisor was shut down.
    Cancelled {
        /// Whether its body had been started.
        started: bool,
    },
    /// Another task of the same name took its place.
    Replaced {
        /// Whether its body had been started.
        started: bool,
    },
    /// It was asked to stop, did not in time, and was stopped by force.
    Aborted,
}

/// Something happened to a task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event {
    /// The name of the task.
    pub name: Arc<str>,
    /// Which task of this name.
    pub run: RunId,
    /// What happened.
    pub kind: EventKind,
}

/// What happened to a task.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum EventKind {
    /// Its body was started, for the `attempt`th time, from 1.
    Started {
        /// Which start.
        attempt: u32,
    },
    /// It returned an error.
    Failed(String),
    /// It panicked (T1).
    Panicked(String),
    /// It will be started again after this pause.
    Restarting {
        /// The pause.
        after: Duration,
    },
    /// It was asked to stop.
    Stopping,
    /// It was told to stop by force.
    Aborting,
    /// It is over, and its place is free.
    Ended(Outcome),
}

/// Why a task is being stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cause {
    Cancelled,
    Replaced,
}

impl Cause {
    pub(super) const fn outcome(self, started: bool) -> Outcome {
        match self {
            Self::Cancelled => Outcome::Cancelled { started },
            Self::Replaced => Outcome::Replaced { started },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Queued,
    Running { since: Time },
    Pausing { until: Time },
    Stopping { since: Time, abort_at: Time, aborted: bool, cause: Cause },
}

#[derive(Debug)]
pub(super) struct Run {
    pub(super) name: Arc<str>,
    pub(super) spec: Spec,
    pub(super) state: State,
    /// How often its body was started.
    pub(super) attempts: u32,
    /// How often it failed in a row.
    pub(super) failures: u32,
}

impl Run {
    /// When there is something to do about it.
    pub(super) const fn deadline(&self) -> Option<Time> {
        match self.state {
            State::Pausing { until } => Some(until),
            State::Stopping { abort_at, aborted: false, .. } => Some(abort_at),
            State::Queued | State::Running { .. } | State::Stopping { .. } => None,
        }
    }
}
