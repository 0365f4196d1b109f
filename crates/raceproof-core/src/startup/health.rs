//! Whether what was started is still well.

use std::sync::Arc;

use super::machine::{Startup, StepId};
use super::{Check, Phase, State};
use crate::time::Time;

/// The checks of one service.
#[derive(Debug, Default)]
pub(super) struct Health {
    running: Option<StepId>,
    due: Option<Time>,
    failures: u32,
}

impl Health {
    pub(super) fn begin(&mut self, now: Time, check: Option<&Check>) {
        self.failures = 0;
        self.due = check.map(|check| now + check.interval);
    }

    /// When the next check begins, or the one that runs is too late.
    pub(super) const fn due(&self) -> Option<Time> {
        self.due
    }
}

impl Startup {
    pub(super) fn tick_check(&mut self, now: Time, place: usize) {
        if !matches!(self.phase(), Phase::Starting | Phase::Running) {
            return;
        }
        let Some(unit) = self.units.get_mut(place) else { return };
        let Some(check) = unit.spec.check.filter(|_| unit.is_up()) else { return };
        if unit.health.due.is_none_or(|due| due > now) {
            return;
        }
        if let Some(step) = unit.health.running.take() {
            self.drop_step(Some(step));
            self.checked(now, place, Err(format!("a check took longer than {:?}", check.timeout).into()));
            return;
        }
        let step = self.check(place);
        if let Some(unit) = self.units.get_mut(place) {
            unit.health.running = Some(step);
            unit.health.due = Some(now + check.timeout);
        }
    }

    pub(super) fn checked(&mut self, now: Time, place: usize, result: Result<(), Arc<str>>) {
        let Some(unit) = self.units.get_mut(place) else { return };
        let Some(check) = unit.spec.check.filter(|_| unit.is_up()) else { return };
        unit.health.running = None;
        unit.health.due = Some(now + check.interval);
        match result {
            Ok(()) => {
                unit.health.failures = 0;
                self.set_health(place, State::Ready);
            }
            Err(error) => {
                unit.error = Some(error);
                unit.health.failures = unit.health.failures.saturating_add(1);
                if unit.health.failures >= check.failures_max {
                    self.set_health(place, State::Unhealthy);
                }
            }
        }
    }

    /// No more checks: the service is on its way down.
    pub(super) fn end_checks(&mut self, place: usize) {
        let Some(unit) = self.units.get_mut(place) else { return };
        unit.health.due = None;
        let running = unit.health.running.take();
        self.drop_step(running);
    }
}
