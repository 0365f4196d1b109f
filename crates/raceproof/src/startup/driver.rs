//! The task that carries the machine's wishes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use raceproof_core::startup::{Config, Output, PlanError, Startup as Machine, StepId, UnitId, What};
use raceproof_core::time::Time;
use tokio::sync::{mpsc, watch};
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, sleep_until};

use super::running::{Command, Running, View};
use super::unit::{Hooks, Unit};
use crate::rt::caught;

type Done = (StepId, Result<(), Arc<str>>);

pub(super) struct Driver {
    machine: Machine,
    hooks: Vec<Hooks>,
    names: Vec<Arc<str>>,
    steps: JoinSet<Done>,
    aborts: BTreeMap<StepId, AbortHandle>,
    commands: mpsc::UnboundedReceiver<Command>,
    view: watch::Sender<View>,
    ready: watch::Sender<bool>,
    origin: Instant,
    over: bool,
}

impl Driver {
    pub(super) fn new(units: Vec<Unit>, config: Config) -> Result<(Self, Running), PlanError> {
        let names = units.iter().map(|unit| Arc::clone(&unit.spec.name)).collect();
        let (specs, hooks) = units.into_iter().map(|unit| (unit.spec, unit.hooks)).unzip();
        let machine = Machine::new(config, specs)?;
        let (sender, commands) = mpsc::unbounded_channel();
        let view = watch::Sender::new(View::of(&machine, false));
        let ready = watch::Sender::new(false);
        let running = Running::new(sender, view.subscribe(), ready.subscribe());
        let driver = Self {
            machine,
            hooks,
            names,
            steps: JoinSet::new(),
            aborts: BTreeMap::new(),
            commands,
            view,
            ready,
            origin: Instant::now(),
            over: false,
        };
        Ok((driver, running))
    }

    pub(super) async fn run(mut self) {
        let now = self.now();
        self.machine.begin(now);
        loop {
            self.drain();
            if self.over {
                return;
            }
            let deadline = self.machine.next_deadline().map(|time| self.origin + (time - Time::ZERO));
            let tick = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(joined) = self.steps.join_next() => {
                    let now = self.now();
                    // One that was dropped has nothing to say.
                    if let Ok((step, result)) = joined {
                        self.aborts.remove(&step);
                        self.machine.done(now, step, result);
                    }
                }
                Some(command) = self.commands.recv() => {
                    let now = self.now();
                    match command {
                        Command::Shutdown => self.machine.shutdown(now),
                        Command::GiveUp => self.machine.give_up(now),
                    }
                }
                () = tick => {
                    let now = self.now();
                    self.machine.tick(now);
                }
            }
        }
    }

    /// The core counts whole microseconds; a timer that fired is never before its deadline.
    fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Run { unit, what, step } => self.begin(unit, what, step),
                Output::Drop { step } => {
                    if let Some(abort) = self.aborts.remove(&step) {
                        abort.abort();
                    }
                }
                Output::Changed { unit, state } => {
                    let name = self.names.get(unit.as_usize()).map_or("", |name| &**name);
                    tracing::info!(service = name, %state, "a service changed");
                }
                Output::Started => {
                    tracing::info!("every service was started");
                    self.show(true);
                }
                Output::Over => self.over = true,
            }
        }
        self.show(false);
    }

    fn show(&self, started: bool) {
        let started = started || self.view.borrow().started;
        let view = View::of(&self.machine, started);
        let ready = self.machine.is_ready();
        self.view.send_if_modified(|before| {
            let changed = *before != view;
            *before = view;
            changed
        });
        self.ready.send_if_modified(|before| std::mem::replace(before, ready) != ready);
    }

    fn begin(&mut self, unit: UnitId, what: What, step: StepId) {
        let Some(hook) = self.hooks.get(unit.as_usize()).and_then(|hooks| hooks.of(what)).map(Arc::clone) else {
            // There is nothing to do, and that is done; the task only says so.
            let abort = self.steps.spawn(async move { (step, Ok(())) });
            self.aborts.insert(step, abort);
            return;
        };
        let abort = self.steps.spawn(async move {
            let result = match caught(|| hook()).await {
                Ok(result) => result,
                Err(message) => Err(format!("it panicked: {message}").into()),
            };
            (step, result)
        });
        self.aborts.insert(step, abort);
    }
}
