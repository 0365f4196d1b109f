//! Starts that are given up. What is dropped may have ended at the same moment, and what blocks its thread ends later: such
//! a service was started, whatever was decided about it meanwhile.

use std::sync::Arc;

use super::machine::{Startup, StepId};
use super::{Fault, Outcome, State};
use crate::time::Time;

impl Startup {
    /// The shell tells what becomes of it.
    pub(super) fn give_up_start(&mut self, place: usize) {
        let Some(unit) = self.units.get_mut(place) else { return };
        unit.unfinished = unit.spec.stops_unfinished;
        unit.leaving = unit.step.take();
        let step = unit.leaving;
        self.drop_step(step);
    }

    /// A start that was given up is over, and may have succeeded all the same.
    pub(super) fn start_left(&mut self, now: Time, step: StepId, succeeded: bool) {
        for place in self.places(|unit| unit.leaving == Some(step)) {
            let Some(unit) = self.units.get_mut(place) else { continue };
            unit.leaving = None;
            let awaited = std::mem::take(&mut unit.awaited);
            match unit.state {
                State::Retrying if succeeded => self.start_ended(now, place, Ok(())),
                State::Retrying if awaited => self.attempt(now, place),
                State::Retrying => {}
                _ => unit.unfinished |= succeeded,
            }
        }
    }

    /// Tries again, unless the last attempt is not over: two would start one service twice.
    pub(super) fn attempt_if_left(&mut self, now: Time, place: usize) {
        let Some(unit) = self.units.get_mut(place) else { return };
        if unit.leaving.is_none() {
            self.attempt(now, place);
        } else if std::mem::replace(&mut unit.awaited, true) {
            self.report_failure(place, "a start of it goes on although it was dropped".into());
            self.block(place);
            self.turn_back(now, Outcome::Failed);
        } else {
            unit.until = Some(now + unit.spec.stop_timeout);
        }
    }

    pub(super) fn report_failure(&mut self, place: usize, error: Arc<str>) {
        let Some(unit) = self.units.get_mut(place) else { return };
        unit.error = Some(Arc::clone(&error));
        self.report.failed.push(Fault { name: Arc::clone(&unit.spec.name), error });
        self.enter(place, State::Failed, None, None);
    }
}
