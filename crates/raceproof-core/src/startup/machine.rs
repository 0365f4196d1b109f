//! The machine itself.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::graph::links;
use super::health::Health;
use super::{Config, Fault, Outcome, Phase, PlanError, Report, Spec, State, Status};
use crate::time::Time;

/// One service, by its place in the list.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct UnitId(usize);

impl UnitId {
    /// The place in the list that the machine was made from.
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0
    }
}

/// One run of one piece of a service's code.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct StepId(u64);

/// Which piece of a service's code.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum What {
    /// Start it.
    Start,
    /// Ask whether it is well.
    Check,
    /// Let it finish what it has.
    Drain,
    /// Stop it.
    Stop,
}

/// What the shell does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Output {
    /// Runs it, and calls [`Startup::done`] with the step when it has ended.
    Run {
        /// Of whom.
        unit: UnitId,
        /// What.
        what: What,
        /// Which run.
        step: StepId,
    },
    /// Drops what it runs as this step, and calls [`Startup::dropped`] once nothing of it goes on; or
    /// [`Startup::done`], if it ended all the same.
    Drop {
        /// Which run.
        step: StepId,
    },
    /// Tells whoever follows.
    Changed {
        /// Who.
        unit: UnitId,
        /// What it is from here on.
        state: State,
    },
    /// Every service was started.
    Started,
    /// Nothing will happen any more.
    Over,
}

#[derive(Debug)]
pub(super) struct Unit {
    pub(super) spec: Spec,
    after: Vec<usize>,
    before: Vec<usize>,
    pub(super) state: State,
    attempts: u32,
    pub(super) error: Option<Arc<str>>,
    /// When its state ends by itself.
    pub(super) until: Option<Time>,
    /// What runs for it, except a check.
    pub(super) step: Option<StepId>,
    /// A start that was given up, and that may end all the same.
    pub(super) leaving: Option<StepId>,
    /// The next attempt waits for that.
    pub(super) awaited: bool,
    /// A start that was given up may have left something to stop.
    pub(super) unfinished: bool,
    drained: bool,
    pub(super) health: Health,
}

impl Unit {
    pub(super) const fn is_up(&self) -> bool {
        matches!(self.state, State::Ready | State::Unhealthy)
    }

    /// Whether it has to be stopped, or is being stopped.
    const fn is_to_stop(&self) -> bool {
        self.is_up() || self.unfinished || self.leaving.is_some() || matches!(self.state, State::Stopping)
    }
}

/// Decides for all services.
#[derive(Debug)]
pub struct Startup {
    config: Config,
    pub(super) units: Vec<Unit>,
    phase: Phase,
    outcome: Outcome,
    /// When the phase ends by itself.
    until: Option<Time>,
    pub(super) steps: BTreeMap<StepId, (usize, What)>,
    last_step: u64,
    pub(super) report: Report,
    pub(super) outputs: VecDeque<Output>,
}

impl Startup {
    /// A machine that has started nothing.
    ///
    /// # Errors
    /// [`PlanError`], naming what is wrong.
    pub fn new(config: Config, specs: Vec<Spec>) -> Result<Self, PlanError> {
        let links = links(&specs)?;
        let unit = |(spec, links): (Spec, super::graph::Links)| Unit {
            spec,
            after: links.after,
            before: links.before,
            state: State::Waiting,
            attempts: 0,
            error: None,
            until: None,
            step: None,
            leaving: None,
            awaited: false,
            unfinished: false,
            drained: false,
            health: Health::default(),
        };
        Ok(Self {
            config,
            units: specs.into_iter().zip(links).map(unit).collect(),
            phase: Phase::Starting,
            outcome: Outcome::Starting,
            until: None,
            steps: BTreeMap::new(),
            last_step: 0,
            report: Report::default(),
            outputs: VecDeque::new(),
        })
    }

    /// Begins to start.
    pub fn begin(&mut self, now: Time) {
        self.advance(now);
    }

    /// What was run as a step ended. The result of a step that was dropped is ignored, unless it is that of a start
    /// which succeeded.
    pub fn done(&mut self, now: Time, step: StepId, result: Result<(), Arc<str>>) {
        match self.steps.remove(&step) {
            Some((place, What::Check)) => self.checked(now, place, result),
            Some((place, What::Start)) => self.start_ended(now, place, result),
            Some((place, What::Drain)) => self.drain_ended(place, result),
            Some((place, What::Stop)) => self.stop_ended(place, result),
            None => self.start_left(now, step, result.is_ok()),
        }
        self.advance(now);
    }

    /// Nothing goes on of what was dropped as this step.
    pub fn dropped(&mut self, now: Time, step: StepId) {
        self.start_left(now, step, false);
        self.advance(now);
    }

    /// Begins the way back. Starts that are under way may end until the first phase does.
    pub fn shutdown(&mut self, now: Time) {
        self.turn_back(now, Outcome::ShutDown);
        self.advance(now);
    }

    /// Does not wait for anything any more.
    pub fn give_up(&mut self, now: Time) {
        self.turn_back(now, Outcome::ShutDown);
        self.end_draining(now);
        self.end_stopping();
        self.advance(now);
    }

    /// Time went on.
    pub fn tick(&mut self, now: Time) {
        if self.until.is_some_and(|until| until <= now) {
            match self.phase {
                Phase::Draining => self.end_draining(now),
                Phase::Stopping => self.end_stopping(),
                Phase::Starting | Phase::Running | Phase::Over => {}
            }
        }
        for place in 0..self.units.len() {
            self.tick_unit(now, place);
            self.tick_check(now, place);
        }
        self.advance(now);
    }

    /// When [`tick`](Self::tick) is to be called at the latest; none if nothing waits for time.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let units = self.units.iter().flat_map(|unit| [unit.until, unit.health.due()]).flatten();
        units.chain(self.until).min()
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// Where all services together are.
    #[must_use]
    pub const fn phase(&self) -> Phase {
        self.phase
    }

    /// How the start ended; whatever comes afterwards does not change that.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// Whether all services were started and are well.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Running && self.units.iter().all(|unit| unit.state == State::Ready)
    }

    /// Each service, in the order of the list.
    pub fn statuses(&self) -> impl Iterator<Item = Status> {
        self.units.iter().map(|unit| Status {
            name: Arc::clone(&unit.spec.name),
            state: unit.state,
            attempts: unit.attempts,
            error: unit.error.clone(),
        })
    }

    /// What became of everything so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let named = |state| self.units.iter().filter(move |unit| unit.state == state);
        let names = |state| named(state).map(|unit| Arc::clone(&unit.spec.name)).collect();
        Report {
            blocked: names(State::Blocked),
            stuck: names(State::Stuck),
            unreached: names(State::Unreached),
            ..self.report.clone()
        }
    }

    fn run(&mut self, place: usize, what: What) -> StepId {
        self.last_step += 1;
        let step = StepId(self.last_step);
        self.steps.insert(step, (place, what));
        self.outputs.push_back(Output::Run { unit: UnitId(place), what, step });
        step
    }

    pub(super) fn check(&mut self, place: usize) -> StepId {
        self.run(place, What::Check)
    }

    pub(super) fn drop_step(&mut self, step: Option<StepId>) {
        if let Some(step) = step
            && self.steps.remove(&step).is_some()
        {
            self.outputs.push_back(Output::Drop { step });
        }
    }

    /// A state that ends by itself or by a step; both are over with the next state.
    pub(super) fn enter(&mut self, place: usize, state: State, until: Option<Time>, step: Option<StepId>) {
        let Some(unit) = self.units.get_mut(place) else { return };
        unit.until = until;
        let before = std::mem::replace(&mut unit.step, step);
        if unit.state != state {
            unit.state = state;
            self.outputs.push_back(Output::Changed { unit: UnitId(place), state });
        }
        if before != step {
            self.drop_step(before);
        }
    }

    pub(super) fn set_health(&mut self, place: usize, state: State) {
        self.enter(place, state, None, None);
    }

    pub(super) fn places(&self, which: impl Fn(&Unit) -> bool) -> Vec<usize> {
        self.units.iter().enumerate().filter(|(_, unit)| which(unit)).map(|(place, _)| place).collect()
    }

    fn all(&self, places: &[usize], which: impl Fn(&Unit) -> bool) -> bool {
        places.iter().filter_map(|place| self.units.get(*place)).all(which)
    }

    /// Begins whatever may begin.
    fn advance(&mut self, now: Time) {
        if self.phase == Phase::Starting {
            let due = self.places(|unit| unit.state == State::Waiting && self.all(&unit.after, Unit::is_up));
            for place in due {
                self.attempt(now, place);
            }
            if self.units.iter().all(Unit::is_up) {
                self.phase = Phase::Running;
                self.outcome = Outcome::Started;
                self.outputs.push_back(Output::Started);
            }
        }
        if self.phase == Phase::Draining {
            self.advance_draining(now);
        }
        if self.phase == Phase::Stopping {
            self.advance_stopping(now);
        }
    }

    pub(super) fn attempt(&mut self, now: Time, place: usize) {
        let Some(unit) = self.units.get_mut(place) else { return };
        unit.attempts += 1;
        let until = unit.spec.start_timeout.map(|limit| now + limit);
        let step = self.run(place, What::Start);
        self.enter(place, State::Starting, until, Some(step));
    }

    pub(super) fn start_ended(&mut self, now: Time, place: usize, result: Result<(), Arc<str>>) {
        match result {
            Ok(()) => {
                if let Some(unit) = self.units.get_mut(place) {
                    unit.unfinished = false;
                    unit.health.begin(now, unit.spec.check.as_ref());
                }
                self.enter(place, State::Ready, None, None);
            }
            Err(error) => self.start_failed(now, place, error),
        }
    }

    fn start_failed(&mut self, now: Time, place: usize, error: Arc<str>) {
        let Some(unit) = self.units.get_mut(place) else { return };
        if self.phase == Phase::Starting && unit.attempts < unit.spec.attempts {
            unit.error = Some(error);
            let at = now + unit.spec.backoff.after(unit.attempts);
            self.enter(place, State::Retrying, Some(at), None);
            return;
        }
        self.report_failure(place, error);
        self.block(place);
        self.turn_back(now, Outcome::Failed);
    }

    /// Whatever waits for it will not be started.
    pub(super) fn block(&mut self, place: usize) {
        let mut blocked = vec![place];
        while let Some(place) = blocked.pop() {
            let before = self.units.get(place).map(|unit| unit.before.clone()).unwrap_or_default();
            for place in before {
                if self.units.get(place).is_some_and(|unit| matches!(unit.state, State::Waiting | State::NotStarted)) {
                    self.enter(place, State::Blocked, None, None);
                    blocked.push(place);
                }
            }
        }
    }

    pub(super) fn turn_back(&mut self, now: Time, why: Outcome) {
        if !matches!(self.phase, Phase::Starting | Phase::Running) {
            return;
        }
        if self.outcome == Outcome::Starting {
            self.outcome = why;
        }
        self.phase = Phase::Draining;
        self.until = Some(now + self.config.drain_timeout);
        for place in self.places(|unit| matches!(unit.state, State::Waiting | State::Retrying)) {
            self.enter(place, State::NotStarted, None, None);
        }
        for place in 0..self.units.len() {
            self.end_checks(place);
        }
    }

    fn advance_draining(&mut self, now: Time) {
        let undrained =
            |unit: &Unit| (unit.is_up() && unit.spec.drains && !unit.drained) || unit.state == State::Draining;
        let due =
            self.places(|unit| unit.is_up() && undrained(unit) && self.all(&unit.before, |before| !undrained(before)));
        for place in due {
            let step = self.run(place, What::Drain);
            self.enter(place, State::Draining, None, Some(step));
        }
        if !self.units.iter().any(|unit| undrained(unit) || unit.state == State::Starting) {
            self.phase = Phase::Stopping;
            self.until = Some(now + self.config.stop_timeout);
        }
    }

    fn drain_ended(&mut self, place: usize, result: Result<(), Arc<str>>) {
        let Some(unit) = self.units.get_mut(place) else { return };
        unit.drained = true;
        self.complain(place, result);
        self.enter(place, State::Ready, None, None);
    }

    fn end_draining(&mut self, now: Time) {
        if self.phase != Phase::Draining {
            return;
        }
        for place in self.places(|unit| unit.state == State::Starting) {
            self.give_up_start(place);
            self.report_failure(place, "a shutdown came before it had started".into());
        }
        for place in self.places(|unit| unit.is_up() || unit.state == State::Draining) {
            let Some(unit) = self.units.get_mut(place) else { continue };
            if unit.spec.drains && !std::mem::replace(&mut unit.drained, true) {
                self.report.undrained.push(Arc::clone(&unit.spec.name));
            }
            self.enter(place, State::Ready, None, None);
        }
        self.phase = Phase::Stopping;
        self.until = Some(now + self.config.stop_timeout);
    }

    fn advance_stopping(&mut self, now: Time) {
        let due = self.places(|unit| {
            let is_due = unit.is_to_stop() && unit.state != State::Stopping && unit.leaving.is_none();
            is_due && self.all(&unit.before, |unit| !unit.is_to_stop())
        });
        for place in due {
            let Some(unit) = self.units.get_mut(place) else { continue };
            unit.unfinished = false;
            let until = now + unit.spec.stop_timeout;
            let step = self.run(place, What::Stop);
            self.enter(place, State::Stopping, Some(until), Some(step));
        }
        if !self.units.iter().any(Unit::is_to_stop) {
            self.phase = Phase::Over;
            self.until = None;
            self.outputs.push_back(Output::Over);
        }
    }

    fn stop_ended(&mut self, place: usize, result: Result<(), Arc<str>>) {
        self.complain(place, result);
        if let Some(unit) = self.units.get(place) {
            self.report.stopped.push(Arc::clone(&unit.spec.name));
        }
        self.enter(place, State::Stopped, None, None);
    }

    fn end_stopping(&mut self) {
        if self.phase != Phase::Stopping {
            return;
        }
        for place in self.places(Unit::is_to_stop) {
            let Some(unit) = self.units.get_mut(place) else { continue };
            unit.unfinished = false;
            let hangs = unit.leaving.take().is_some() || unit.state == State::Stopping;
            let state = if hangs { State::Stuck } else { State::Unreached };
            self.enter(place, state, None, None);
        }
    }

    fn complain(&mut self, place: usize, result: Result<(), Arc<str>>) {
        if let (Err(error), Some(unit)) = (result, self.units.get_mut(place)) {
            unit.error = Some(Arc::clone(&error));
            self.report.complained.push(Fault { name: Arc::clone(&unit.spec.name), error });
        }
    }

    fn tick_unit(&mut self, now: Time, place: usize) {
        let Some(unit) = self.units.get_mut(place).filter(|unit| unit.until.is_some_and(|until| until <= now)) else {
            return;
        };
        match unit.state {
            State::Retrying => self.attempt_if_left(now, place),
            State::Starting => {
                let limit = unit.spec.start_timeout.unwrap_or_default();
                self.give_up_start(place);
                self.start_failed(now, place, format!("it took longer than {limit:?} to start").into());
            }
            State::Stopping => self.enter(place, State::Stuck, None, None),
            _ => {}
        }
    }
}
