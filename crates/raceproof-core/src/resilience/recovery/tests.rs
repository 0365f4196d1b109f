use std::time::Duration;

use proptest::prelude::{prop, prop_assert_eq, proptest};

use super::*;

const START: Time = Time::from_millis(100_000);

fn at(seconds: u64) -> Time {
    START + Duration::from_secs(seconds)
}

fn recovery(attempts: u32, cool_down: u64) -> Recovery<&'static str> {
    let mut recovery = Recovery::new(Config::default());
    recovery.set_strategy("files", Strategy::new(attempts, Duration::from_secs(cool_down)));
    recovery
}

fn report(recovery: &mut Recovery<&'static str>, now: Time) -> Decision {
    recovery.report(now, "files", Severity::High, "gone".into()).decision
}

fn attempt(decision: Decision) -> Attempt {
    match decision {
        Decision::Recover(attempt) => attempt,
        other => panic!("{other:?}"),
    }
}

#[test]
fn one_attempt_at_a_time_so_many_in_a_row_so_far_apart() {
    let mut recovery = recovery(2, 5);
    let first = attempt(report(&mut recovery, at(0)));
    assert_eq!(first.number, 1);
    assert_eq!(report(&mut recovery, at(1)), Decision::UnderWay);
    assert!(recovery.ended(at(2), &"files", first, Ending::Failed));
    assert_eq!(report(&mut recovery, at(6)), Decision::CoolingDown { until: at(7) });
    let second = attempt(report(&mut recovery, at(7)));
    assert_eq!(second.number, 2);
    recovery.ended(at(8), &"files", second, Ending::Failed);
    assert_eq!(report(&mut recovery, at(100)), Decision::Exhausted { until: at(608) });
    assert_eq!(attempt(report(&mut recovery, at(608))).number, 1, "it begins anew");
}

#[test]
fn one_that_recovered_counts_from_the_beginning_and_still_cools_down() {
    let mut recovery = recovery(2, 5);
    for round in 0..20 {
        let now = at(round * 6);
        let attempt = attempt(report(&mut recovery, now));
        assert_eq!(attempt.number, 1);
        recovery.ended(now, &"files", attempt, Ending::Recovered);
        assert!(matches!(report(&mut recovery, now), Decision::CoolingDown { .. }), "no loop of recoveries");
    }
}

#[test]
fn an_attempt_from_before_a_reset_is_ignored() {
    let mut recovery = recovery(1, 5);
    let stale = attempt(report(&mut recovery, at(0)));
    recovery.reset(&"files");
    let fresh = attempt(report(&mut recovery, at(0)));
    assert!(!recovery.ended(at(1), &"files", stale, Ending::Failed));
    assert_eq!(report(&mut recovery, at(1)), Decision::UnderWay);
    assert!(recovery.ended(at(1), &"files", fresh, Ending::Recovered));
    assert!(!recovery.ended(at(1), &"files", fresh, Ending::Failed), "once");
}

#[test]
fn the_critical_is_told_every_time_and_too_often_once() {
    let mut recovery = recovery(1, 5);
    let mut alarms = Vec::new();
    for n in 0..30 {
        let reported = recovery.report(at(n), "net", Severity::Critical, "down".into());
        assert!(reported.notify);
        assert_eq!(reported.per_minute as u64, n + 1);
        assert_eq!(reported.decision, Decision::NoStrategy);
        if reported.alarm {
            alarms.push(n);
        }
    }
    assert_eq!(alarms, [10], "with the eleventh");
    assert!(!recovery.report(at(200), "net", Severity::High, "down".into()).notify);
    for n in 0..10 {
        alarms.extend(recovery.report(at(200), "net", Severity::Low, "down".into()).alarm.then_some(200 + n));
    }
    assert_eq!(alarms, [10, 209], "again after it was quiet");
}

#[test]
fn history_and_categories_are_bounded() {
    let mut recovery = Recovery::new(Config { history_max: 5, categories_max: 3, ..Config::default() });
    for n in 0..20_u32 {
        let reported = recovery.report(START, n, Severity::Low, n.to_string().into());
        let expected = if n < 3 { Decision::NoStrategy } else { Decision::TooManyCategories };
        assert_eq!(reported.decision, expected);
    }
    let messages: Vec<_> = recovery.history().map(|entry| entry.message.to_string()).collect();
    assert_eq!(messages, ["15", "16", "17", "18", "19"]);
    assert_eq!(recovery.categories(START).count(), 3);
}

proptest! {
    #[test]
    fn the_rate_is_the_number_of_errors_within_a_minute(steps in prop::collection::vec(0_u64..30_000, 1..200)) {
        let mut recovery = Recovery::new(Config::default());
        let (mut now, mut all) = (START, Vec::new());
        for step in steps {
            now += Duration::from_millis(step);
            all.push(now);
            let second = |time: Time| time.as_micros() / 1_000_000;
            let expected = all.iter().filter(|time| second(**time) + 60 > second(now)).count();
            let reported = recovery.report(now, (), Severity::Low, "x".into());
            prop_assert_eq!(reported.per_minute as usize, expected);
        }
    }
}
