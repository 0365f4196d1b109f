//! The task that carries the machine's wishes out.

use std::collections::BTreeMap;
use std::sync::Arc;

use raceproof_core::startup::{Config, Output, PlanError, Startup as Machine, StepId, UnitId, What};
use tokio::sync::{mpsc, watch};
use tracing::Instrument as _;

use super::running::{Input, Running, View};
use super::unit::{Hooks, Unit};
use crate::rt::{AbortHandle, Clock, Runtime, caught};

pub(super) struct Driver {
    machine: Machine,
    runtime: Runtime,
    hooks: Vec<Hooks>,
    names: Vec<Arc<str>>,
    steps: BTreeMap<StepId, AbortHandle>,
    inputs: mpsc::UnboundedReceiver<Input>,
    /// For the steps. Because it is kept here, the inputs never end.
    ended: mpsc::UnboundedSender<Input>,
    view: watch::Sender<View>,
    ready: watch::Sender<bool>,
    clock: Clock,
    over: bool,
}

impl Driver {
    pub(super) fn new(runtime: Runtime, units: Vec<Unit>, config: Config) -> Result<(Self, Running), PlanError> {
        let names = units.iter().map(|unit| Arc::clone(&unit.spec.name)).collect();
        let (specs, hooks) = units.into_iter().map(|unit| (unit.spec, unit.hooks)).unzip();
        let machine = Machine::new(config, specs)?;
        let (ended, inputs) = mpsc::unbounded_channel();
        let view = watch::Sender::new(View::of(&machine));
        let ready = watch::Sender::new(false);
        let running = Running::new(ended.clone(), view.subscribe(), ready.subscribe());
        let driver = Self {
            machine,
            runtime,
            hooks,
            names,
            steps: BTreeMap::new(),
            inputs,
            ended,
            view,
            ready,
            clock: Clock::new(),
            over: false,
        };
        Ok((driver, running))
    }

    pub(super) async fn run(mut self) {
        self.machine.begin(self.clock.now());
        loop {
            self.drain();
            if self.over {
                return;
            }
            let deadline = self.machine.next_deadline();
            let tick = async {
                match deadline {
                    Some(deadline) => self.clock.sleep_until(deadline).await,
                    None => std::future::pending().await,
                }
            };
            // What has ended by now was not too late.
            let input = tokio::select! {
                biased;
                input = self.inputs.recv() => input,
                () = tick => None,
            };
            let now = self.clock.now();
            match input {
                None => self.machine.tick(now),
                Some(Input::Shutdown) => self.machine.shutdown(now),
                Some(Input::GiveUp) => self.machine.give_up(now),
                Some(Input::Ended(step, result)) => {
                    self.steps.remove(&step);
                    self.machine.done(now, step, result);
                }
                Some(Input::Dropped(step)) => self.machine.dropped(now, step),
            }
        }
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Run { unit, what, step } => self.begin(unit, what, step),
                Output::Drop { step } => {
                    if let Some(abort) = self.steps.remove(&step) {
                        abort.abort();
                    }
                }
                Output::Changed { unit, state } => {
                    let name = self.names.get(unit.as_usize()).map_or("", |name| &**name);
                    tracing::info!(service = name, %state, "a service changed");
                }
                Output::Started => tracing::info!("every service was started"),
                Output::Over => self.over = true,
            }
        }
        self.show();
    }

    fn show(&self) {
        let view = View::of(&self.machine);
        let ready = view.ready;
        self.view.send_if_modified(|before| {
            let changed = *before != view;
            *before = view;
            changed
        });
        self.ready.send_if_modified(|before| std::mem::replace(before, ready) != ready);
    }

    fn begin(&mut self, unit: UnitId, what: What, step: StepId) {
        let ended = self.ended.clone();
        let hook = self.hooks.get(unit.as_usize()).and_then(|hooks| hooks.of(what)).map(Arc::clone);
        let Some(hook) = hook else {
            // There is nothing to do, and that is done. Nobody is left to hear it when all is over.
            let _ = ended.send(Input::Ended(step, Ok(())));
            return;
        };
        let name = self.names.get(unit.as_usize()).map_or("", |name| &**name);
        let span = tracing::debug_span!("raceproof.startup", service = name, step = ?what);
        let run = Run { step, result: None, ended };
        let running = async move {
            let mut run = run;
            run.result = Some(match caught(|| hook()).await {
                Ok(result) => result,
                Err(message) => Err(format!("it panicked: {message}").into()),
            });
        };
        let task = self.runtime.task(running.instrument(span));
        self.steps.insert(step, task.abort_handle());
    }
}

/// A step that is run, or that goes with its task. Says so once nothing of it goes on.
struct Run {
    step: StepId,
    result: Option<Result<(), Arc<str>>>,
    ended: mpsc::UnboundedSender<Input>,
}

impl Drop for Run {
    fn drop(&mut self) {
        let input = match self.result.take() {
            Some(result) => Input::Ended(self.step, result),
            None => Input::Dropped(self.step),
        };
        // Nobody is left to hear it when all is over.
        let _ = self.ended.send(input);
    }
}
