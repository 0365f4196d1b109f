//! The supervisor beside a plain sequential model: for each name a list of those that run and a list of those that
//! wait.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Accepted, Config, End, Outcome, Output, RunId, Spec, Supervisor};
use crate::overlap::Overlap;
use crate::time::Time;

const NAMES: [&str; 2] = ["a", "b"];
const QUEUE_MAX: usize = 2;

#[derive(Clone, Debug)]
enum Op {
    Submit(usize, Overlap),
    /// One of the running bodies ends; if it was asked to stop, that is why.
    End(usize, bool),
    Cancel(usize),
    CancelAll(usize),
    /// The grace of all that were asked to stop is over.
    Wait,
    Shutdown,
}

fn op() -> impl Strategy<Value = Op> {
    let overlap = prop_oneof![
        Just(Overlap::Skip),
        Just(Overlap::QueueOne),
        Just(Overlap::QueueAll),
        Just(Overlap::Replace),
        Just(Overlap::Allow),
    ];
    prop_oneof![
        12 => (0..NAMES.len(), overlap).prop_map(|(name, overlap)| Op::Submit(name, overlap)),
        10 => (any::<usize>(), any::<bool>()).prop_map(|(any, panics)| Op::End(any, panics)),
        3 => any::<usize>().prop_map(Op::Cancel),
        1 => (0..NAMES.len()).prop_map(Op::CancelAll),
        1 => Just(Op::Wait),
        1 => Just(Op::Shutdown),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stop {
    No,
    Cancelled,
    Replaced,
}

/// Those that run, and those that wait.
type Lists = (Vec<(RunId, Stop)>, Vec<RunId>);

#[derive(Default)]
struct Model {
    names: BTreeMap<&'static str, Lists>,
    started: Vec<RunId>,
    settled: Vec<(RunId, Outcome)>,
    cancelled: Vec<RunId>,
    aborted: Vec<RunId>,
    closed: bool,
}

impl Model {
    fn name(&mut self, name: &'static str) -> &mut Lists {
        self.names.entry(name).or_default()
    }

    fn stop(&mut self, name: &'static str, run: RunId, why: Stop) {
        let (active, waiting) = self.name(name);
        if let Some(at) = waiting.iter().position(|other| *other == run) {
            waiting.remove(at);
            let outcome = match why {
                Stop::Replaced => Outcome::Replaced { started: false },
                Stop::Cancelled | Stop::No => Outcome::Cancelled { started: false },
            };
            self.settled.push((run, outcome));
        } else if let Some((_, stop @ Stop::No)) = active.iter_mut().find(|(other, _)| *other == run) {
            *stop = why;
            self.cancelled.push(run);
        }
    }

    fn all(&self) -> Vec<(&'static str, RunId)> {
        let runs = |(name, (active, waiting)): (&&'static str, &Lists)| {
            let ids = waiting.iter().copied().chain(active.iter().map(|(run, _)| *run));
            ids.map(|run| (*name, run)).collect::<Vec<_>>()
        };
        self.names.iter().flat_map(runs).collect()
    }

    fn active(&self) -> Vec<(&'static str, RunId, Stop)> {
        let each = |(name, (active, _)): (&&'static str, &Lists)| {
            active.iter().map(|(run, stop)| (*name, *run, *stop)).collect::<Vec<_>>()
        };
        self.names.iter().flat_map(each).collect()
    }

    fn ends(&mut self, name: &'static str, run: RunId, outcome: Outcome) {
        let (active, waiting) = self.name(name);
        active.retain(|(other, _)| *other != run);
        let next = (active.is_empty() && !waiting.is_empty()).then(|| waiting.remove(0));
        if let Some(next) = next {
            active.push((next, Stop::No));
            self.started.push(next);
        }
        self.settled.push((run, outcome));
    }
}

struct Pair {
    machine: Supervisor,
    model: Model,
    now: Time,
}

impl Pair {
    fn run(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match *op {
            Op::Submit(name, overlap) => self.submit(NAMES[name], overlap)?,
            Op::End(any, panics) => self.end(any, panics),
            Op::Cancel(any) => {
                let all = self.model.all();
                if let Some(at) = any.checked_rem(all.len()) {
                    let (name, run) = all[at];
                    self.machine.cancel(self.now, run);
                    self.model.stop(name, run, Stop::Cancelled);
                }
            }
            Op::CancelAll(name) => {
                self.machine.cancel_all(self.now, NAMES[name]);
                for (_, run) in self.model.all().into_iter().filter(|(other, _)| *other == NAMES[name]) {
                    self.model.stop(NAMES[name], run, Stop::Cancelled);
                }
            }
            Op::Wait => self.wait(),
            Op::Shutdown => {
                self.machine.shutdown(self.now, self.now + Duration::from_secs(1));
                self.model.closed = true;
                for (name, run) in self.model.all() {
                    self.model.stop(name, run, Stop::Cancelled);
                }
            }
        }
        self.check()
    }

    fn submit(&mut self, name: &'static str, overlap: Overlap) -> Result<(), TestCaseError> {
        let got = self.machine.submit(self.now, name, Spec { overlap, ..Spec::default() });
        let closed = self.model.closed;
        let (active, waiting) = self.model.name(name);
        if closed || (overlap == Overlap::Skip && !active.is_empty()) {
            prop_assert!(got.is_err());
        } else if active.is_empty() || overlap == Overlap::Allow {
            let got = got.expect("nothing is in its way");
            prop_assert_eq!(got.how, Accepted::Started);
            active.push((got.run, Stop::No));
            self.model.started.push(got.run);
        } else if overlap == Overlap::QueueOne && !waiting.is_empty() {
            let got = got.expect("it is the same as the last one that waits");
            prop_assert_eq!((got.how, Some(&got.run)), (Accepted::Coalesced, waiting.last()));
        } else if overlap == Overlap::Replace {
            let got = got.expect("it replaces the others");
            prop_assert_eq!(got.how, Accepted::Queued);
            for (_, run) in self.model.all().into_iter().filter(|(other, _)| *other == name) {
                self.model.stop(name, run, Stop::Replaced);
            }
            self.model.name(name).1.push(got.run);
        } else if waiting.len() >= QUEUE_MAX {
            prop_assert!(got.is_err());
        } else {
            waiting.push(got.expect("there is room in the queue").run);
        }
        Ok(())
    }

    fn end(&mut self, any: usize, panics: bool) {
        let active = self.model.active();
        let Some(at) = any.checked_rem(active.len()) else { return };
        let (name, run, stop) = active[at];
        let end = if panics { End::Panicked("boom".into()) } else { End::Completed };
        self.machine.ended(self.now, run, end);
        let outcome = match (panics, stop) {
            (true, _) => Outcome::Panicked("boom".into()),
            (false, Stop::No) => Outcome::Completed,
            (false, Stop::Cancelled) => Outcome::Cancelled { started: true },
            (false, Stop::Replaced) => Outcome::Replaced { started: true },
        };
        self.model.ends(name, run, outcome);
    }

    fn wait(&mut self) {
        self.now += Duration::from_secs(1);
        self.machine.tick(self.now);
        let stopping: Vec<_> = self.model.active().into_iter().filter(|(_, _, stop)| *stop != Stop::No).collect();
        for (name, run, _) in stopping {
            self.model.aborted.push(run);
            self.machine.ended(self.now, run, End::Dropped);
            self.model.ends(name, run, Outcome::Aborted);
        }
    }

    fn check(&mut self) -> Result<(), TestCaseError> {
        let (mut started, mut settled, mut cancelled, mut aborted) = (vec![], vec![], vec![], vec![]);
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Start(run) => started.push(run),
                Output::Settle(run, outcome) => settled.push((run, outcome)),
                Output::Cancel(run) => cancelled.push(run),
                Output::Abort(run) => aborted.push(run),
                Output::Event(_) => {}
            }
        }
        // Between names there is no order to keep.
        for ids in [&mut started, &mut cancelled, &mut aborted] {
            ids.sort();
        }
        settled.sort_by_key(|(run, _)| *run);
        self.model.settled.sort_by_key(|(run, _)| *run);
        for ids in [&mut self.model.started, &mut self.model.cancelled, &mut self.model.aborted] {
            ids.sort();
        }
        prop_assert_eq!(started, std::mem::take(&mut self.model.started));
        prop_assert_eq!(settled, std::mem::take(&mut self.model.settled));
        prop_assert_eq!(cancelled, std::mem::take(&mut self.model.cancelled));
        prop_assert_eq!(aborted, std::mem::take(&mut self.model.aborted));
        prop_assert_eq!(self.machine.running().count(), self.model.active().len());
        prop_assert_eq!(self.machine.is_idle(), self.model.all().is_empty());
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn t1_t2_names_are_taken_and_freed_as_in_lists(ops in vec(op(), 0..60)) {
        let config = Config { queue_max: QUEUE_MAX, grace: Duration::from_secs(1), ..Config::default() };
        let mut pair = Pair { machine: Supervisor::new(config, 7), model: Model::default(), now: Time::ZERO };
        for op in &ops {
            pair.run(op)?;
        }
    }
}
