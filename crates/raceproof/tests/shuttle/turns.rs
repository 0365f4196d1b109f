//! Waiting for a rate limit and for a throttle: P3.

use std::num::NonZeroU32;
use std::time::Duration;

use raceproof::resilience::Throttle;
use raceproof::resilience::limiter::{KeyedRateLimiter, Quota, RateLimiter};
use shuttle::future::{block_on, spawn};

use super::{check, given_up_after, polls};

const CALLERS: usize = 3;

/// Three callers wait, of whom the first gives up anywhere. How many got what they waited for.
async fn all_but_one<F, Fut>(wait: F) -> u64
where
    F: Fn() -> Fut,
    Fut: Future<Output = bool> + Send + 'static,
{
    let callers: Vec<_> = (0..CALLERS)
        .map(|caller| {
            let (wait, polls) = (wait(), polls(7));
            spawn(async move { if caller == 0 { given_up_after(polls, wait).await } else { Some(wait.await) } })
        })
        .collect();
    let mut got = 0;
    for (caller, handle) in callers.into_iter().enumerate() {
        let outcome = handle.await.expect("no caller panics");
        assert!(caller == 0 || outcome == Some(true), "whoever stays is served");
        got += u64::from(outcome == Some(true));
    }
    got
}

#[test]
fn p3_a_wait_that_is_given_up_takes_nothing_and_holds_nobody_up() {
    check(|| {
        block_on(async {
            let limiter = RateLimiter::new(Quota::per_second(NonZeroU32::MIN));
            let waits = limiter.clone();
            let wait = move || {
                let limiter = waits.clone();
                async move { limiter.until_ready().await.is_ok() }
            };
            let got = all_but_one(wait).await;
            let stats = limiter.stats();
            assert_eq!((stats.admitted, stats.waiting), (got, 0));
        });
    });
}

#[test]
fn p3_a_key_that_is_waited_for_by_many_is_given_to_those_who_stay() {
    check(|| {
        block_on(async {
            let limiter = KeyedRateLimiter::<u64>::new(Quota::per_second(NonZeroU32::MIN));
            let waits = limiter.clone();
            let wait = move || {
                let limiter = waits.clone();
                async move { limiter.until_ready(&1).await.is_ok() }
            };
            let got = all_but_one(wait).await;
            let stats = limiter.stats();
            assert_eq!((stats.admitted, stats.waiting, stats.keys), (got, 0, 1));
        });
    });
}

#[test]
fn p3_a_queue_that_is_full_refuses_and_is_never_left_full() {
    check(|| {
        block_on(async {
            let throttle = Throttle::with_waiting_max(Duration::from_secs(1), 2);
            let callers: Vec<_> = (0..CALLERS)
                .map(|_| {
                    let (throttle, polls) = (throttle.clone(), polls(7));
                    spawn(async move { given_up_after(polls, async { throttle.begin().await.is_ok() }).await })
                })
                .collect();
            let mut begun = 0;
            for caller in callers {
                begun += u64::from(caller.await.expect("no caller panics") == Some(true));
            }
            assert_eq!((throttle.stats().begun, throttle.stats().waiting), (begun, 0));
            throttle.begin().await.expect("nobody is left in the queue");
        });
    });
}
