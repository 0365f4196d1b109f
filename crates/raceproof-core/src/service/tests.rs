//! Hand-driven, and against a plain sequential model.

use std::time::Duration;

use proptest::prelude::*;

use super::*;
use crate::time::Time;

const T: Time = Time::from_millis(1_000);

fn started(service: &mut Service, now: Time) -> Generation {
    match service.get(now) {
        Get::Start(generation) => generation,
        other => panic!("not started but {other:?}"),
    }
}

#[test]
fn v1_concurrent_callers_share_one_initialisation() {
    let mut service = Service::new(Config::default());
    let generation = started(&mut service, T);
    for _ in 0..199 {
        assert_eq!(service.get(T), Get::Wait);
    }
    assert_eq!(service.waiters(), 200);
    assert_eq!(service.ended(T, generation, true), Verdict::Accept);
    assert_eq!(service.get(T), Get::Ready);
    assert_eq!(service.stats(), Stats { started: 1, coalesced: 199, ..Stats::default() });
}

#[test]
fn v2_a_caller_that_leaves_does_not_end_the_initialisation() {
    let mut service = Service::new(Config::default());
    let generation = started(&mut service, T);
    service.leave();
    assert_eq!(service.phase(), Phase::Starting);
    assert_eq!(service.get(T), Get::Wait);
    assert_eq!(service.ended(T, generation, true), Verdict::Accept);
}

#[test]
fn v2_a_failure_is_not_kept() {
    let mut service = Service::new(Config::default());
    let first = started(&mut service, T);
    assert_eq!(service.ended(T, first, false), Verdict::Fail);
    let second = started(&mut service, T);
    assert!(second > first);
}

#[test]
fn v2_a_backoff_doubles_to_its_maximum_and_a_reset_forgives() {
    let backoff = Backoff { first: Duration::from_millis(100), max: Duration::from_millis(300) };
    let mut service = Service::new(Config { backoff: Some(backoff), ..Config::default() });
    let mut now = T;
    for wait in [100, 200, 300, 300] {
        let generation = started(&mut service, now);
        assert_eq!(service.ended(now, generation, false), Verdict::Fail);
        let until = now + Duration::from_millis(wait);
        assert_eq!(service.get(now), Get::BackingOff { until });
        assert_eq!(service.waiters(), 0);
        now = until;
    }
    let generation = started(&mut service, now);
    service.ended(now, generation, false);
    assert_eq!(service.reset(), Reset::Nothing);
    started(&mut service, now);
}

#[test]
fn a_backoff_does_not_overflow() {
    let backoff = Backoff { first: Duration::from_secs(1), max: Duration::from_secs(60) };
    assert_eq!(backoff.after(0), Duration::ZERO);
    assert_eq!(backoff.after(u32::MAX), Duration::from_secs(60));
}

#[test]
fn v1_a_reset_while_one_is_made_starts_the_next_only_after_the_clean_up() {
    let mut service = Service::new(Config::default());
    let first = started(&mut service, T);
    assert_eq!(service.reset(), Reset::Later);
    assert_eq!(service.get(T), Get::Wait);
    assert_eq!(service.ended(T, first, true), Verdict::CleanUp);
    assert_eq!(service.get(T), Get::Wait);
    let Next::Start(second) = service.cleaned_up() else { panic!("three callers wait") };
    assert_eq!(service.ended(T, first, true), Verdict::Ignore);
    assert_eq!(service.ended(T, second, true), Verdict::Accept);
}

#[test]
fn a_stale_failure_starts_the_next_for_those_who_wait() {
    let mut service = Service::new(Config::default());
    let first = started(&mut service, T);
    service.reset();
    assert!(matches!(service.ended(T, first, false), Verdict::Then(Next::Start(_))));
    assert_eq!(service.waiters(), 1);
}

#[test]
fn a_stale_failure_that_nobody_waits_for_rests() {
    let mut service = Service::new(Config::default());
    let first = started(&mut service, T);
    service.leave();
    service.reset();
    assert_eq!(service.ended(T, first, false), Verdict::Then(Next::Rest));
    assert_eq!(service.phase(), Phase::Idle);
}

#[test]
fn a_close_while_one_is_made_cleans_its_value_up_once() {
    let mut service = Service::new(Config::default());
    let first = started(&mut service, T);
    assert_eq!(service.close(), Close::Later);
    assert_eq!(service.get(T), Get::Closed);
    assert_eq!(service.close(), Close::Later);
    assert_eq!(service.ended(T, first, true), Verdict::CleanUp);
    assert_eq!(service.close(), Close::Later);
    assert_eq!(service.cleaned_up(), Next::Closed);
    assert_eq!(service.close(), Close::Done);
    assert_eq!(service.get(T), Get::Closed);
    assert_eq!(service.reset(), Reset::Nothing);
}

#[test]
fn as_many_wait_as_may() {
    let mut service = Service::new(Config { waiters_max: 2, ..Config::default() });
    started(&mut service, T);
    assert_eq!(service.get(T), Get::Wait);
    assert_eq!(service.get(T), Get::Full);
    service.leave();
    assert_eq!(service.get(T), Get::Wait);
}

/// What the machine is for, written down without it: at most one thing under way, and nobody left waiting for nothing.
#[derive(Debug, Default)]
struct Model {
    under_way: Option<(Generation, Under)>,
    value: bool,
    /// The value being made was reset.
    stale: bool,
    closed: bool,
    waiting: usize,
    cleaned: u64,
    made: u64,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Under {
    Init,
    CleanUp,
}

impl Model {
    fn start(&mut self, generation: Generation) {
        assert_eq!(self.under_way, None, "two at a time");
        assert!(!self.value && !self.closed);
        self.under_way = Some((generation, Under::Init));
        self.stale = false;
    }

    fn follow(&mut self, next: Next) {
        match next {
            Next::Start(generation) => {
                assert!(self.waiting > 0);
                self.start(generation);
            }
            Next::Rest => assert!(self.waiting == 0 && !self.closed),
            Next::Closed => assert!(self.closed),
        }
    }

    fn end(&mut self, service: &mut Service, ok: bool) {
        let Some((generation, under)) = self.under_way.take() else { return };
        if under == Under::CleanUp {
            self.cleaned += 1;
            let next = service.cleaned_up();
            return self.follow(next);
        }
        self.made += u64::from(ok);
        let wanted = !self.stale && !self.closed;
        match service.ended(T, generation, ok) {
            Verdict::Accept => {
                assert!(ok && wanted);
                self.value = true;
                self.waiting = 0;
            }
            Verdict::Fail => {
                assert!(!ok && wanted);
                self.waiting = 0;
            }
            Verdict::CleanUp => {
                assert!(ok && !wanted);
                self.under_way = Some((generation, Under::CleanUp));
            }
            Verdict::Then(next) => {
                assert!(!ok && !wanted);
                self.follow(next);
            }
            Verdict::Ignore => panic!("the one under way was ignored"),
        }
    }

    fn give_up(&mut self, service: &mut Service, close: bool) {
        let clean = if close {
            self.closed = true;
            self.waiting = 0;
            service.close() == Close::CleanUp
        } else {
            self.stale |= matches!(self.under_way, Some((_, Under::Init)));
            service.reset() == Reset::CleanUp
        };
        assert_eq!(clean, self.value, "a value is cleaned up when it is given up, and only then");
        if clean {
            self.value = false;
            let generation = service.generation().expect("there was a value");
            self.under_way = Some((generation, Under::CleanUp));
        }
    }

    fn get(&mut self, service: &mut Service) {
        match service.get(T) {
            Get::Ready => assert!(self.value && !self.closed),
            Get::Start(generation) => {
                self.waiting += 1;
                self.start(generation);
            }
            Get::Wait => {
                self.waiting += 1;
                assert!(self.under_way.is_some(), "waits for nothing");
            }
            Get::Closed => assert!(self.closed),
            other => panic!("neither limit nor back-off was set, but {other:?}"),
        }
    }
}

proptest! {
    #[test]
    fn v1_the_machine_agrees_with_the_model(inputs in proptest::collection::vec(0_u8..8, 1..60)) {
        let mut service = Service::new(Config::default());
        let mut model = Model::default();
        for input in inputs {
            match input {
                0..=2 => model.get(&mut service),
                3 => if model.waiting > 0 {
                    model.waiting -= 1;
                    service.leave();
                },
                4 => model.end(&mut service, true),
                5 => model.end(&mut service, false),
                6 => model.give_up(&mut service, false),
                _ => if model.made > 3 { model.give_up(&mut service, true) },
            }
            assert_eq!(service.waiters(), model.waiting);
        }
        // Whatever happened, a close ends it, and every value that was made was cleaned up once.
        model.give_up(&mut service, true);
        while model.under_way.is_some() {
            model.end(&mut service, true);
        }
        assert_eq!(service.phase(), Phase::Closed);
        assert_eq!(model.cleaned, model.made);
    }
}
