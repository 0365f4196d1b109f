//! Names, their running tasks and their queues.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use super::config::{Config, Restart, Spec};
use super::error::{Refused, RefusedBecause};
use super::run::{End, Event, EventKind, Outcome, Run, RunId, State};
use crate::overlap::Overlap;
use crate::time::Time;

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Output {
    /// Start the body of this task.
    Start(RunId),
    /// Ask this task to stop.
    Cancel(RunId),
    /// Drop the body of this task.
    Abort(RunId),
    /// Tell those who wait for it; the task is over.
    Settle(RunId, Outcome),
    /// Tell those who watch.
    Event(Event),
}

/// A task that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Submitted {
    /// Which.
    pub run: RunId,
    /// How.
    pub how: Accepted,
}

/// How a task was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Accepted {
    /// It is being started.
    Started,
    /// It waits for others of the same name.
    Queued,
    /// It is the same as one that waits already; its own body is not needed.
    Coalesced,
}

/// A task that has been started and has not ended.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Running {
    /// The name of the task.
    pub name: Arc<str>,
    /// Which task of this name.
    pub run: RunId,
    /// Since when its body runs.
    pub since: Time,
    /// Whether it was asked to stop.
    pub stopping: bool,
}

/// What happened since the supervisor was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Counters {
    /// Bodies started, restarts included.
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

/// Tasks of one name: those that run, pause before a restart or are being stopped; and those that wait.
#[derive(Debug, Default)]
pub(super) struct Name {
    pub(super) active: Vec<RunId>,
    pub(super) queue: VecDeque<RunId>,
}

/// Decides about background tasks with names.
#[derive(Debug)]
pub struct Supervisor {
    pub(super) config: Config,
    pub(super) rng: fastrand::Rng,
    pub(super) runs: BTreeMap<RunId, Run>,
    pub(super) names: BTreeMap<Arc<str>, Name>,
    /// The deadlines of all runs that have one.
    pub(super) due: BTreeSet<(Time, RunId)>,
    pub(super) outputs: VecDeque<Output>,
    pub(super) counters: Counters,
    pub(super) closed: bool,
    pub(super) forced: Vec<Arc<str>>,
    next_id: u64,
}

impl Supervisor {
    /// A supervisor without tasks. The seed is for the pauses before restarts.
    #[must_use]
    pub fn new(config: Config, seed: u64) -> Self {
        Self {
            config,
            rng: fastrand::Rng::with_seed(seed),
            runs: BTreeMap::new(),
            names: BTreeMap::new(),
            due: BTreeSet::new(),
            outputs: VecDeque::new(),
            counters: Counters::default(),
            closed: false,
            forced: Vec::new(),
            next_id: 0,
        }
    }

    /// Takes a task.
    ///
    /// # Errors
    /// Why not.
    pub fn submit(&mut self, now: Time, name: &str, spec: Spec) -> Result<Submitted, Refused> {
        let submitted = self.decide(now, name, spec);
        match submitted {
            Ok(Submitted { how: Accepted::Coalesced, .. }) => self.counters.coalesced += 1,
            Ok(_) => {}
            Err(_) => self.counters.refused += 1,
        }
        submitted.map_err(|because| Refused { because })
    }

    fn decide(&mut self, now: Time, name: &str, spec: Spec) -> Result<Submitted, RefusedBecause> {
        if self.closed {
            return Err(RefusedBecause::ShuttingDown);
        }
        let (busy, waits) = match self.names.get(name) {
            Some(name) => (name.active.first().copied(), name.queue.back().copied()),
            None => (None, None),
        };
        let Some(busy) = busy else { return self.start_another(now, name, spec) };
        match spec.overlap {
            Overlap::Allow => self.start_another(now, name, spec),
            Overlap::Skip => Err(RefusedBecause::Running { run: busy, since: self.since(busy, now) }),
            Overlap::QueueOne => match waits {
                Some(run) => Ok(Submitted { run, how: Accepted::Coalesced }),
                None => self.queue(name, spec),
            },
            Overlap::QueueAll => self.queue(name, spec),
            Overlap::Replace => self.replace(now, name, spec),
        }
    }

    fn start_another(&mut self, now: Time, name: &str, spec: Spec) -> Result<Submitted, RefusedBecause> {
        let run = self.add(name, spec)?;
        self.activate(now, run);
        Ok(Submitted { run, how: Accepted::Started })
    }

    fn queue(&mut self, name: &str, spec: Spec) -> Result<Submitted, RefusedBecause> {
        let waiting = self.names.get(name).map_or(0, |name| name.queue.len());
        if waiting >= self.config.queue_max {
            return Err(RefusedBecause::QueueFull { max: self.config.queue_max });
        }
        let run = self.add(name, spec)?;
        if let Some(name) = self.names.get_mut(name) {
            name.queue.push_back(run);
        }
        Ok(Submitted { run, how: Accepted::Queued })
    }

    pub(super) fn add(&mut self, name: &str, spec: Spec) -> Result<RunId, RefusedBecause> {
        if self.runs.len() >= self.config.tasks_max {
            return Err(RefusedBecause::TooMany { max: self.config.tasks_max });
        }
        let id = RunId(self.next_id);
        self.next_id += 1;
        let name = match self.names.get_key_value(name) {
            Some((name, _)) => Arc::clone(name),
            None => {
                let name: Arc<str> = Arc::from(name);
                self.names.insert(Arc::clone(&name), Name::default());
                name
            }
        };
        self.runs.insert(id, Run { name, spec, state: State::Queued, attempts: 0, failures: 0 });
        Ok(id)
    }

    fn activate(&mut self, now: Time, id: RunId) {
        if let Some(run) = self.runs.get(&id)
            && let Some(name) = self.names.get_mut(&run.name)
        {
            name.active.push(id);
        }
        self.start(now, id);
    }

    pub(super) fn start(&mut self, now: Time, id: RunId) {
        self.enter(id, State::Running { since: now });
        let Some(run) = self.runs.get_mut(&id) else { return };
        run.attempts += 1;
        self.counters.started += 1;
        let attempt = run.attempts;
        self.event(id, EventKind::Started { attempt });
        self.outputs.push_back(Output::Start(id));
    }

    /// Keeps its deadline with its state.
    pub(super) fn enter(&mut self, id: RunId, state: State) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let before = run.deadline();
        run.state = state;
        if let Some(at) = before {
            self.due.remove(&(at, id));
        }
        if let Some(at) = run.deadline() {
            self.due.insert((at, id));
        }
    }

    /// The body of a task has ended.
    pub fn ended(&mut self, now: Time, id: RunId, end: End) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        let state = run.state;
        let error = match &end {
            End::Completed | End::Dropped => None,
            End::Failed(error) => Some((EventKind::Failed(error.clone()), error.clone())),
            End::Panicked(message) => Some((EventKind::Panicked(message.clone()), message.clone())),
        };
        let error = error.map(|(event, text)| {
            let counter = if matches!(event, EventKind::Panicked(_)) {
                &mut self.counters.panicked
            } else {
                &mut self.counters.failed
            };
            *counter += 1;
            self.event(id, event);
            text
        });
        match state {
            State::Running { since } => self.ended_by_itself(now, id, since, end, error),
            State::Stopping { aborted: true, .. } if end == End::Dropped => self.settle(now, id, Outcome::Aborted),
            State::Stopping { cause, .. } => {
                let outcome = match end {
                    End::Panicked(message) => Outcome::Panicked(message),
                    End::Completed | End::Failed(_) | End::Dropped => cause.outcome(true),
                };
                self.settle(now, id, outcome);
            }
            // Its body is not running.
            State::Queued | State::Pausing { .. } => {}
        }
    }

    fn ended_by_itself(&mut self, now: Time, id: RunId, since: Time, end: End, error: Option<String>) {
        let Some(run) = self.runs.get_mut(&id) else { return };
        if now - since >= run.spec.backoff.healthy_after {
            run.failures = 0;
        }
        let again = match (&end, run.spec.restart) {
            (End::Dropped, _) | (_, Restart::Never) | (End::Completed, Restart::OnFailure) => false,
            (_, Restart::OnFailure | Restart::Always) => true,
        };
        let failed = error.is_some();
        if again && (!failed || run.failures < run.spec.backoff.restarts_max) {
            run.failures = if failed { run.failures + 1 } else { 0 };
            let after = run.spec.backoff.pause(run.failures.max(1), &mut self.rng);
            self.enter(id, State::Pausing { until: now + after });
            self.event(id, EventKind::Restarting { after });
            return;
        }
        let restarts = run.attempts.saturating_sub(1);
        let outcome = match (end, error) {
            (_, Some(last)) if again => Outcome::GaveUp { restarts, last },
            (End::Failed(error), _) => Outcome::Failed(error),
            (End::Panicked(message), _) => Outcome::Panicked(message),
            (End::Dropped, _) => Outcome::Cancelled { started: true },
            (End::Completed, _) => Outcome::Completed,
        };
        self.settle(now, id, outcome);
    }

    /// The task is over: its place is free, and who waits for the name is next.
    pub(super) fn settle(&mut self, now: Time, id: RunId, outcome: Outcome) {
        self.event(id, EventKind::Ended(outcome.clone()));
        let Some(run) = self.runs.remove(&id) else { return };
        if let Some(at) = run.deadline() {
            self.due.remove(&(at, id));
        }
        self.outputs.push_back(Output::Settle(id, outcome));
        let Some(name) = self.names.get_mut(&run.name) else { return };
        name.active.retain(|other| *other != id);
        name.queue.retain(|other| *other != id);
        if !name.active.is_empty() {
            return;
        }
        match name.queue.pop_front() {
            Some(next) => self.activate(now, next),
            None => {
                self.names.remove(&run.name);
            }
        }
    }

    pub(super) fn event(&mut self, id: RunId, kind: EventKind) {
        if let Some(run) = self.runs.get(&id) {
            self.outputs.push_back(Output::Event(Event { name: Arc::clone(&run.name), run: id, kind }));
        }
    }

    fn since(&self, id: RunId, now: Time) -> Time {
        match self.runs.get(&id).map(|run| run.state) {
            Some(State::Running { since } | State::Stopping { since, .. }) => since,
            Some(State::Queued | State::Pausing { .. }) | None => now,
        }
    }

    /// What to do next.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Tasks that have been started and have not ended, in the order of their submission.
    pub fn running(&self) -> impl Iterator<Item = Running> {
        self.runs.iter().filter_map(|(id, run)| {
            let (since, stopping) = match run.state {
                State::Running { since } => (since, false),
                State::Stopping { since, .. } => (since, true),
                State::Queued | State::Pausing { .. } => return None,
            };
            Some(Running { name: Arc::clone(&run.name), run: *id, since, stopping })
        })
    }

    /// Names of the tasks that were stopped by force since the shutdown began.
    pub fn forced(&self) -> impl Iterator<Item = &str> {
        self.forced.iter().map(|name| &**name)
    }

    /// How many tasks wait for others of the same name.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.runs.values().filter(|run| run.state == State::Queued).count()
    }

    /// How many tasks pause before they are started again.
    #[must_use]
    pub fn pausing(&self) -> usize {
        self.runs.values().filter(|run| matches!(run.state, State::Pausing { .. })).count()
    }

    /// Whether nothing runs, waits or pauses.
    #[must_use]
    pub fn is_idle(&self) -> bool {
        self.runs.is_empty()
    }

    /// What happened so far.
    #[must_use]
    pub const fn counters(&self) -> Counters {
        self.counters
    }
}
