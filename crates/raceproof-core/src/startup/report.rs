//! What became of everything.

use std::fmt;
use std::sync::Arc;

/// Where all services together are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Phase {
    /// Services start.
    Starting,
    /// All were started.
    Running,
    /// The first phase of a shutdown: starts that are under way end, services drain.
    Draining,
    /// The second: services stop.
    Stopping,
    /// It is over.
    Over,
}

/// How the start of all services ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// It has not ended.
    Starting,
    /// Every service was started.
    Started,
    /// One could not be started.
    Failed,
    /// A shutdown came first.
    ShutDown,
}

/// Where one service is.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum State {
    /// It waits for what it depends on.
    Waiting,
    /// It is being started.
    Starting,
    /// The last attempt failed, and there will be another.
    Retrying,
    /// It was started, and its checks succeed.
    Ready,
    /// It was started, and its checks fail.
    Unhealthy,
    /// It could not be started.
    Failed,
    /// It was not started, because of the failure of one it depends on.
    Blocked,
    /// It was not started, because a shutdown came first.
    NotStarted,
    /// It finishes what it has before anything is stopped.
    Draining,
    /// It is being stopped.
    Stopping,
    /// It was stopped.
    Stopped,
    /// Its stop did not end in time, nor did a start that was given up.
    Stuck,
    /// The shutdown was over before its turn to be stopped came.
    Unreached,
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waiting => "waiting",
            Self::Starting => "starting",
            Self::Retrying => "retrying",
            Self::Ready => "ready",
            Self::Unhealthy => "unhealthy",
            Self::Failed => "failed",
            Self::Blocked => "blocked",
            Self::NotStarted => "not started",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Stopped => "stopped",
            Self::Stuck => "stuck",
            Self::Unreached => "not reached",
        })
    }
}

/// One service, as it is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Status {
    /// Its name.
    pub name: Arc<str>,
    /// Where it is.
    pub state: State,
    /// Attempts to start it.
    pub attempts: u32,
    /// What it said last when something failed.
    pub error: Option<Arc<str>>,
}

/// What is wrong with one service.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Its name.
    pub name: Arc<str>,
    /// What it said.
    pub error: Arc<str>,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.error)
    }
}

/// What became of everything, by name.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Report {
    /// What could not be started; the first is the one that ended the startup.
    pub failed: Vec<Fault>,
    /// What was not started because it depends on one of those.
    pub blocked: Vec<Arc<str>>,
    /// What was stopped, in that order.
    pub stopped: Vec<Arc<str>>,
    /// What said that its drain or its stop failed. It counts as stopped.
    pub complained: Vec<Fault>,
    /// What did not drain in time. It was stopped all the same.
    pub undrained: Vec<Arc<str>>,
    /// What did not stop in time.
    pub stuck: Vec<Arc<str>>,
    /// What was not stopped because the time for everything was over.
    pub unreached: Vec<Arc<str>>,
}

impl Report {
    /// Whether everything that was started was stopped in time and without complaint.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.complained.is_empty() && self.undrained.is_empty() && self.stuck.is_empty() && self.unreached.is_empty()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults = |faults: &[Fault]| faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ");
        let parts = [
            ("failed", faults(&self.failed)),
            ("blocked", self.blocked.join(", ")),
            ("stopped", self.stopped.join(", ")),
            ("complained", faults(&self.complained)),
            ("did not drain in time", self.undrained.join(", ")),
            ("stuck", self.stuck.join(", ")),
            ("not reached", self.unreached.join(", ")),
        ];
        let said: Vec<String> = parts
            .iter()
            .filter(|(_, names)| !names.is_empty())
            .map(|(what, names)| format!("{what}: {names}"))
            .collect();
        f.write_str(if said.is_empty() { "nothing was started" } else { "" })?;
        f.write_str(&said.join("; "))
    }
}
