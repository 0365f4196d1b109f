use std::cell::Cell;
use std::future::pending;
use std::io::{Error, ErrorKind};
use std::num::NonZeroU32;

use tokio::time::{Instant, advance, sleep};

use super::*;
use crate::resilience::breaker::State;
use crate::resilience::limiter::{Limited, Quota};
use crate::resilience::retry::Budget;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

fn down() -> Error {
    Error::from(ErrorKind::ConnectionRefused)
}

fn retry(attempts: u32) -> Retry {
    Retry::builder().attempts_max(attempts).budget(Budget::new(1_000, 0)).build()
}

fn breaker(failures: u32) -> Breaker {
    Breaker::builder("b").consecutive(failures).open_for(Duration::from_secs(60)).build()
}

async fn fail(calls: &Cell<u32>) -> Result<(), Error> {
    calls.set(calls.get() + 1);
    Err(down())
}

#[tokio::test(start_paused = true)]
async fn every_attempt_asks_the_breaker_and_an_open_one_ends_the_retries() {
    let calls = Cell::new(0);
    let policy = Policy::builder().breaker(breaker(2)).retry(retry(10)).build();
    let began = Instant::now();
    let error = policy.run(|| fail(&calls)).await.unwrap_err();
    assert!(matches!(error, PolicyError::Open(_)), "{error}");
    assert_eq!(calls.get(), 2);
    assert!(began.elapsed() < Duration::from_secs(1), "it does not sit out the open period");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_by_the_rate_limit_says_nothing_about_the_service() {
    let breaker = breaker(1);
    let limiter = RateLimiter::new(Quota::per_second(NonZeroU32::MIN));
    let policy = Policy::builder().rate_limit(limiter).breaker(breaker.clone()).build();
    policy.run(async || Ok::<_, Error>(())).await.unwrap();
    let refused = policy.run(async || Ok::<_, Error>(())).await.unwrap_err();
    assert!(matches!(refused, PolicyError::Limited(Limited::NotYet { .. })));
    assert_eq!((breaker.state(), breaker.stats().abandoned), (State::Closed, 1));

    // A probe that is refused frees its place.
    advance(Duration::from_secs(1)).await;
    let calls = Cell::new(0);
    policy.run(|| fail(&calls)).await.unwrap_err();
    advance(Duration::from_secs(60)).await;
    policy.inner.limiter.as_ref().unwrap().check().unwrap();
    assert!(matches!(policy.run(|| fail(&calls)).await, Err(PolicyError::Limited(_))));
    assert_eq!(breaker.state(), State::HalfOpen);
    advance(Duration::from_secs(1)).await;
    policy.run(async || Ok::<_, Error>(())).await.unwrap();
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_retry_comes_back_when_the_rate_allows_it() {
    let limiter = RateLimiter::new(Quota::new(NonZeroU32::MIN, ms(500)));
    limiter.check().unwrap();
    let policy = Policy::builder().rate_limit(limiter).retry(retry(2)).build();
    let began = Instant::now();
    policy.run(async || Ok::<_, Error>(())).await.unwrap();
    assert!(began.elapsed() >= ms(500) && began.elapsed() <= ms(601));
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_takes_too_long_is_a_failure_and_the_whole_call_has_its_own_limit() {
    let breaker = breaker(100);
    let builder = || Policy::builder().retry(retry(3)).breaker(breaker.clone()).attempt_timeout(ms(100));
    let error = builder().build().run(pending::<Result<(), Error>>).await.unwrap_err();
    assert!(matches!(error, PolicyError::AttemptTimedOut { attempts: 3, .. }), "{error}");
    assert_eq!(breaker.stats().failures, 3);
    assert_eq!(error.to_string(), "the last of 3 attempts timed out after 100ms");

    let began = Instant::now();
    let error = builder().timeout(ms(50)).build().run(pending::<Result<(), Error>>).await.unwrap_err();
    assert!(matches!(error, PolicyError::TimedOut(_)), "{error}");
    assert_eq!(began.elapsed(), ms(50));
    assert_eq!(breaker.stats().abandoned, 1, "nobody knows what the last one would have been");
}

/// One limit for all attempts and the waits between them, and none for each.
#[tokio::test(start_paused = true)]
async fn the_limit_of_the_whole_call_spans_its_attempts_and_the_waits_between_them() {
    let calls = Cell::new(0);
    let slow = async || {
        calls.set(calls.get() + 1);
        sleep(ms(40)).await;
        Err::<(), _>(down())
    };
    let retry = Retry::builder().attempts_max(1_000).delay(Duration::ZERO).budget(Budget::new(1_000, 0)).build();
    let policy = Policy::builder().timeout(ms(100)).retry(retry).build();
    // Without a wait between them: during the third attempt.
    let began = Instant::now();
    let error = policy.run(slow).await.unwrap_err();
    assert!(matches!(error, PolicyError::TimedOut(_)), "{error}");
    assert_eq!((began.elapsed(), calls.take()), (ms(100), 3));

    // Between two.
    let fault = |_: &Error| Fault::After(ms(100));
    let began = Instant::now();
    let error = policy.run_if(fault, slow).await.unwrap_err();
    assert!(matches!(error, PolicyError::TimedOut(_)), "{error}");
    assert_eq!((began.elapsed(), calls.take()), (ms(100), 1));
    assert_eq!((policy.stats().timed_out, policy.stats().failed), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn p1_a_refusal_for_lack_of_room_says_nothing_about_the_service() {
    let breaker = breaker(1);
    let policy = Policy::builder().breaker(breaker.clone()).concurrency(1, ms(10)).build();
    let held = policy.inner.concurrency.as_ref().unwrap().slots.acquire().await.unwrap();
    let refused = policy.run(async || Ok::<_, Error>(())).await.unwrap_err();
    assert!(matches!(refused, PolicyError::Busy { limit: 1 }));
    assert_eq!((breaker.state(), breaker.stats().abandoned), (State::Closed, 1));

    // A probe that is refused frees its place.
    breaker.try_acquire().unwrap().failure();
    advance(Duration::from_secs(60)).await;
    policy.run(async || Ok::<_, Error>(())).await.unwrap_err();
    assert_eq!(breaker.state(), State::HalfOpen);
    drop(held);
    policy.run(async || Ok::<_, Error>(())).await.unwrap();
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_error_is_an_answer() {
    let breaker = breaker(1);
    let policy = Policy::builder().retry(retry(5)).breaker(breaker.clone()).build();
    let error = policy.run(async || Err::<(), _>(Error::from(ErrorKind::NotFound))).await.unwrap_err();
    assert!(matches!(error, PolicyError::Failed { attempts: 1, gave_up: GaveUp::Permanent, .. }), "{error}");
    assert_eq!((breaker.state(), breaker.stats().successes), (State::Closed, 1));
}

#[tokio::test(start_paused = true)]
async fn so_many_attempts_are_under_way_and_others_wait_so_long() {
    let policy = Policy::builder().concurrency(2, ms(100)).build();
    let slow = |takes| {
        let policy = policy.clone();
        tokio::spawn(async move {
            let operation = || async {
                sleep(takes).await;
                Ok::<_, Error>(())
            };
            policy.run(operation).await
        })
    };
    let (short, long) = (slow(ms(50)), slow(ms(500)));
    tokio::task::yield_now().await;
    let (served, refused) = (slow(ms(500)), slow(ms(1)));
    let began = Instant::now();
    assert!(matches!(refused.await.unwrap(), Err(PolicyError::Busy { limit: 2 })));
    assert_eq!(began.elapsed(), ms(100));
    assert_eq!(policy.stats().running, 2);
    for call in [short, long, served] {
        call.await.unwrap().unwrap();
    }
    let stats = Stats { running: 0, waiting: 0, calls: 4, attempts: 4, failed: 1, timed_out: 0, busy: 1 };
    assert_eq!(policy.stats(), stats);
}

#[tokio::test(start_paused = true)]
async fn more_attempts_than_may_wait_are_refused_at_once() {
    let policy = Policy::builder().concurrency(1, ms(100)).build();
    let held = policy.inner.concurrency.as_ref().unwrap().slots.acquire().await.unwrap();
    let call = || {
        let policy = policy.clone();
        tokio::spawn(async move { policy.run(async || Ok::<_, Error>(())).await })
    };
    let waiting: Vec<_> = (0..WAITING_MAX).map(|_| call()).collect();
    while policy.stats().waiting < WAITING_MAX {
        tokio::task::yield_now().await;
    }
    let began = Instant::now();
    assert!(matches!(call().await.unwrap(), Err(PolicyError::Busy { limit: 1 })));
    assert_eq!(began.elapsed(), Duration::ZERO);
    drop(held);
    for call in waiting {
        call.await.unwrap().unwrap();
    }
    assert_eq!((policy.stats().waiting, policy.stats().busy), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_call_is_neither_a_success_nor_a_failure_and_is_over() {
    let policy = Policy::builder().timeout(ms(100)).retry(retry(2)).build();
    let call = policy.run(pending::<Result<(), Error>>);
    assert!(tokio::time::timeout(ms(10), call).await.is_err());
    assert_eq!((policy.stats().calls, policy.stats().running, policy.stats().failed), (1, 0, 0));
    policy.run(pending::<Result<(), Error>>).await.unwrap_err();
    assert_eq!((policy.stats().failed, policy.stats().timed_out), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn p2_policies_inside_policies_make_no_more_attempts_than_the_outermost() {
    let calls = Cell::new(0);
    let [outer, middle, inner] = [(); 3].map(|()| Policy::builder().retry(retry(3)).build());
    let result = outer.run(|| middle.run(|| inner.run(|| fail(&calls)))).await;
    result.unwrap_err();
    assert_eq!(calls.get(), 3, "not 27");
}

#[cfg(feature = "tower")]
mod layers {
    use ::tower::{ServiceBuilder, ServiceExt, service_fn};

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_service_behind_a_policy_is_called_again_until_the_breaker_opens() {
        let calls = Arc::new(std::sync::atomic::AtomicU32::new(0));
        let policy = Policy::builder().retry(retry(3)).breaker(breaker(4)).build();
        let service = ServiceBuilder::new().layer(policy.layer(Error::fault)).service(service_fn({
            let calls = Arc::clone(&calls);
            move |request: u32| {
                let call = calls.fetch_add(1, Ordering::Relaxed);
                async move { if call == 1 { Ok(request * 2) } else { Err(down()) } }
            }
        }));
        assert_eq!(service.clone().oneshot(21).await.unwrap(), 42);
        assert!(matches!(service.clone().oneshot(1).await, Err(PolicyError::Failed { attempts: 3, .. })));
        assert!(matches!(service.oneshot(1).await, Err(PolicyError::Open(_))));
        assert_eq!(calls.load(Ordering::Relaxed), 2 + 3 + 1);
    }
}
