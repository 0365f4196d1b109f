//! Stopping tasks: asked first, by force when the time is over (T2).

use std::sync::Arc;

use super::config::Spec;
use super::error::RefusedBecause;
use super::run::{Cause, EventKind, RunId, State};
use super::supervisor::{Accepted, Output, Submitted, Supervisor};
use crate::time::Time;

impl Supervisor {
    /// Stops a task: at once if its body is not running, else it is asked to stop and has the grace for it.
    pub fn cancel(&mut self, now: Time, id: RunId) {
        self.stop(now, id, Cause::Cancelled, now + self.config.grace);
    }

    /// Stops all tasks of a name, those that wait first, so that none of them starts. How many there were.
    pub fn cancel_all(&mut self, now: Time, name: &str) -> usize {
        let Some(name) = self.names.get(name) else { return 0 };
        let ids: Vec<RunId> = name.queue.iter().chain(&name.active).copied().collect();
        for id in &ids {
            self.cancel(now, *id);
        }
        ids.len()
    }

    /// Takes no more tasks and stops all, by force at the deadline.
    pub fn shutdown(&mut self, now: Time, deadline: Time) {
        self.closed = true;
        let waits = |id: &RunId| self.runs.get(id).is_some_and(|run| run.state == State::Queued);
        let (queued, active): (Vec<RunId>, Vec<RunId>) = self.runs.keys().copied().partition(waits);
        for id in queued.into_iter().chain(active) {
            self.stop(now, id, Cause::Cancelled, deadline);
        }
        self.tick(now);
    }

    /// Puts a task in the place of all others of its name.
    pub(super) fn replace(&mut self, now: Time, name: &str, spec: Spec) -> Result<Submitted, RefusedBecause> {
        let run = self.add(name, spec)?;
        let Some(found) = self.names.get_mut(name) else { return Err(RefusedBecause::ShuttingDown) };
        let queued = std::mem::take(&mut found.queue);
        let active = found.active.clone();
        // It is in the queue before any of the others ends, so that it follows the last of them.
        found.queue.push_back(run);
        let abort_at = now + self.config.grace;
        for id in queued.into_iter().chain(active) {
            self.stop(now, id, Cause::Replaced, abort_at);
        }
        let waits = self.runs.get(&run).is_some_and(|run| run.state == State::Queued);
        Ok(Submitted { run, how: if waits { Accepted::Queued } else { Accepted::Started } })
    }

    fn stop(&mut self, now: Time, id: RunId, why: Cause, by: Time) {
        let Some(run) = self.runs.get(&id) else { return };
        match run.state {
            State::Queued => self.settle(now, id, why.outcome(false)),
            State::Pausing { .. } => self.settle(now, id, why.outcome(true)),
            State::Running { since } => {
                self.enter(id, State::Stopping { since, abort_at: by, aborted: false, cause: why });
                self.event(id, EventKind::Stopping);
                self.outputs.push_back(Output::Cancel(id));
            }
            State::Stopping { since, abort_at, aborted, cause } => {
                self.enter(id, State::Stopping { since, abort_at: abort_at.min(by), aborted, cause });
            }
        }
    }

    /// Starts what has paused long enough and stops by force what was asked in vain.
    pub fn tick(&mut self, now: Time) {
        while let Some(&(at, id)) = self.due.first()
            && at <= now
        {
            let Some(run) = self.runs.get(&id) else { return };
            match run.state {
                State::Stopping { since, abort_at, cause, .. } => {
                    if self.closed {
                        self.forced.push(Arc::clone(&run.name));
                    }
                    self.enter(id, State::Stopping { since, abort_at, aborted: true, cause });
                    self.counters.aborted += 1;
                    self.event(id, EventKind::Aborting);
                    self.outputs.push_back(Output::Abort(id));
                }
                State::Pausing { .. } | State::Queued | State::Running { .. } => self.start(now, id),
            }
        }
    }

    /// When to call [`tick`](Self::tick).
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.due.first().map(|(at, _)| *at)
    }
}
