use std::time::Duration;

use super::*;

const SECOND: Duration = Duration::from_secs(1);
const START: Time = Time::from_millis(10_000);

fn config(threshold: Threshold) -> Config {
    Config { threshold, open_for: 10 * SECOND, open_for_max: 10 * SECOND, ..Config::default() }
}

fn breaker() -> Breaker {
    Breaker::new(config(Threshold::Consecutive(3)))
}

fn result(breaker: &mut Breaker, now: Time, verdict: Verdict) -> Recorded {
    let admission = breaker.admit(now).expect("closed");
    breaker.record(now, admission, verdict)
}

fn opened() -> Breaker {
    let mut breaker = breaker();
    for _ in 0..3 {
        result(&mut breaker, START, Verdict::Failure);
    }
    assert_eq!(breaker.state(), State::Open);
    breaker
}

#[test]
fn p1_consecutive_failures_open_it_and_a_success_between_does_not_count() {
    let mut breaker = breaker();
    for verdict in [Verdict::Failure, Verdict::Failure, Verdict::Success, Verdict::Failure, Verdict::Failure] {
        assert_eq!(result(&mut breaker, START, verdict), Recorded::Counted);
    }
    assert_eq!(result(&mut breaker, START, Verdict::Failure), Recorded::Changed(State::Open));
    assert_eq!(breaker.admit(START), Err(Refused { retry_at: Some(START + 10 * SECOND) }));
}

#[test]
fn p1_a_hundred_callers_at_the_end_of_the_open_period_are_one_probe() {
    let mut breaker = opened();
    let end = START + 10 * SECOND;
    assert!(breaker.admit(end.saturating_sub(Duration::from_micros(1))).is_err());
    let admitted = (0..100).filter(|_| breaker.admit(end).is_ok()).count();
    assert_eq!(admitted, 1);
    assert_eq!(breaker.state(), State::HalfOpen);
}

#[test]
fn p1_so_many_probes_are_admitted_and_all_have_to_succeed() {
    let mut breaker = Breaker::new(Config { probes: 3, ..config(Threshold::Consecutive(1)) });
    result(&mut breaker, START, Verdict::Failure);
    let end = START + 10 * SECOND;
    let probes: Vec<_> = (0..100).filter_map(|_| breaker.admit(end).ok()).collect();
    assert_eq!(probes.len(), 3);
    assert_eq!(breaker.record(end, probes[0], Verdict::Success), Recorded::Counted);
    assert!(breaker.admit(end).is_err(), "a success uses its place up");
    assert_eq!(breaker.record(end, probes[1], Verdict::Success), Recorded::Counted);
    assert_eq!(breaker.record(end, probes[2], Verdict::Success), Recorded::Changed(State::Closed));
}

#[test]
fn p1_an_abandoned_probe_frees_its_place() {
    let mut breaker = opened();
    let end = START + 10 * SECOND;
    let probe = breaker.admit(end).unwrap();
    assert!(breaker.admit(end).is_err());
    assert_eq!(breaker.abandon(probe), Recorded::Counted);
    assert!(breaker.admit(end).is_ok());
    assert!(breaker.admit(end).is_err(), "one place, not two");
}

#[test]
fn p1_a_probe_that_never_answers_frees_its_place_and_is_ignored_later() {
    let mut breaker = opened();
    let end = START + 10 * SECOND;
    let lost = breaker.admit(end).unwrap();
    let later = end + 30 * SECOND;
    assert_eq!(breaker.admit(end), Err(Refused { retry_at: Some(later) }));
    let probe = breaker.admit(later).unwrap();
    assert_eq!(breaker.record(later, lost, Verdict::Success), Recorded::Stale);
    assert_eq!(breaker.abandon(lost), Recorded::Stale);
    assert_eq!(breaker.state(), State::HalfOpen);
    assert!(breaker.admit(later).is_err(), "the late one freed nothing");
    assert_eq!(breaker.record(later, probe, Verdict::Success), Recorded::Changed(State::Closed));
}

#[test]
fn p1_a_result_from_before_the_trip_is_ignored_in_half_open() {
    for verdict in [Verdict::Success, Verdict::Failure] {
        let mut breaker = breaker();
        let early = breaker.admit(START).unwrap();
        for _ in 0..3 {
            result(&mut breaker, START, Verdict::Failure);
        }
        let end = START + 10 * SECOND;
        let probe = breaker.admit(end).unwrap();
        assert_eq!(breaker.record(end, early, verdict), Recorded::Stale);
        assert_eq!(breaker.state(), State::HalfOpen, "{verdict:?}");
        assert_eq!(breaker.record(end, probe, Verdict::Success), Recorded::Changed(State::Closed));
        assert_eq!(breaker.record(end, early, verdict), Recorded::Stale);
        assert_eq!(breaker.counters().stale, 2);
    }
}

#[test]
fn p1_a_probe_from_before_a_second_trip_is_ignored() {
    for verdict in [Verdict::Success, Verdict::Failure] {
        let mut breaker = Breaker::new(Config { probes: 2, ..config(Threshold::Consecutive(1)) });
        result(&mut breaker, START, Verdict::Failure);
        let first_end = START + 10 * SECOND;
        let (slow, fast) = (breaker.admit(first_end).unwrap(), breaker.admit(first_end).unwrap());
        assert_eq!(breaker.record(first_end, fast, Verdict::Failure), Recorded::Changed(State::Open));
        let second_end = first_end + 10 * SECOND;
        let probes = [breaker.admit(second_end).unwrap(), breaker.admit(second_end).unwrap()];
        assert_eq!(breaker.record(second_end, slow, verdict), Recorded::Stale);
        assert_eq!(breaker.state(), State::HalfOpen);
        assert!(breaker.admit(second_end).is_err());
        breaker.record(second_end, probes[0], Verdict::Success);
        assert_eq!(breaker.record(second_end, probes[1], Verdict::Success), Recorded::Changed(State::Closed));
    }
}

#[test]
fn p1_failed_probes_double_the_open_period_up_to_its_maximum() {
    let mut breaker = Breaker::new(Config { open_for_max: 35 * SECOND, ..config(Threshold::Consecutive(1)) });
    let mut now = START;
    let mut periods = Vec::new();
    for _ in 0..5 {
        result(&mut breaker, now, Verdict::Failure);
        let end = breaker.retry_at().unwrap();
        periods.push(end.since(now).as_secs());
        now = end;
    }
    assert_eq!(periods, [10, 20, 35, 35, 35]);
    let probe = breaker.admit(now).unwrap();
    breaker.record(now, probe, Verdict::Success);
    result(&mut breaker, now, Verdict::Failure);
    assert_eq!(breaker.retry_at(), Some(now + 10 * SECOND), "a recovery starts from the beginning");
}

#[test]
fn p1_failures_are_counted_among_the_last_calls() {
    let window = Window::Calls(4);
    let mut breaker = Breaker::new(config(Threshold::Failures { count: 2, window }));
    result(&mut breaker, START, Verdict::Failure);
    for _ in 0..3 {
        result(&mut breaker, START, Verdict::Success);
    }
    assert_eq!(result(&mut breaker, START, Verdict::Failure), Recorded::Counted, "the first one left the window");
    assert_eq!(result(&mut breaker, START, Verdict::Failure), Recorded::Changed(State::Open));
}

#[test]
fn p1_a_rate_needs_enough_calls_and_forgets_with_time() {
    let window = Window::Time(10 * SECOND);
    let threshold = Threshold::Rate { percent: 50, calls_min: 4, window };
    let mut breaker = Breaker::new(config(threshold));
    for _ in 0..3 {
        assert_eq!(result(&mut breaker, START, Verdict::Failure), Recorded::Counted, "three calls say nothing");
    }
    let later = START + 11 * SECOND;
    for _ in 0..3 {
        result(&mut breaker, later, Verdict::Success);
    }
    for _ in 0..2 {
        assert_eq!(result(&mut breaker, later, Verdict::Failure), Recorded::Counted);
    }
    assert_eq!(result(&mut breaker, later, Verdict::Failure), Recorded::Changed(State::Open), "3 of 6");
}

#[test]
fn p1_opened_by_hand_it_stays_open_until_it_is_closed_by_hand() {
    let mut breaker = breaker();
    let early = breaker.admit(START).unwrap();
    breaker.open();
    assert_eq!(breaker.admit(START + 1_000_000 * SECOND), Err(Refused { retry_at: None }));
    breaker.close();
    assert_eq!(breaker.record(START, early, Verdict::Failure), Recorded::Stale);
    assert!(breaker.admit(START).is_ok());
}

#[test]
fn p1_time_that_comes_out_of_order_does_not_run_backwards() {
    let mut breaker = opened();
    let end = START + 10 * SECOND;
    let probe = breaker.admit(end).unwrap();
    breaker.record(end, probe, Verdict::Failure);
    assert_eq!(breaker.admit(START), Err(Refused { retry_at: Some(end + 10 * SECOND) }));
}
