//! Hand-driven, and against a plain sequential model.

use std::collections::BTreeMap;
use std::time::Duration;

use proptest::prelude::*;
use rustc_hash::FxBuildHasher;

use super::*;
use crate::time::Time;

const T: Time = Time::from_millis(1_000);

fn flights(config: Config) -> Flights<u8, FxBuildHasher> {
    Flights::new(&config, FxBuildHasher)
}

fn lead(flights: &mut Flights<u8, FxBuildHasher>, key: u8) -> FlightId {
    match flights.join(&key, 0) {
        Join::Lead(id) => id,
        other => panic!("does not lead: {other:?}"),
    }
}

#[test]
fn k1_one_load_for_all_who_miss() {
    let mut flights = flights(Config::default());
    let id = lead(&mut flights, 1);
    for _ in 0..500 {
        assert_eq!(flights.join(&1, 1), Join::Wait(id));
    }
    assert_eq!(flights.waiters(), 501);
    assert_eq!(flights.ended(&1, id), Some(Ended { keep: true, next: None, dropped: None }));
    assert!(flights.is_empty());
}

#[test]
fn k1_a_leader_that_leaves_does_not_end_its_load() {
    let mut flights = flights(Config::default());
    let id = lead(&mut flights, 1);
    flights.leave(&1, id);
    assert_eq!(flights.join(&1, 1), Join::Wait(id));
    assert!(flights.ended(&1, id).is_some_and(|ended| ended.keep));
}

#[test]
fn k2_an_overtaken_load_keeps_nothing_and_the_next_begins_after_it() {
    let mut flights = flights(Config::default());
    let old = lead(&mut flights, 1);
    assert!(flights.overtake(&1));
    assert!(!flights.overtake(&1));
    let Join::Queue(new) = flights.join(&1, 1) else { panic!("two loads at a time") };
    assert_eq!(flights.join(&1, 1), Join::Wait(new));
    // One that has not begun cannot be overtaken.
    flights.overtake(&1);
    assert_eq!(flights.ended(&1, old), Some(Ended { keep: false, next: Some(new), dropped: None }));
    assert_eq!(flights.ended(&1, old), None);
    assert!(flights.ended(&1, new).is_some_and(|ended| ended.keep));
}

#[test]
fn a_queued_load_that_nobody_waits_for_is_not_started() {
    let mut flights = flights(Config::default());
    let old = lead(&mut flights, 1);
    flights.overtake(&1);
    let Join::Queue(new) = flights.join(&1, 1) else { panic!("two loads at a time") };
    flights.leave(&1, new);
    assert_eq!(flights.ended(&1, old), Some(Ended { keep: false, next: None, dropped: Some(new) }));
    assert!(flights.is_empty());
}

#[test]
fn k1_a_refresh_is_one_and_is_joined_by_who_misses() {
    let mut flights = flights(Config::default());
    let id = flights.refresh(&1, 0).unwrap();
    assert_eq!(flights.refresh(&1, 1), None);
    assert_eq!(flights.join(&1, 1), Join::Wait(id));
}

#[test]
fn both_limits_refuse() {
    let mut flights = flights(Config { loads_max: 1, waiters_max: 2, ..Config::default() });
    let id = lead(&mut flights, 1);
    assert_eq!(flights.join(&2, 1), Join::Full(Limit::Loads(1)));
    assert_eq!(flights.refresh(&2, 1), None);
    assert_eq!(flights.join(&1, 1), Join::Wait(id));
    assert_eq!(flights.join(&1, 1), Join::Full(Limit::Waiters(2)));
    flights.overtake(&1);
    assert_eq!(flights.join(&1, 1), Join::Full(Limit::Loads(1)));
}

#[test]
fn k2_a_part_is_invalidated() {
    let mut flights = flights(Config::default());
    let (one, two) = (lead(&mut flights, 1), lead(&mut flights, 2));
    assert_eq!(flights.overtake_where(|key| *key == 1), 1);
    assert!(flights.ended(&1, one).is_some_and(|ended| !ended.keep));
    assert!(flights.ended(&2, two).is_some_and(|ended| ended.keep));
}

#[test]
fn an_entry_is_fresh_then_stale_then_gone() {
    let second = Duration::from_secs(1);
    let config = Config { ttl: Some(2 * second), stale: second, absent_ttl: Some(second), ..Config::default() };
    let times = config.value(T);
    let at = |millis| times.at(T + Duration::from_millis(millis));
    assert_eq!([at(0), at(1_999), at(2_000)], [Freshness::Fresh, Freshness::Fresh, Freshness::Stale]);
    assert_eq!([at(2_999), at(3_000)], [Freshness::Stale, Freshness::Expired]);
    assert_eq!(Config::default().value(T).at(Time::from_millis(u64::MAX / 2_000)), Freshness::Fresh);
}

#[test]
fn what_is_kept_of_a_load_is_what_it_found_or_else_the_stale_value_for_a_while() {
    let second = Duration::from_secs(1);
    let config = Config { ttl: Some(2 * second), stale: second, absent_ttl: Some(second), ..Config::default() };
    let times = config.value(T);
    assert_eq!(config.keep(T, Loaded::Value), Keep::Put(times));
    let Keep::Put(absent) = config.keep(T, Loaded::Absent) else { panic!("it is remembered") };
    assert_eq!((absent.at(T), absent.at(T + second)), (Freshness::Fresh, Freshness::Expired));
    assert_eq!(Config::default().keep(T, Loaded::Absent), Keep::Remove);
    // A failure keeps what may still be served, and never for longer than it might have been.
    let failed = |millis| config.keep(T + Duration::from_millis(millis), Loaded::Failed(Some(times)));
    let Keep::Put(retried) = failed(2_500) else { panic!("it is stale") };
    assert_eq!(retried.at(T + Duration::from_millis(2_999)), Freshness::Fresh);
    assert_eq!(retried.at(T + Duration::from_millis(3_000)), Freshness::Expired);
    let Keep::Put(retried) = Config { retry: second / 10, ..config }.keep(T + 2 * second, Loaded::Failed(Some(times)))
    else {
        panic!("it is stale")
    };
    let at = |millis| retried.at(T + Duration::from_millis(millis));
    assert_eq!([at(2_099), at(2_100), at(3_000)], [Freshness::Fresh, Freshness::Stale, Freshness::Expired]);
    assert_eq!([failed(1_999), failed(3_000)], [Keep::Leave, Keep::Leave], "fresh, and over");
    assert_eq!(config.keep(T, Loaded::Failed(None)), Keep::Leave);
}

/// Entries as a cache holds them, with what it has noted of them.
#[derive(Default)]
struct Held {
    entries: BTreeMap<u32, Times>,
    ages: Ages<u32>,
}

impl Held {
    fn keep(&mut self, key: u32, times: Times, now: Time) {
        if self.entries.insert(key, times) != Some(times) {
            self.ages.note(key, times);
        }
        let entries = &mut self.entries;
        self.ages.sweep(now, |key, times, over| {
            let same = entries.get(key) == Some(&times);
            assert_eq!(over, times.at(now) == Freshness::Expired);
            if same && over {
                entries.remove(key);
            }
            same
        });
    }
}

#[test]
fn the_expired_go_within_as_many_writes_as_there_are_entries() {
    let config = Config { ttl: Some(Duration::from_secs(1)), ..Config::default() };
    let mut held = Held::default();
    for key in 0..1_000 {
        held.keep(key, config.value(T), T);
    }
    assert_eq!((held.entries.len(), held.ages.len()), (1_000, 1_000));
    let later = T + Duration::from_secs(1);
    for _ in 0..1_000 {
        held.keep(1_000, config.value(later), later);
    }
    assert_eq!((held.entries.len(), held.ages.len()), (1, 1));
}

#[test]
fn no_more_is_noted_than_twice_the_entries() {
    let config = Config { ttl: Some(Duration::from_secs(3_600)), ..Config::default() };
    let mut held = Held::default();
    for write in 0..100_000_u32 {
        let now = T + Duration::from_micros(write.into());
        held.keep(write.wrapping_mul(0x9E37_79B9) % 100, config.value(now), now);
        assert!(held.ages.len() <= 2 * held.entries.len() + 2, "{} after {write}", held.ages.len());
    }
    assert_eq!(held.entries.len(), 100);
}

/// Every key by itself: what is loaded, since when it is overtaken, and who waits for what.
#[derive(Debug, Default)]
struct Model {
    under_way: BTreeMap<u8, (FlightId, bool)>,
    /// For each waiter its load, and how often its key had been overtaken when it asked.
    waiting: Vec<(u8, FlightId, u64)>,
    overtaken: BTreeMap<u8, u64>,
    /// How often the key had been overtaken when the load began.
    began: BTreeMap<FlightId, u64>,
}

impl Model {
    fn epoch(&self, key: u8) -> u64 {
        self.overtaken.get(&key).copied().unwrap_or(0)
    }

    fn begin(&mut self, key: u8, id: FlightId) {
        assert!(self.under_way.insert(key, (id, true)).is_none(), "two loads of one key");
        self.began.insert(id, self.epoch(key));
    }

    fn join(&mut self, flights: &mut Flights<u8, FxBuildHasher>, key: u8) {
        let id = match flights.join(&key, 0) {
            Join::Lead(id) => {
                self.begin(key, id);
                id
            }
            Join::Queue(id) | Join::Wait(id) => id,
            Join::Full(limit) => panic!("{limit:?}"),
        };
        self.waiting.push((key, id, self.epoch(key)));
    }

    fn end(&mut self, flights: &mut Flights<u8, FxBuildHasher>, key: u8) {
        let Some((id, wanted)) = self.under_way.remove(&key) else { return };
        let ended = flights.ended(&key, id).unwrap();
        assert_eq!(ended.keep, wanted);
        let began = self.began[&id];
        self.waiting.retain(|(_, waits_for, asked)| {
            // Nobody is given what was loaded before an invalidation that came before they asked.
            assert!(*waits_for != id || *asked <= began);
            *waits_for != id
        });
        match ended.next {
            Some(next) => {
                assert!(self.waiting.iter().any(|(_, waits_for, _)| *waits_for == next));
                self.begin(key, next);
            }
            None => assert!(self.waiting.iter().all(|(of, _, _)| *of != key), "somebody waits for nothing"),
        }
    }
}

proptest! {
    #[test]
    fn k1_k2_the_flights_agree_with_the_model(inputs in proptest::collection::vec((0_u8..5, 0_u8..3), 1..80)) {
        let mut flights = flights(Config::default());
        let mut model = Model::default();
        for (input, key) in inputs {
            match input {
                0 | 1 => model.join(&mut flights, key),
                2 => model.end(&mut flights, key),
                3 => {
                    flights.overtake(&key);
                    *model.overtaken.entry(key).or_default() += 1;
                    if let Some((_, wanted)) = model.under_way.get_mut(&key) {
                        *wanted = false;
                    }
                }
                _ => if let Some((key, id, _)) = model.waiting.pop() {
                    flights.leave(&key, id);
                },
            }
            assert_eq!(flights.len(), model.under_way.len());
            assert_eq!(flights.waiters(), model.waiting.len());
        }
        while let Some((&key, _)) = model.under_way.iter().next() {
            model.end(&mut flights, key);
        }
        assert!(flights.is_empty() && model.waiting.is_empty());
    }
}
