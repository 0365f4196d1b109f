use std::time::Duration;

use super::*;
use crate::time::Time;
use crate::wire::LostReason;

const TTL: Duration = Duration::from_secs(9);
const START: Time = Time::from_millis(1_000_000);

/// A guard with a clock of its own.
struct Bench {
    guard: Guard,
    now: Time,
}

impl Bench {
    fn new(on_lost: OnLost, grace: Duration) -> Self {
        Self { guard: Guard::new(Config { ttl: TTL, grace, on_lost }), now: START }
    }

    fn running(on_lost: OnLost) -> Self {
        let mut bench = Self::new(on_lost, Duration::from_secs(2));
        bench.guard.start(bench.now, START + TTL);
        assert_eq!(bench.drain(), [Output::Spawn]);
        bench
    }

    fn drain(&mut self) -> Vec<Output> {
        std::iter::from_fn(|| self.guard.poll_output()).collect()
    }

    /// Goes to the next deadline and returns what happens there, and when.
    fn step(&mut self) -> (Duration, Vec<Output>) {
        self.now = self.guard.next_deadline().expect("something is due");
        self.guard.tick(self.now);
        (self.now.since(START), self.drain())
    }

    fn gone(&mut self, exit: Exit) -> Vec<Output> {
        self.guard.reaped(self.now, Some(exit), 0);
        self.drain()
    }
}

fn ended(exit: Exit, cause: Cause) -> Output {
    Output::Tell(Notice::Ended(Ending { exit: Some(exit), cause }))
}

fn sends(outputs: &[Output]) -> Vec<Signal> {
    outputs.iter().filter_map(|o| if let Output::Send { signal, .. } = o { Some(*signal) } else { None }).collect()
}

#[test]
fn l8_a_command_is_told_to_stop_and_killed_before_the_lease_can_end() {
    let mut bench = Bench::running(OnLost::Term);
    let (at, outputs) = bench.step();
    assert_eq!(at, Duration::from_secs(7), "the grace before the end");
    assert_eq!(sends(&outputs), [Signal::Term, Signal::Cont]);
    let (at, outputs) = bench.step();
    assert_eq!(at, Duration::from_millis(8_550), "a twentieth of the lease before its end");
    assert_eq!(outputs[0], Output::Kill);
    assert_eq!(bench.gone(Exit::Signal(9)), [ended(Exit::Signal(9), Cause::Lease)]);
    assert_eq!(bench.guard.next_deadline(), None);
}

#[test]
fn l8_the_grace_takes_at_most_a_quarter_of_the_lease() {
    let mut bench = Bench::new(OnLost::Term, Duration::from_secs(60));
    bench.guard.start(bench.now, START + TTL);
    bench.drain();
    assert_eq!(bench.step().0, TTL - TTL / 4);
    assert_eq!(bench.step().0, Duration::from_millis(8_550));
}

#[test]
fn l8_a_renewal_moves_the_end_and_an_older_one_does_not_move_it_back() {
    let mut bench = Bench::running(OnLost::Term);
    bench.guard.renewed(bench.now, START + TTL * 2);
    bench.guard.renewed(bench.now, START + TTL);
    assert_eq!(bench.step().0, TTL * 2 - Duration::from_secs(2));
}

#[test]
fn l8_a_renewal_that_comes_after_the_stop_began_does_not_call_it_off() {
    let mut bench = Bench::running(OnLost::Term);
    bench.step();
    bench.guard.renewed(bench.now, START + TTL * 3);
    assert_eq!(bench.drain(), []);
    let (at, outputs) = bench.step();
    assert_eq!((at, &outputs[0]), (Duration::from_millis(8_550), &Output::Kill));
}

#[test]
fn l9_a_guard_that_wakes_up_past_the_lease_kills_first() {
    for on_lost in [OnLost::Term, OnLost::Kill] {
        let mut bench = Bench::running(on_lost);
        bench.now = START + TTL * 10;
        bench.guard.tick(bench.now);
        let outputs = bench.drain();
        assert_eq!(outputs[0], Output::Kill, "{on_lost:?}");
        assert_eq!(sends(&outputs), [], "{on_lost:?}: no SIGTERM that it could wait on");
    }
}

#[test]
fn l9_a_guard_that_wakes_up_in_the_middle_of_a_stop_kills_first() {
    let mut bench = Bench::running(OnLost::Term);
    bench.step();
    bench.guard.wrapper_gone(START + TTL * 10);
    assert_eq!(bench.drain()[0], Output::Kill);
}

#[test]
fn l1_the_session_ends_only_after_everything_below_is_gone() {
    let mut bench = Bench::running(OnLost::Term);
    bench.guard.wrapper_gone(bench.now);
    let outputs = bench.drain();
    assert_eq!(sends(&outputs), [Signal::Term, Signal::Cont]);
    bench.guard.reaped(bench.now, Some(Exit::Signal(15)), 3);
    assert_eq!(bench.drain(), [], "grandchildren are alive");
    let (at, outputs) = bench.step();
    assert_eq!((at, &outputs[0]), (Duration::from_secs(2), &Output::Kill), "after the grace");
    bench.guard.reaped(bench.now, None, 1);
    assert_eq!(bench.drain(), []);
    bench.guard.reaped(bench.now, None, 0);
    assert_eq!(bench.drain(), [ended(Exit::Signal(15), Cause::Orphaned), Output::EndSession]);
    bench.guard.session_ended(bench.now, true);
    assert_eq!(bench.drain(), [Output::Quit]);
}

#[test]
fn l1_the_grace_after_the_wrapper_died_is_bounded_by_the_lease() {
    let mut bench = Bench::running(OnLost::Term);
    bench.now = START + Duration::from_secs(6);
    bench.guard.renewed(bench.now, START + TTL);
    bench.now = START + Duration::from_millis(6_900);
    bench.guard.wrapper_gone(bench.now);
    bench.drain();
    assert_eq!(bench.step().0, Duration::from_millis(8_550));
}

#[test]
fn l1_nothing_is_started_under_a_lease_that_is_as_good_as_over() {
    let mut bench = Bench::new(OnLost::Term, Duration::from_secs(2));
    bench.guard.start(START, START + Duration::from_secs(2));
    let ending = Ending { exit: None, cause: Cause::Lease };
    assert_eq!(bench.drain(), [Output::Tell(Notice::Ended(ending))]);
    assert_eq!(ending.exit_code(), 70);
}

#[test]
fn l4_a_waiter_whose_wrapper_dies_ends_its_session_at_once() {
    let mut bench = Bench::new(OnLost::Term, Duration::from_secs(2));
    bench.guard.wrapper_gone(bench.now);
    assert_eq!(bench.drain(), [Output::EndSession]);
}

#[test]
fn a_session_that_cannot_be_ended_is_tried_again_until_its_lease_is_over() {
    let mut bench = Bench::running(OnLost::Term);
    bench.gone(Exit::Code(0));
    bench.guard.wrapper_gone(bench.now);
    assert_eq!(bench.drain(), [Output::EndSession]);
    let mut tries = 1;
    loop {
        bench.guard.session_ended(bench.now, false);
        let outputs = bench.drain();
        if outputs.contains(&Output::Quit) {
            assert_eq!(outputs, [Output::Tell(Notice::SessionLeft), Output::Quit]);
            break;
        }
        assert_eq!(bench.step().1, [Output::EndSession]);
        tries += 1;
    }
    assert_eq!(bench.now.since(START), TTL);
    assert_eq!(tries, 181);
}

#[test]
fn a_command_that_ends_by_itself_passes_its_code_on() {
    for (exit, code) in [(Exit::Code(0), 0), (Exit::Code(255), 255), (Exit::Signal(15), 143)] {
        let mut bench = Bench::running(OnLost::Term);
        assert_eq!(bench.gone(exit), [ended(exit, Cause::Command)]);
        assert_eq!(Ending { exit: Some(exit), cause: Cause::Command }.exit_code(), code);
        bench.guard.released();
        assert_eq!(bench.drain(), [Output::Quit]);
    }
}

#[test]
fn every_loss_exits_with_70() {
    for cause in [Cause::Lease, Cause::Lost(LostReason::Stolen), Cause::Orphaned, Cause::Unwatched] {
        assert_eq!(Ending { exit: Some(Exit::Code(0)), cause }.exit_code(), 70);
    }
}

#[test]
fn what_a_command_leaves_behind_is_stopped_before_the_lock_is_free() {
    let mut bench = Bench::running(OnLost::Term);
    bench.guard.reaped(bench.now, Some(Exit::Code(3)), 2);
    let outputs = bench.drain();
    assert_eq!(outputs[0], Output::Tell(Notice::LeftBehind { count: 2 }));
    assert!(outputs.contains(&Output::Send { to: Reach::Tree, signal: Signal::Term }));
    let (at, outputs) = bench.step();
    assert_eq!((at, &outputs[0]), (Duration::from_secs(2), &Output::Kill));
    bench.guard.reaped(bench.now, None, 0);
    assert_eq!(bench.drain(), [ended(Exit::Code(3), Cause::Command)]);
}

#[test]
fn a_tree_that_survives_is_killed_again_and_reported() {
    let mut bench = Bench::running(OnLost::Kill);
    let (_, outputs) = bench.step();
    assert_eq!(outputs[0], Output::Kill);
    let started = bench.now;
    let mut said = 0;
    while bench.now.since(started) < Duration::from_secs(3) {
        let (_, outputs) = bench.step();
        assert!(outputs.contains(&Output::Kill));
        said += outputs.iter().filter(|o| matches!(o, Output::Tell(Notice::Unkillable { .. }))).count();
    }
    assert_eq!(said, 1);
}

#[test]
fn the_first_request_to_end_is_passed_on_and_the_second_kills() {
    let mut bench = Bench::running(OnLost::Term);
    bench.guard.signal(bench.now, Signal::Usr1);
    bench.guard.signal(bench.now, Signal::Hup);
    bench.guard.signal(bench.now, Signal::Int);
    let outputs = bench.drain();
    assert_eq!(sends(&outputs), [Signal::Usr1, Signal::Hup, Signal::Int]);
    assert!(outputs.contains(&Output::Tell(Notice::PassedOn { signal: Signal::Int })));
    bench.guard.signal(bench.now, Signal::Term);
    assert_eq!(bench.drain()[0], Output::Kill);
    assert_eq!(bench.gone(Exit::Signal(9)), [ended(Exit::Signal(9), Cause::Forced)]);
}

#[test]
fn a_request_to_end_during_the_stop_kills() {
    let mut bench = Bench::running(OnLost::Term);
    bench.guard.lost(bench.now, LostReason::Stolen);
    assert_eq!(sends(&bench.drain()), [Signal::Term, Signal::Cont]);
    bench.guard.signal(bench.now, Signal::Int);
    assert_eq!(bench.drain()[0], Output::Kill);
    assert_eq!(bench.gone(Exit::Signal(9)), [ended(Exit::Signal(9), Cause::Lost(LostReason::Stolen))]);
}

#[test]
fn a_stolen_lock_gives_the_grace_and_no_renewal_extends_it() {
    let mut bench = Bench::running(OnLost::Term);
    bench.guard.lost(bench.now, LostReason::Stolen);
    bench.guard.renewed(bench.now, START + TTL * 5);
    bench.drain();
    assert_eq!(bench.step().0, Duration::from_secs(2));
}

#[test]
fn on_lost_stop_freezes_and_waits_for_the_operator() {
    let mut bench = Bench::running(OnLost::Stop);
    let (at, outputs) = bench.step();
    assert_eq!(at, Duration::from_millis(8_550));
    assert_eq!(outputs[0], Output::Send { to: Reach::Tree, signal: Signal::Stop });
    assert_eq!(bench.guard.next_deadline(), None);
    bench.guard.signal(bench.now, Signal::Cont);
    assert_eq!(bench.drain(), [Output::Send { to: Reach::Tree, signal: Signal::Cont }]);
    bench.guard.wrapper_gone(bench.now);
    assert_eq!(bench.drain(), [], "a frozen command is not gone: its session is not ended");
    bench.guard.signal(bench.now, Signal::Term);
    assert_eq!(bench.drain()[0], Output::Kill);
    assert_eq!(bench.gone(Exit::Signal(9))[1], Output::EndSession);
}

#[test]
fn on_lost_notify_tells_and_leaves_it_running() {
    let mut bench = Bench::running(OnLost::Notify);
    let (at, outputs) = bench.step();
    assert_eq!(at, Duration::from_secs(7));
    assert_eq!(sends(&outputs), [Signal::Usr1]);
    assert_eq!(bench.guard.next_deadline(), None);
    assert_eq!(bench.gone(Exit::Code(0)), [ended(Exit::Code(0), Cause::Lease)]);
}

#[test]
fn a_paused_command_keeps_its_lease_and_can_be_ended() {
    let mut bench = Bench::running(OnLost::Term);
    bench.guard.paused();
    bench.guard.paused();
    bench.guard.renewed(bench.now, START + TTL * 2);
    assert_eq!(bench.drain(), [Output::Tell(Notice::Paused)]);
    assert_eq!(bench.guard.next_deadline(), Some((START + TTL * 2).saturating_sub(Duration::from_secs(2))));
    bench.guard.signal(bench.now, Signal::Term);
    assert_eq!(sends(&bench.drain()), [Signal::Term, Signal::Cont]);
}

#[test]
fn the_margins_fit_the_shortest_and_the_longest_lease() {
    for (ttl_ms, margin_ms) in [(100, 10), (2_000, 100), (86_400_000, 500)] {
        let ttl = Duration::from_millis(ttl_ms);
        let config = Config { ttl, grace: Duration::ZERO, on_lost: OnLost::Term };
        assert_eq!(config.kill_margin(), Duration::from_millis(margin_ms));
        assert_eq!(config.stop_budget(), config.kill_margin(), "without a grace it is killed as late as is safe");
    }
}

#[test]
fn l1_after_the_watchdogs_end_nothing_is_released_before_the_tree_is_gone() {
    let config = Config { ttl: TTL, grace: Duration::from_secs(2), on_lost: OnLost::Notify };
    let mut bench = Bench { guard: Guard::unwatched(config, START), now: START };
    assert_eq!(bench.drain(), [Output::Kill, Output::Tell(Notice::Killing { cause: Cause::Unwatched })]);
    bench.guard.reaped(bench.now, None, 2);
    assert_eq!(bench.drain(), []);
    assert_eq!(bench.step().1, [Output::Kill]);
    bench.guard.reaped(bench.now, None, 0);
    let ending = Ending { exit: None, cause: Cause::Unwatched };
    assert_eq!(bench.drain(), [Output::Tell(Notice::Ended(ending))]);
    assert_eq!(ending.exit_code(), 70);
}
