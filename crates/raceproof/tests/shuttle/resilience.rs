//! Breakers and limiters: the gate and the counters that are read without the machine.

use std::num::NonZeroU32;
use std::time::Duration;

use raceproof::resilience::breaker::{Breaker, State};
use raceproof::resilience::limiter::{KeyedRateLimiter, Quota, RateLimiter};
use shuttle::thread;

use crate::check;

/// Closed, and open for no time at all: whoever asks after the trip may be the probe.
fn breaker() -> Breaker {
    Breaker::builder("b").consecutive(1).open_for(Duration::ZERO).build()
}

fn trip(breaker: &Breaker) {
    breaker.try_acquire().expect("it is closed").failure();
    assert_eq!(breaker.state(), State::Open);
}

/// Runs each in a thread of its own, and returns what they return.
fn all<T: Send + 'static, F: FnOnce() -> T + Send + 'static>(threads: Vec<F>) -> Vec<T> {
    let threads: Vec<_> = threads.into_iter().map(thread::spawn).collect();
    threads.into_iter().map(|thread| thread.join().expect("no thread panics")).collect()
}

#[test]
fn p1_of_those_who_ask_at_once_one_is_the_probe() {
    check(|| {
        let breaker = breaker();
        trip(&breaker);
        let ask = |breaker: Breaker| move || breaker.try_acquire().ok();
        let permits = all((0..3).map(|_| ask(breaker.clone())).collect());
        assert_eq!(permits.iter().flatten().count(), 1);
        assert_eq!(breaker.state(), State::HalfOpen);
    });
}

#[test]
fn p1_a_probe_that_is_given_up_frees_one_place() {
    check(|| {
        let breaker = breaker();
        trip(&breaker);
        let probe = breaker.try_acquire().expect("the probe");
        let give_up = thread::spawn(move || drop(probe));
        let ask = |breaker: Breaker| move || breaker.try_acquire().ok();
        let mut permits = all((0..2).map(|_| ask(breaker.clone())).collect());
        give_up.join().expect("it gives up");
        permits.push(breaker.try_acquire().ok());
        assert_eq!(permits.iter().flatten().count(), 1);
    });
}

#[test]
fn p1_a_result_from_before_the_trip_never_ends_a_probe() {
    check(|| {
        for success in [true, false] {
            let breaker = breaker();
            let early = breaker.try_acquire().expect("it is closed");
            trip(&breaker);
            let probe = breaker.try_acquire().expect("the probe");
            let late = thread::spawn(move || if success { early.success() } else { early.failure() });
            let asked = thread::spawn({
                let breaker = breaker.clone();
                move || breaker.try_acquire().is_ok()
            });
            late.join().expect("it ends");
            assert!(!asked.join().expect("it asks"), "the only place is taken");
            assert_eq!(breaker.state(), State::HalfOpen);
            probe.success();
            assert_eq!(breaker.state(), State::Closed);
        }
    });
}

/// A success that is counted without the machine beside the failure that trips it.
#[test]
fn p1_successes_beside_a_trip_are_counted_or_stale() {
    check(|| {
        let breaker = breaker();
        let calls: Vec<_> = (0..3).map(|_| breaker.try_acquire().expect("it is closed")).collect();
        let ends = |(n, permit): (usize, raceproof::resilience::breaker::Permit)| {
            move || if n == 0 { permit.failure() } else { permit.success() }
        };
        all(calls.into_iter().enumerate().map(ends).collect());
        let stats = breaker.stats();
        assert_eq!((stats.state, stats.failures, stats.opened), (State::Open, 1, 1));
        assert_eq!(stats.successes + stats.stale, 2);
    });
}

#[test]
fn p3_a_quota_is_not_exceeded() {
    check(|| {
        let two = NonZeroU32::new(2).expect("not zero");
        let limiter = RateLimiter::new(Quota::per_hour(two));
        let ask = |limiter: RateLimiter| move || limiter.check().is_ok();
        let admitted = all((0..3).map(|_| ask(limiter.clone())).collect());
        assert_eq!(admitted.into_iter().filter(|admitted| *admitted).count(), 2);

        let keyed = KeyedRateLimiter::<u64>::new(Quota::per_hour(two));
        let ask = |keyed: KeyedRateLimiter<u64>| move || keyed.check(&1).is_ok();
        let admitted = all((0..3).map(|_| ask(keyed.clone())).collect());
        assert_eq!(admitted.into_iter().filter(|admitted| *admitted).count(), 2);
    });
}
