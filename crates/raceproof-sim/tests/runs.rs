//! What runs are worth: they can be repeated exactly, they violate nothing, and together they exercise every fault and
//! every kind of request.

use std::sync::OnceLock;

use raceproof_core::wire::Code;
use raceproof_sim::report::Happening;
use raceproof_sim::runner::{Summary, Task, run_many};
use raceproof_sim::world::{Options, run};

/// A batch that both tests of batches look at.
fn batch() -> &'static Summary {
    static BATCH: OnceLock<Summary> = OnceLock::new();
    BATCH.get_or_init(|| run_many(&Task { from: 0, seeds: 400, length: None, jobs: 2, options: Options::default() }))
}

#[test]
fn equal_seeds_give_equal_traces() {
    for seed in [0, 1, 7, 42, u64::MAX] {
        let text = Options { text: true, ..Options::default() };
        let (first, again, silent) = (run(seed, text), run(seed, text), run(seed, Options::default()));
        assert_eq!(first.lines, again.lines);
        assert_eq!((first.hash, first.events), (again.hash, again.events));
        assert_eq!(silent.hash, first.hash, "writing the trace down is no part of what happens");
        assert!(first.lines.len() > 20 && silent.lines.is_empty());
    }
}

#[test]
fn a_run_does_not_depend_on_what_ran_before_it_or_beside_it() {
    let alone = run(11, Options::default());
    let beside: Vec<_> = std::thread::scope(|scope| {
        let runs: Vec<_> = (9..13).map(|seed| scope.spawn(move || run(seed, Options::default()).hash)).collect();
        runs.into_iter().map(|run| run.join().expect("no run panics")).collect()
    });
    assert_eq!(beside.get(2), Some(&alone.hash));
}

#[test]
fn other_seeds_give_other_traces() {
    let mut hashes: Vec<_> = (0..100).map(|seed| run(seed, Options::default()).hash).collect();
    hashes.sort_unstable();
    hashes.dedup();
    assert_eq!(hashes.len(), 100);
}

#[test]
fn nothing_is_violated() {
    let summary = batch();
    assert_eq!(summary.seeds, 400);
    assert!(summary.failed.is_none(), "{:?}", summary.failed);
    assert_eq!(summary.report.of(Happening::Undecided), 0, "the history checker came to a verdict");
}

#[test]
fn every_kind_of_fault_and_of_request_happens() {
    let report = &batch().report;
    let given_up = [Happening::Undecided, Happening::UndecidedRefusals];
    for happening in Happening::ALL.iter().filter(|happening| !given_up.contains(happening)) {
        assert!(report.of(*happening) > 0, "{happening:?} never happened in {:?}", report);
    }
    for code in [Code::LockHeld, Code::WaitTimedOut, Code::Deadlock] {
        assert!(report.refusals(code) > 0, "nobody was refused with {code}");
    }
}
