use proptest::prelude::*;

use super::*;

const START: Time = Time::from_millis(1_000);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn at(after: u64) -> Time {
    START + ms(after)
}

#[test]
fn p4_the_last_event_is_due_when_it_was_quiet() {
    let mut debounce = Debounce::new(Config::new(ms(100)));
    assert_eq!(debounce.push(at(0)), Pushed::First);
    assert_eq!(debounce.push(at(60)), Pushed::Coalesced);
    assert!(!debounce.take(at(159)));
    assert_eq!(debounce.next_deadline(), Some(at(160)));
    assert!(debounce.take(at(160)));
    assert!(!debounce.take(at(1_000)), "once");
    assert_eq!(debounce.next_deadline(), None);
}

#[test]
fn p4_events_that_never_stop_do_not_put_it_off_for_ever() {
    let mut debounce = Debounce::new(Config { wait_max: Some(ms(250)), ..Config::new(ms(100)) });
    let mut taken = Vec::new();
    for step in 0..100_u64 {
        let now = at(step * 10);
        if debounce.take(now) {
            taken.push(step * 10);
        }
        debounce.push(now);
    }
    assert_eq!(taken, [250, 500, 750]);
    assert!(debounce.take(debounce.next_deadline().unwrap()), "the last one too");
}

#[test]
fn p4_a_leading_event_is_due_at_once_and_the_last_one_still_is_later() {
    let mut debounce = Debounce::new(Config { leading: true, ..Config::new(ms(100)) });
    debounce.push(at(0));
    assert!(debounce.take(at(0)));
    debounce.push(at(50));
    assert!(!debounce.take(at(50)));
    assert!(debounce.take(at(150)));
    debounce.push(at(200));
    assert!(debounce.take(at(200)), "quiet since 50, so this one leads");
    debounce.push(at(220));
    assert!(!debounce.take(at(220)));
    assert!(debounce.take(at(320)));
}

#[test]
fn p4_a_leading_event_that_was_not_taken_yet_stays_due() {
    let mut debounce = Debounce::new(Config { leading: true, ..Config::new(ms(100)) });
    debounce.push(at(0));
    debounce.push(at(1));
    assert!(debounce.take(at(1)));
}

#[test]
fn p4_a_flush_makes_what_waits_due() {
    let mut debounce = Debounce::new(Config::new(ms(100)));
    assert!(!debounce.flush(at(0)));
    debounce.push(at(10));
    assert!(debounce.flush(at(20)));
    assert!(debounce.take(at(20)));
}

proptest! {
    /// Whatever comes whenever: no event is without a take at or after it, none waits longer than it may.
    #[test]
    fn p4_no_event_is_lost_and_none_waits_longer_than_it_may(
        leading in any::<bool>(),
        quiet in 1_u64..50,
        wait_max in prop::option::of(1_u64..200),
        steps in prop::collection::vec((0_u64..60, 0_u8..10), 1..200),
    ) {
        let config = Config { quiet: ms(quiet), wait_max: wait_max.map(ms), leading };
        let mut debounce = Debounce::new(config);
        let mut now = START;
        let mut untaken: Vec<Time> = Vec::new();
        for (step, kind) in steps {
            let until = now + ms(step);
            while let Some(due) = debounce.next_deadline().filter(|due| *due <= until) {
                now = now.max(due);
                prop_assert!(debounce.take(now));
                let (first, last) = (untaken[0], untaken[untaken.len() - 1]);
                prop_assert!(now.since(last) <= ms(quiet));
                prop_assert!(wait_max.is_none_or(|wait| now.since(first) <= ms(wait)));
                untaken.clear();
            }
            now = until;
            match kind {
                0 => prop_assert_eq!(debounce.flush(now), !untaken.is_empty()),
                _ => {
                    let pushed = debounce.push(now);
                    prop_assert_eq!(pushed == Pushed::First, untaken.is_empty());
                    untaken.push(now);
                }
            }
            prop_assert_eq!(debounce.next_deadline().is_some(), !untaken.is_empty());
        }
    }
}
