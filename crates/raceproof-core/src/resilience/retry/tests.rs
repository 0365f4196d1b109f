use std::time::Duration;

use proptest::prelude::*;

use super::*;

const START: Time = Time::from_millis(5_000);

fn unlimited() -> Config {
    Config { attempts_max: u32::MAX, time_max: None, ..Config::default() }
}

fn fail(attempts: &mut Attempts, config: &Config, fault: Fault, seed: u64) -> Result<Time, GaveUp> {
    attempts.fail(config, START, fault, u32::MAX, || seed, || true)
}

#[test]
fn p2_waits_are_spread_over_the_whole_range_from_zero() {
    let config = unlimited();
    for failures in 1..=10_u32 {
        let bound = config.delay_bound(failures);
        let mut low = 0;
        let mut shortest = Duration::MAX;
        let mut longest = Duration::ZERO;
        for seed in 0..400 {
            let mut attempts = Attempts::new(START);
            let mut at = START;
            for _ in 0..failures {
                at = fail(&mut attempts, &config, Fault::Transient, seed).unwrap();
            }
            let wait = at.since(START);
            assert!(wait <= bound, "{wait:?} after {failures} failures, bound {bound:?}");
            low += u32::from(wait < bound / 2);
            shortest = shortest.min(wait);
            longest = longest.max(wait);
        }
        assert!((150..=250).contains(&low), "half of the waits are in the lower half, not {low} of 400");
        assert!(shortest < bound / 20 && longest > bound * 19 / 20, "{shortest:?}..{longest:?} of {bound:?}");
    }
}

#[test]
fn p2_the_bound_doubles_up_to_its_maximum_and_never_overflows() {
    let config = Config::default();
    let bounds: Vec<_> = [1, 2, 3, 7, 8, 9, 64, u32::MAX].map(|n| config.delay_bound(n).as_millis()).into();
    assert_eq!(bounds, [100, 200, 400, 6_400, 10_000, 10_000, 10_000, 10_000]);
}

#[test]
fn p2_a_permanent_failure_is_never_tried_again_and_costs_no_budget() {
    let mut attempts = Attempts::new(START);
    let result = attempts.fail(&unlimited(), START, Fault::Permanent, 9, || 1, || panic!("nothing is taken for it"));
    assert_eq!(result, Err(GaveUp::Permanent));
}

#[test]
fn p2_attempts_are_capped_and_the_first_counts() {
    let config = Config { attempts_max: 3, ..Config::default() };
    let mut attempts = Attempts::new(START);
    assert!(fail(&mut attempts, &config, Fault::Transient, 1).is_ok());
    assert!(fail(&mut attempts, &config, Fault::Transient, 1).is_ok());
    assert_eq!(fail(&mut attempts, &config, Fault::Transient, 1), Err(GaveUp::Attempts));
    assert_eq!(attempts.failed(), 3);
}

#[test]
fn p2_the_service_is_left_alone_for_as_long_as_it_asked() {
    let asked = Duration::from_secs(7);
    let mut waits = Vec::new();
    for seed in 0..50 {
        let mut attempts = Attempts::new(START);
        let at = fail(&mut attempts, &unlimited(), Fault::After(asked), seed).unwrap();
        assert!(at.since(START) >= asked);
        assert!(at.since(START) <= asked + Duration::from_millis(100));
        waits.push(at);
    }
    waits.sort();
    waits.dedup();
    assert!(waits.len() > 40, "callers that were told the same come back one by one");
}

#[test]
fn p2_no_attempt_begins_after_the_time_for_all_of_them() {
    let config = Config { time_max: Some(Duration::from_secs(5)), ..unlimited() };
    let mut attempts = Attempts::new(START);
    let asked = Fault::After(Duration::from_secs(6));
    assert_eq!(fail(&mut attempts, &config, asked, 1), Err(GaveUp::Time));
    let mut late = Attempts::new(START);
    let now = START + Duration::from_secs(6);
    assert_eq!(late.fail(&config, now, Fault::Transient, 9, || 1, || true), Err(GaveUp::Time));
}

#[test]
fn p2_a_spent_budget_refuses_and_so_do_the_layers_around() {
    let config = unlimited();
    let mut attempts = Attempts::new(START);
    assert_eq!(attempts.fail(&config, START, Fault::Transient, 9, || 1, || false), Err(GaveUp::Budget));
    assert_eq!(attempts.fail(&config, START, Fault::Transient, 0, || 1, || true), Err(GaveUp::Shared));
    assert!(attempts.fail(&config, START, Fault::Transient, 1, || 1, || true).is_ok());
}

#[test]
fn p2_the_same_seed_waits_the_same() {
    let run = |seed| {
        let mut attempts = Attempts::new(START);
        (0..8).map(|_| fail(&mut attempts, &unlimited(), Fault::Transient, seed).unwrap()).collect::<Vec<_>>()
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}

#[test]
fn p2_retry_after_is_read_as_seconds_and_as_a_date() {
    let now = 784_111_777;
    let cases = [
        ("120", Some(120)),
        (" 0 ", Some(0)),
        ("99999999999999999999999", Some(u64::MAX)),
        ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
        ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
        ("Wed, 29 Feb 2040 00:00:00 GMT", Some(2_214_086_400 - now)),
        ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
        ("Sun, 06 Nov 1994 08:49:37 UTC", None),
        ("Sun, 06 Nov 1994 25:49:37 GMT", None),
        ("Sun, 06 Nov 1994", None),
        ("-1", None),
        ("soon", None),
        ("", None),
    ];
    for (text, seconds) in cases {
        assert_eq!(parse_retry_after(text, now), seconds.map(Duration::from_secs), "{text:?}");
    }
}

proptest! {
    /// Whatever order calls and retries come in, retries stay below the reserve plus the share.
    #[test]
    fn p2_retries_never_exceed_the_reserve_and_the_share_of_calls(
        reserve in 0_u32..50,
        percent in 0_u32..100,
        inputs in prop::collection::vec(any::<bool>(), 0..2_000),
    ) {
        let budget = Budget::new(reserve, percent);
        let mut balance = budget.full();
        let (mut calls, mut retries) = (0_u64, 0_u64);
        for call in inputs {
            if call {
                balance = budget.deposit(balance);
                calls += 1;
            } else if let Some(rest) = budget.withdraw(balance) {
                balance = rest;
                retries += 1;
            }
            prop_assert!(retries * 100 <= u64::from(reserve) * 100 + calls * u64::from(percent));
            prop_assert!(balance <= budget.full());
        }
    }
}

#[test]
fn p2_what_was_given_up_for_lack_of_a_budget_is_not_tried_again_further_out() {
    for gave_up in [GaveUp::Permanent, GaveUp::Budget, GaveUp::Shared] {
        assert_eq!(gave_up.further_out(Fault::Transient), Fault::Permanent, "{gave_up:?}");
    }
    for gave_up in [GaveUp::Attempts, GaveUp::Time] {
        assert_eq!(gave_up.further_out(Fault::Transient), Fault::Transient, "{gave_up:?}");
    }
    assert_eq!(GaveUp::of_the_only_attempt(Fault::Permanent), GaveUp::Permanent);
    assert_eq!(GaveUp::of_the_only_attempt(Fault::Transient), GaveUp::Attempts);
}

#[test]
fn p2_connections_and_timeouts_are_transient_and_answers_are_not() {
    for kind in [ErrorKind::ConnectionRefused, ErrorKind::TimedOut, ErrorKind::UnexpectedEof] {
        assert_eq!(Fault::of_io(kind), Fault::Transient, "{kind:?}");
    }
    for kind in [ErrorKind::NotFound, ErrorKind::PermissionDenied, ErrorKind::InvalidInput] {
        assert_eq!(Fault::of_io(kind), Fault::Permanent, "{kind:?}");
    }
}

#[test]
fn p2_a_layer_has_no_more_left_than_those_around_it_and_spends_theirs() {
    let mut inner = Layer::new(5, false);
    assert_eq!((inner.left(None), inner.left(Some(2)), inner.left(Some(9))), (4, 2, 4));
    assert_eq!(inner.spend(Some(2), 2), Some(0));
    assert_eq!((inner.left(None), inner.left(Some(0))), (2, 0));
    assert_eq!(inner.spend(None, 7), None);
    assert_eq!(inner.left(None), 0);
}

#[test]
fn p2_an_independent_layer_takes_nothing_from_those_around_it() {
    let mut inner = Layer::new(3, true);
    assert_eq!(inner.left(Some(0)), 2);
    assert_eq!(inner.spend(Some(4), 1), Some(4));
    assert_eq!(inner.left(Some(4)), 1);
}
