use std::time::Duration;

use super::{
    Accepted, Backoff, Config, End, Event, EventKind, Outcome, Output, Refused, RefusedBecause, Restart, RunId, Spec,
    Submitted, Supervisor,
};
use crate::overlap::Overlap;
use crate::time::Time;

const NOW: Time = Time::from_millis(1_000);

fn later(millis: u64) -> Time {
    NOW + Duration::from_millis(millis)
}

fn supervisor() -> Supervisor {
    Supervisor::new(Config { grace: Duration::from_millis(50), ..Config::default() }, 7)
}

fn spec(overlap: Overlap) -> Spec {
    Spec { overlap, ..Spec::default() }
}

fn restarting(restart: Restart, restarts_max: u32) -> Spec {
    let backoff = Backoff { restarts_max, healthy_after: Duration::from_secs(1), ..Backoff::default() };
    Spec { restart, backoff, ..Spec::default() }
}

fn submit(machine: &mut Supervisor, overlap: Overlap) -> Result<Submitted, RefusedBecause> {
    machine.submit(NOW, "sync", spec(overlap)).map_err(|Refused { because }| because)
}

/// What the shell has to do, and apart from it what it tells.
fn drain(machine: &mut Supervisor) -> (Vec<Output>, Vec<EventKind>) {
    let (mut doing, mut events) = (Vec::new(), Vec::new());
    while let Some(output) = machine.poll_output() {
        match output {
            Output::Event(Event { kind, .. }) => events.push(kind),
            other => doing.push(other),
        }
    }
    (doing, events)
}

fn work(machine: &mut Supervisor) -> Vec<Output> {
    drain(machine).0
}

fn started(machine: &mut Supervisor, overlap: Overlap) -> RunId {
    let submitted = submit(machine, overlap).unwrap();
    assert_eq!(submitted.how, Accepted::Started);
    assert_eq!(work(machine), [Output::Start(submitted.run)]);
    submitted.run
}

#[test]
fn t1_a_panic_frees_the_name_and_is_an_event() {
    let mut machine = supervisor();
    let first = started(&mut machine, Overlap::Skip);
    let refused = RefusedBecause::Running { run: first, since: NOW };
    assert_eq!(submit(&mut machine, Overlap::Skip), Err(refused));
    machine.ended(later(5), first, End::Panicked("boom".into()));
    let (doing, events) = drain(&mut machine);
    assert_eq!(doing, [Output::Settle(first, Outcome::Panicked("boom".into()))]);
    assert_eq!(events, [EventKind::Panicked("boom".into()), EventKind::Ended(Outcome::Panicked("boom".into()))]);
    started(&mut machine, Overlap::Skip);
}

#[test]
fn nothing_is_left_of_a_name_that_nobody_uses() {
    let mut machine = supervisor();
    let run = started(&mut machine, Overlap::Skip);
    machine.ended(NOW, run, End::Completed);
    assert!(machine.is_idle() && machine.names.is_empty() && machine.due.is_empty());
}

#[test]
fn queue_one_lets_one_wait_and_makes_the_others_the_same() {
    let mut machine = supervisor();
    let first = started(&mut machine, Overlap::QueueOne);
    let waits = submit(&mut machine, Overlap::QueueOne).unwrap();
    assert_eq!(waits.how, Accepted::Queued);
    for _ in 0..3 {
        let same = submit(&mut machine, Overlap::QueueOne).unwrap();
        assert_eq!(same, Submitted { run: waits.run, how: Accepted::Coalesced });
    }
    machine.ended(NOW, first, End::Completed);
    assert_eq!(work(&mut machine), [Output::Settle(first, Outcome::Completed), Output::Start(waits.run)]);
    let next = submit(&mut machine, Overlap::QueueOne).unwrap();
    assert_eq!(next.how, Accepted::Queued, "what has started is not what was asked for after it");
    assert_eq!(machine.counters().coalesced, 3);
}

#[test]
fn queue_all_keeps_the_order_and_is_bounded() {
    let mut machine = Supervisor::new(Config { queue_max: 2, ..Config::default() }, 7);
    let first = started(&mut machine, Overlap::QueueAll);
    let second = submit(&mut machine, Overlap::QueueAll).unwrap().run;
    let third = submit(&mut machine, Overlap::QueueAll).unwrap().run;
    assert_eq!(submit(&mut machine, Overlap::QueueAll), Err(RefusedBecause::QueueFull { max: 2 }));
    machine.ended(NOW, first, End::Failed("no".into()));
    assert_eq!(work(&mut machine), [Output::Settle(first, Outcome::Failed("no".into())), Output::Start(second)]);
    machine.ended(NOW, second, End::Completed);
    assert_eq!(work(&mut machine), [Output::Settle(second, Outcome::Completed), Output::Start(third)]);
}

#[test]
fn replace_waits_for_the_end_of_what_it_replaces() {
    let mut machine = supervisor();
    let first = started(&mut machine, Overlap::Skip);
    let queued = submit(&mut machine, Overlap::QueueAll).unwrap().run;
    let second = submit(&mut machine, Overlap::Replace).unwrap();
    assert_eq!(second.how, Accepted::Queued);
    assert_eq!(
        work(&mut machine),
        [Output::Settle(queued, Outcome::Replaced { started: false }), Output::Cancel(first)]
    );
    let third = submit(&mut machine, Overlap::Replace).unwrap().run;
    assert_eq!(work(&mut machine), [Output::Settle(second.run, Outcome::Replaced { started: false })]);
    machine.ended(later(1), first, End::Completed);
    assert_eq!(work(&mut machine), [Output::Settle(first, Outcome::Replaced { started: true }), Output::Start(third)]);
}

#[test]
fn replace_stops_by_force_what_does_not_end_in_time() {
    let mut machine = supervisor();
    let first = started(&mut machine, Overlap::Skip);
    let second = submit(&mut machine, Overlap::Replace).unwrap().run;
    assert_eq!(work(&mut machine), [Output::Cancel(first)]);
    assert_eq!(machine.next_deadline(), Some(later(50)));
    machine.tick(later(49));
    assert_eq!(work(&mut machine), []);
    machine.tick(later(50));
    assert_eq!(work(&mut machine), [Output::Abort(first)]);
    assert_eq!(machine.next_deadline(), None);
    machine.ended(later(51), first, End::Dropped);
    assert_eq!(work(&mut machine), [Output::Settle(first, Outcome::Aborted), Output::Start(second)]);
}

#[test]
fn allow_runs_both_and_the_queue_waits_for_the_last() {
    let mut machine = supervisor();
    let (one, two) = (started(&mut machine, Overlap::Allow), started(&mut machine, Overlap::Allow));
    let waits = submit(&mut machine, Overlap::QueueAll).unwrap().run;
    machine.ended(NOW, one, End::Completed);
    assert_eq!(work(&mut machine), [Output::Settle(one, Outcome::Completed)]);
    machine.ended(NOW, two, End::Completed);
    assert_eq!(work(&mut machine), [Output::Settle(two, Outcome::Completed), Output::Start(waits)]);
}

#[test]
fn t1_restarts_pause_for_longer_each_time_and_give_up() {
    let mut machine = supervisor();
    let run = machine.submit(NOW, "sync", restarting(Restart::OnFailure, 4)).unwrap().run;
    let mut now = NOW;
    for failure in 0..4 {
        work(&mut machine);
        machine.ended(now, run, End::Panicked("boom".into()));
        let until = machine.next_deadline().unwrap();
        let longest = Duration::from_millis(100 << failure);
        assert!(until - now <= longest && until - now >= longest / 2, "{:?} after failure {failure}", until - now);
        assert!(matches!(
            submit(&mut machine, Overlap::Skip),
            Err(RefusedBecause::Running { run: busy, .. }) if busy == run
        ));
        now = until;
        machine.tick(now);
        assert_eq!(work(&mut machine), [Output::Start(run)]);
    }
    machine.ended(now, run, End::Failed("at last".into()));
    let outcome = Outcome::GaveUp { restarts: 4, last: "at last".into() };
    assert_eq!(work(&mut machine), [Output::Settle(run, outcome)]);
    assert!(machine.names.is_empty(), "the name is free");
}

#[test]
fn a_task_that_was_well_for_long_enough_begins_to_count_again() {
    let mut machine = supervisor();
    let run = machine.submit(NOW, "sync", restarting(Restart::OnFailure, 1)).unwrap().run;
    let mut now = NOW;
    for _ in 0..5 {
        now += Duration::from_secs(1);
        machine.ended(now, run, End::Failed("again".into()));
        now = machine.next_deadline().expect("it is started again");
        machine.tick(now);
    }
    assert_eq!(machine.counters().started, 6);
}

#[test]
fn only_always_restarts_what_has_completed() {
    for (restart, again) in [(Restart::Never, false), (Restart::OnFailure, false), (Restart::Always, true)] {
        let mut machine = supervisor();
        let run = machine.submit(NOW, "sync", restarting(restart, 0)).unwrap().run;
        machine.ended(NOW, run, End::Completed);
        assert_eq!(machine.pausing() == 1, again, "{restart:?}");
        assert_eq!(machine.is_idle(), !again, "{restart:?}");
    }
}

#[test]
fn t2_shutting_down_stops_everything_and_keeps_the_names_of_the_stuck() {
    let mut machine = supervisor();
    let stuck = started(&mut machine, Overlap::Skip);
    let queued = submit(&mut machine, Overlap::QueueAll).unwrap().run;
    let pausing = machine.submit(NOW, "retry", restarting(Restart::Always, 9)).unwrap().run;
    machine.ended(NOW, pausing, End::Completed);
    work(&mut machine);
    machine.shutdown(NOW, later(10));
    assert_eq!(
        work(&mut machine),
        [
            Output::Settle(queued, Outcome::Cancelled { started: false }),
            Output::Cancel(stuck),
            Output::Settle(pausing, Outcome::Cancelled { started: true }),
        ]
    );
    assert_eq!(submit(&mut machine, Overlap::Allow), Err(RefusedBecause::ShuttingDown));
    assert_eq!(machine.next_deadline(), Some(later(10)), "not the grace, which is longer");
    machine.tick(later(10));
    assert_eq!(work(&mut machine), [Output::Abort(stuck)]);
    assert_eq!(machine.running().map(|run| run.name.to_string()).collect::<Vec<_>>(), ["sync"]);
    machine.ended(later(11), stuck, End::Dropped);
    assert!(machine.is_idle());
    assert_eq!(machine.forced().collect::<Vec<_>>(), ["sync"]);
}

#[test]
fn t2_a_shutdown_does_not_wait_for_a_longer_grace() {
    let mut machine = supervisor();
    let stuck = started(&mut machine, Overlap::Skip);
    machine.cancel(NOW, stuck);
    assert_eq!(machine.next_deadline(), Some(later(50)));
    machine.shutdown(NOW, later(10));
    assert_eq!(machine.next_deadline(), Some(later(10)));
    machine.tick(later(10));
    assert_eq!(work(&mut machine), [Output::Cancel(stuck), Output::Abort(stuck)]);
    machine.shutdown(later(10), later(5));
    assert_eq!(machine.forced().count(), 1, "it is stopped by force once");
}

#[test]
fn a_task_that_is_cancelled_is_not_started_again() {
    let mut machine = supervisor();
    let run = machine.submit(NOW, "sync", restarting(Restart::Always, 9)).unwrap().run;
    machine.cancel(NOW, run);
    machine.ended(NOW, run, End::Failed("stopped".into()));
    assert!(machine.is_idle());
    assert_eq!(work(&mut machine).last(), Some(&Output::Settle(run, Outcome::Cancelled { started: true })));
}

#[test]
fn cancelling_a_name_starts_none_of_those_that_wait() {
    let mut machine = supervisor();
    let first = started(&mut machine, Overlap::Skip);
    let second = submit(&mut machine, Overlap::QueueAll).unwrap().run;
    assert_eq!(machine.cancel_all(NOW, "sync"), 2);
    machine.ended(NOW, first, End::Completed);
    assert_eq!(
        work(&mut machine),
        [
            Output::Settle(second, Outcome::Cancelled { started: false }),
            Output::Cancel(first),
            Output::Settle(first, Outcome::Cancelled { started: true }),
        ]
    );
}

#[test]
fn there_are_only_so_many_tasks() {
    let mut machine = Supervisor::new(Config { tasks_max: 1, ..Config::default() }, 7);
    started(&mut machine, Overlap::Skip);
    for overlap in [Overlap::QueueOne, Overlap::QueueAll, Overlap::Allow, Overlap::Replace] {
        assert_eq!(submit(&mut machine, overlap), Err(RefusedBecause::TooMany { max: 1 }));
    }
    assert_eq!(machine.counters().refused, 4);
}

#[test]
fn the_same_seed_gives_the_same_pauses() {
    let pauses = || {
        let mut rng = fastrand::Rng::with_seed(3);
        (1..20).map(|failures| Backoff::default().pause(failures, &mut rng)).collect::<Vec<_>>()
    };
    assert_eq!(pauses(), pauses());
    assert!(pauses().iter().all(|pause| *pause <= Duration::from_secs(30)));
}
