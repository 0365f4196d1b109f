//! What the handles of one supervisor share: the core's machine behind a lock, and the bodies it decides about.
//!
//! Outputs are performed in their order by one caller at a time, without the lock: bodies, tokens and outcomes are
//! foreign code when they are called, woken or dropped.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, PoisonError, Weak};

use raceproof_core::task::{
    Accepted, Backoff, Config, End, Event, EventKind, Outcome, Output, RefusedBecause, RunId, Spec,
    Supervisor as Machine,
};
use raceproof_core::time::Time;
use tokio::sync::{Notify, SetOnce};

use super::body::Body;
use super::error::SpawnError;
use super::handle::TaskHandle;
use super::token::CancelToken;
use crate::events::Bus;
use crate::rt::{AbortHandle, Clock, Runtime, caught, message};
use crate::sync::{Mutex, MutexGuard};

/// So many events are kept for a watcher that is slow.
const EVENTS_KEPT: usize = 1_024;

pub(super) struct Shared {
    state: Mutex<State>,
    pub(super) clock: Clock,
    /// How tasks restart that do not say it.
    pub(super) backoff: Backoff,
    pub(super) events: Bus<Event>,
    /// Told when nothing runs, waits or pauses.
    pub(super) idle: Notify,
    /// Told when there is a deadline that comes before the one that the timer waits for.
    deadline: Arc<Notify>,
}

struct State {
    machine: Machine,
    entries: BTreeMap<RunId, Entry>,
    /// Somebody performs outputs.
    performing: bool,
    timer: Option<AbortHandle>,
    /// When the timer will look again by itself.
    armed: Option<Time>,
}

struct Entry {
    name: Arc<str>,
    /// None while it runs.
    body: Option<Body>,
    cancel: CancelToken,
    abort: Option<AbortHandle>,
    settled: Arc<SetOnce<Outcome>>,
    runtime: Runtime,
}

impl Shared {
    pub(super) fn new(config: Config, backoff: Backoff) -> Self {
        let machine = Machine::new(config, fastrand::u64(..));
        Self {
            state: Mutex::new(State { machine, entries: BTreeMap::new(), performing: false, timer: None, armed: None }),
            clock: Clock::new(),
            backoff,
            events: Bus::<Event>::builder().capacity(EVENTS_KEPT).build(),
            idle: Notify::new(),
            deadline: Arc::new(Notify::new()),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn look<R>(&self, look: impl FnOnce(&Machine) -> R) -> R {
        look(&self.lock().machine)
    }

    /// Gives the machine an input, then does what it says.
    pub(super) fn input<R>(self: &Arc<Self>, input: impl FnOnce(&mut Machine, Time) -> R) -> R {
        let now = self.clock.now();
        let result = input(&mut self.lock().machine, now);
        self.perform_all();
        result
    }

    pub(super) fn submit(self: &Arc<Self>, name: Arc<str>, spec: Spec, body: Body) -> Result<TaskHandle, SpawnError> {
        let runtime = Runtime::current().ok_or(SpawnError::NoRuntime)?;
        let now = self.clock.now();
        let mut unused = None;
        let mut state = self.lock();
        let submitted = state.machine.submit(now, &name, spec).map_err(|refused| match refused.because {
            RefusedBecause::Running { since, .. } => {
                SpawnError::Running { name: name.to_string(), running_for: now - since }
            }
            RefusedBecause::QueueFull { max } => SpawnError::QueueFull { name: name.to_string(), max },
            RefusedBecause::TooMany { max } => SpawnError::TooMany { max },
            RefusedBecause::ShuttingDown => SpawnError::ShuttingDown,
        })?;
        self.keep_time(&mut state, &runtime);
        let entry = state.entries.entry(submitted.run).or_insert_with(|| Entry {
            name: Arc::clone(&name),
            body: None,
            cancel: CancelToken::new(),
            abort: None,
            settled: Arc::new(SetOnce::new()),
            runtime,
        });
        match submitted.how {
            Accepted::Coalesced => unused = Some(body),
            _ => entry.body = Some(body),
        }
        let settled = Arc::clone(&entry.settled);
        drop(state);
        drop(unused);
        self.perform_all();
        Ok(TaskHandle { shared: Arc::clone(self), name, run: submitted.run, how: submitted.how, settled })
    }

    /// The body of a task has ended, and is kept for a restart.
    fn ended(self: &Arc<Self>, run: RunId, end: End, body: Option<Body>) {
        let now = self.clock.now();
        let mut state = self.lock();
        let replaced = match state.entries.get_mut(&run) {
            Some(entry) => std::mem::replace(&mut entry.body, body),
            None => body,
        };
        state.machine.ended(now, run, end);
        drop(state);
        drop(replaced);
        self.perform_all();
    }

    fn perform_all(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.performing {
            // Whoever performs will see what was added.
            return;
        }
        state.performing = true;
        while let Some(output) = state.machine.poll_output() {
            drop(state);
            // Bodies and wakers are foreign code. Whatever they do, the outputs behind this one are others'.
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| self.perform(output))) {
                tracing::error!(
                    panic = &*message(&*payload),
                    "what a task owned panicked when it was woken or dropped"
                );
            }
            state = self.lock();
        }
        state.performing = false;
        let idle = state.machine.is_idle();
        let next = state.machine.next_deadline();
        let sooner = next.is_some_and(|next| state.armed.is_none_or(|armed| next < armed));
        drop(state);
        if sooner {
            self.deadline.notify_one();
        }
        if idle {
            self.idle.notify_waiters();
        }
    }

    fn perform(self: &Arc<Self>, output: Output) {
        match output {
            Output::Start(run) => self.start(run),
            Output::Cancel(run) => {
                let cancel = self.lock().entries.get(&run).map(|entry| entry.cancel.clone());
                if let Some(cancel) = cancel {
                    cancel.cancel();
                }
            }
            Output::Abort(run) => {
                let abort = self.lock().entries.get(&run).and_then(|entry| entry.abort.clone());
                if let Some(abort) = abort {
                    abort.abort();
                }
            }
            Output::Settle(run, outcome) => {
                let entry = self.lock().entries.remove(&run);
                if let Some(entry) = entry {
                    // Fails only if it was set before, and each task is settled once.
                    let _ = entry.settled.set(outcome);
                }
            }
            Output::Event(event) => {
                trace(&event);
                // Watchers never make publishers wait.
                let _ = self.events.try_publish(event);
            }
        }
    }

    fn start(self: &Arc<Self>, run: RunId) {
        let mut state = self.lock();
        let Some(entry) = state.entries.get_mut(&run) else { return };
        let Some(body) = entry.body.take() else { return };
        let (cancel, runtime) = (entry.cancel.clone(), entry.runtime.clone());
        let span = tracing::debug_span!("task", name = &*entry.name);
        drop(state);
        let report = Report { shared: Arc::clone(self), run, body: None, end: End::Dropped };
        let task = runtime.task(tracing::Instrument::instrument(drive(report, body, cancel), span));
        if let Some(entry) = self.lock().entries.get_mut(&run) {
            entry.abort = Some(task.abort_handle());
        }
    }

    /// The next deadline, which the timer is about to wait for.
    fn arm(&self) -> Option<Time> {
        let mut state = self.lock();
        state.armed = state.machine.next_deadline();
        state.armed
    }

    fn keep_time(self: &Arc<Self>, state: &mut State, runtime: &Runtime) {
        if state.timer.as_ref().is_none_or(AbortHandle::is_finished) {
            let clock = keep_time(Arc::downgrade(self), Arc::clone(&self.deadline));
            state.armed = None;
            state.timer = Some(runtime.task(clock).abort_handle());
        }
    }

    /// Stops everything at once (T2).
    pub(super) fn end(self: &Arc<Self>) {
        self.input(|machine, now| machine.shutdown(now, now));
        let timer = self.lock().timer.take();
        if let Some(timer) = timer {
            timer.abort();
        }
    }
}

/// Tells the machine how a body ended, however it did: also when it is dropped.
struct Report {
    shared: Arc<Shared>,
    run: RunId,
    body: Option<Body>,
    end: End,
}

impl Drop for Report {
    fn drop(&mut self) {
        let end = std::mem::replace(&mut self.end, End::Dropped);
        self.shared.ended(self.run, end, self.body.take());
    }
}

/// The report is made first and dropped last, so that a name is free only after all that its body owned is dropped.
async fn drive(mut report: Report, mut body: Body, cancel: CancelToken) {
    report.end = match caught(|| body.run(cancel)).await {
        Ok(Ok(())) => End::Completed,
        Ok(Err(error)) => End::Failed(error),
        Err(message) => End::Panicked(message.to_string()),
    };
    report.body = Some(body);
}

async fn keep_time(shared: Weak<Shared>, changed: Arc<Notify>) {
    loop {
        let Some((at, clock)) = shared.upgrade().map(|shared| (shared.arm(), shared.clock)) else { return };
        match at {
            None => changed.notified().await,
            Some(at) => tokio::select! {
                biased;
                () = changed.notified() => {}
                () = clock.sleep_until(at) => {
                    if let Some(shared) = shared.upgrade() {
                        shared.input(Machine::tick);
                    }
                }
            },
        }
    }
}

fn trace(event: &Event) {
    let name = &*event.name;
    match &event.kind {
        EventKind::Panicked(message) => tracing::error!(name, panic = message, "a task panicked"),
        EventKind::Failed(error) => tracing::warn!(name, error, "a task failed"),
        EventKind::Aborting => tracing::warn!(name, "a task did not end when asked and is stopped by force"),
        EventKind::Ended(outcome @ (Outcome::GaveUp { .. } | Outcome::Aborted)) => {
            tracing::warn!(name, ?outcome, "a task is over");
        }
        kind => tracing::debug!(name, ?kind, "task"),
    }
}
