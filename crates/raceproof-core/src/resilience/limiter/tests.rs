use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::time::Time;

const START: Time = Time::from_millis(1_000);

fn cells(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

/// Takes one cell of a key.
fn check(keyed: &mut Keyed<u64>, now: Time, key: u64) -> Result<(), KeyRefused> {
    keyed.check(now, hash(key), |k| *k == key, || key, 1)
}

fn hash(key: u64) -> u64 {
    key.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

#[test]
fn a_burst_and_then_the_rate() {
    let quota = Quota::per_second(cells(10));
    let mut tat = Tat::WHOLE;
    for _ in 0..10 {
        tat = quota.decide(tat, START, 1).unwrap();
    }
    let retry_at = START + Duration::from_millis(100);
    assert_eq!(quota.decide(tat, START, 1), Err(Refused::Limited { retry_at }));
    assert!(quota.decide(tat, retry_at.saturating_sub(Duration::from_micros(1)), 1).is_err());
    tat = quota.decide(tat, retry_at, 1).unwrap();
    assert!(quota.decide(tat, retry_at, 1).is_err());
    assert_eq!(quota.left(tat, retry_at + Duration::from_secs(1)), 10);
    assert!(tat.is_whole(retry_at + Duration::from_secs(1)));
}

#[test]
fn what_never_fits_is_told_apart_from_what_does_not_fit_yet() {
    let quota = Quota::per_minute(cells(5));
    let never = Err(Refused::TooLarge { cells: 6, burst: 5 });
    assert_eq!(quota.decide(Tat::WHOLE, START, 6), never);
    let tat = quota.decide(Tat::WHOLE, START, 5).unwrap();
    assert_eq!(quota.decide(tat, START, 6), never);
}

#[test]
fn quotas_at_the_edge_of_numbers_do_not_overflow() {
    let all = Quota::new(cells(u32::MAX), Duration::from_nanos(1));
    let rare = Quota::new(cells(1), Duration::MAX);
    for quota in [all, rare] {
        for now in [Time::ZERO, START, Time::MAX] {
            let tat = quota.decide(Tat::WHOLE, now, 1);
            let tat = tat.unwrap_or_else(|refused| panic!("{quota:?} at {now:?}: {refused}"));
            let _ = quota.decide(tat, now, u32::MAX);
        }
    }
}

#[test]
fn p3_keys_do_not_touch_each_other() {
    let mut keyed = Keyed::new(Quota::per_second(cells(2)), 10);
    for key in [1, 2] {
        assert!(check(&mut keyed, START, key).is_ok());
        assert!(check(&mut keyed, START, key).is_ok());
        assert!(matches!(check(&mut keyed, START, key), Err(KeyRefused::Quota(Refused::Limited { .. }))));
    }
    assert_eq!(keyed.left(START, hash(1), |k| *k == 1), 0);
    assert_eq!(keyed.left(START, hash(3), |k| *k == 3), 2);
}

#[test]
fn p3_a_million_keys_leave_no_memory_once_they_are_whole() {
    let mut keyed = Keyed::new(Quota::per_second(cells(5)), 2_000_000);
    let mut now = START;
    let mut most = 0;
    // Twenty thousand keys a second, each whole again after 200 ms.
    for key in 0..1_000_000_u64 {
        now += Duration::from_micros(50);
        check(&mut keyed, now, key).unwrap();
        most = most.max(keyed.len());
    }
    assert!(most <= 20_000, "{most} keys remembered, of which 4000 are not whole");
    assert!(keyed.capacity() <= 4 * most);
    keyed.sweep(now + Duration::from_secs(1));
    assert_eq!(keyed.len(), 0);
    assert!(keyed.capacity() <= 128, "room for {} keys is left", keyed.capacity());
}

#[test]
fn p3_a_full_table_refuses_keys_it_does_not_know_and_serves_those_it_does() {
    let mut keyed = Keyed::new(Quota::per_minute(cells(2)), 100);
    for key in 0..100 {
        check(&mut keyed, START, key).unwrap();
    }
    let retry_at = START + Duration::from_secs(30);
    let full = Err(KeyRefused::Full { keys_max: 100, retry_at });
    assert_eq!(check(&mut keyed, START, 1_000), full);
    assert!(check(&mut keyed, START, 7).is_ok(), "it is in the table");
    assert_eq!(check(&mut keyed, retry_at.saturating_sub(Duration::from_micros(1)), 1_000), full);
    assert!(check(&mut keyed, retry_at, 1_000).is_ok(), "99 are whole again");
    assert_eq!(keyed.len(), 2, "the one that was used twice, and the one that came");
}

proptest! {
    /// Over any time: a burst, and what the rate gives.
    #[test]
    fn p3_no_window_of_time_has_more_than_a_burst_and_the_rate(
        rate in 1_u32..2_000,
        burst in 1_u32..50,
        steps in prop::collection::vec((0_u64..20_000, 1_u32..4), 1..300),
    ) {
        let quota = Quota::per_second(cells(rate)).burst(cells(burst));
        let (mut tat, mut now) = (Tat::WHOLE, START);
        let mut admitted: Vec<(u64, u64)> = Vec::new();
        for (step, cells) in steps {
            now += Duration::from_micros(step);
            let before = quota.left(tat, now);
            match quota.decide(tat, now, cells) {
                Ok(after) => {
                    prop_assert!(before >= cells);
                    tat = after;
                    admitted.push((now.as_micros(), u64::from(cells)));
                }
                Err(Refused::Limited { retry_at }) => {
                    prop_assert!(before < cells);
                    prop_assert!(retry_at > now);
                    prop_assert!(quota.decide(tat, retry_at, cells).is_ok());
                }
                Err(Refused::TooLarge { .. }) => prop_assert!(cells > burst),
            }
        }
        for first in 0..admitted.len() {
            let mut sum = 0;
            for (at, cells) in &admitted[first..] {
                sum += cells;
                let most = u64::from(burst) * 1_000_000 + (at - admitted[first].0) * u64::from(rate);
                prop_assert!(sum * 1_000_000 <= most);
            }
        }
    }

    /// What is refused at one time is refused at every earlier one, so a shell that knows a time that has not come yet may
    /// refuse by it.
    #[test]
    fn p3_what_is_refused_later_is_refused_earlier(
        rate in 1_u32..100_000,
        burst in 1_u32..2_000,
        tat in 0_u64..5_000_000_000,
        now in 0_u64..3_000_000,
        later in 0_u64..20_000,
        n in 1_u32..5,
    ) {
        let quota = Quota::per_second(cells(rate)).burst(cells(burst));
        let (tat, now) = (Tat::from_nanos(tat), Time::from_micros(now));
        if quota.decide(tat, now + Duration::from_micros(later), n).is_err() {
            prop_assert!(quota.decide(tat, now, n).is_err());
        }
    }

    /// The keyed table beside one limiter for each key that never forgets.
    #[test]
    fn p3_forgetting_a_key_changes_no_answer(
        steps in prop::collection::vec((0_u64..200_000, 0_u64..150), 1..500),
    ) {
        let quota = Quota::per_second(cells(3));
        let mut keyed = Keyed::new(quota, 1_000);
        let mut model = std::collections::BTreeMap::new();
        let mut now = START;
        for (step, key) in steps {
            now += Duration::from_micros(step);
            let tat = model.entry(key).or_insert(Tat::WHOLE);
            let expected = quota.decide(*tat, now, 1);
            if let Ok(after) = expected {
                *tat = after;
            }
            prop_assert_eq!(check(&mut keyed, now, key), expected.map(drop).map_err(KeyRefused::Quota));
        }
    }
}
