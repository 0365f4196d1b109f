use std::future::pending;
use std::sync::atomic::AtomicU32;

use tokio::time::{advance, sleep, timeout};

use super::*;
use crate::resilience::clock::Bounds;

const OPEN_FOR: Duration = Duration::from_secs(60);

fn breaker() -> Breaker {
    Breaker::builder("b").consecutive(3).open_for(OPEN_FOR).build()
}

async fn fail(breaker: &Breaker) -> Result<(), CallError<&'static str>> {
    breaker.call(async { Err("down") }).await
}

async fn opened() -> Breaker {
    let breaker = breaker();
    for _ in 0..3 {
        assert_eq!(fail(&breaker).await, Err(CallError::Failed("down")));
    }
    assert_eq!(breaker.state(), State::Open);
    breaker
}

#[tokio::test(start_paused = true)]
async fn p1_a_hundred_callers_at_the_end_of_the_open_period_are_one_probe() {
    let breaker = opened().await;
    advance(OPEN_FOR).await;
    let probes = Arc::new(AtomicU32::new(0));
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (breaker, probes) = (breaker.clone(), Arc::clone(&probes));
            tokio::spawn(async move {
                let call = async {
                    probes.fetch_add(1, Ordering::Relaxed);
                    sleep(Duration::from_millis(50)).await;
                    Ok::<_, ()>(())
                };
                breaker.call(call).await.is_ok()
            })
        })
        .collect();
    let mut served = 0;
    for call in calls {
        served += u32::from(call.await.unwrap());
    }
    assert_eq!((probes.load(Ordering::Relaxed), served), (1, 1));
    assert_eq!(breaker.state(), State::Closed);
    assert_eq!(breaker.stats().refused, 99);
}

#[tokio::test(start_paused = true)]
async fn p1_a_result_from_before_the_trip_is_ignored() {
    for success in [true, false] {
        let breaker = breaker();
        let early = breaker.try_acquire().unwrap();
        for _ in 0..3 {
            fail(&breaker).await.unwrap_err();
        }
        advance(OPEN_FOR).await;
        let probe = breaker.try_acquire().unwrap();
        if success {
            early.success();
        } else {
            early.failure();
        }
        assert_eq!(breaker.state(), State::HalfOpen, "success: {success}");
        assert!(breaker.try_acquire().is_err());
        probe.success();
        assert_eq!(breaker.state(), State::Closed);
        assert_eq!(breaker.stats().stale, 1);
    }
}

#[test]
fn p1_a_success_from_before_the_trip_is_stale_also_when_it_is_closed_again() {
    let breaker = breaker();
    let before = breaker.try_acquire().unwrap();
    breaker.open();
    breaker.close();
    before.success();
    assert_eq!((breaker.stats().successes, breaker.stats().stale), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn p1_a_cancelled_probe_frees_its_place() {
    let breaker = opened().await;
    advance(OPEN_FOR).await;
    let probe = breaker.call(pending::<Result<(), ()>>());
    assert!(timeout(Duration::from_secs(1), probe).await.is_err());
    assert_eq!(breaker.stats().abandoned, 1);
    breaker.call(async { Ok::<_, ()>(()) }).await.unwrap();
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn p1_a_panicking_probe_is_a_failure() {
    let breaker = opened().await;
    advance(OPEN_FOR).await;
    let probe = tokio::spawn({
        let breaker = breaker.clone();
        async move { breaker.call(async { panic!("as the test wants") as Result<(), ()> }).await }
    });
    assert!(probe.await.unwrap_err().is_panic());
    assert_eq!(breaker.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn p1_a_probe_that_is_never_heard_of_again_frees_its_place_in_time() {
    let breaker = opened().await;
    advance(OPEN_FOR).await;
    let lost = breaker.try_acquire().unwrap();
    assert!(breaker.try_acquire().is_err());
    advance(Duration::from_secs(30)).await;
    let probe = breaker.try_acquire().unwrap();
    lost.success();
    assert_eq!(breaker.state(), State::HalfOpen);
    probe.success();
    assert_eq!(breaker.state(), State::Closed);
}

#[test]
fn calls_that_do_not_wait_count_the_same() {
    let breaker = breaker();
    for _ in 0..3 {
        assert_eq!(breaker.call_now(|| Err::<(), _>("down")), Err(CallError::Failed("down")));
    }
    assert!(matches!(breaker.call_now(|| Ok::<_, ()>(())), Err(CallError::Open(_))));
}

#[tokio::test(start_paused = true)]
async fn an_open_breaker_says_how_long() {
    let breaker = opened().await;
    advance(Duration::from_secs(20)).await;
    let refused = breaker.try_acquire().unwrap_err();
    assert_eq!(refused.retry_after, Some(Duration::from_secs(40)));
    breaker.open();
    assert_eq!(breaker.try_acquire().unwrap_err().retry_after, None);
    advance(OPEN_FOR * 100).await;
    assert!(breaker.try_acquire().is_err(), "by hand, until by hand");
    breaker.close();
    breaker.call(async { Ok::<_, ()>(()) }).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_no_failure_counts_as_a_success() {
    let breaker = breaker();
    for _ in 0..10 {
        let result = breaker.call_if(|_| false, async { Err::<(), _>("not found") }).await;
        assert_eq!(result, Err(CallError::Failed("not found")));
    }
    assert_eq!((breaker.state(), breaker.stats().successes), (State::Closed, 10));
}

#[tokio::test(start_paused = true)]
async fn successes_counted_outside_the_machine_still_end_a_streak() {
    let breaker = breaker();
    for _ in 0..4 {
        for _ in 0..2 {
            fail(&breaker).await.unwrap_err();
        }
        for _ in 0..3 {
            breaker.call(async { Ok::<_, ()>(()) }).await.unwrap();
        }
    }
    assert_eq!(breaker.state(), State::Closed);
    let stats = breaker.stats();
    assert_eq!((stats.successes, stats.failures), (12, 8));
}

#[tokio::test(start_paused = true)]
async fn a_rate_is_taken_over_a_window_of_time() {
    let window = Window::Time(Duration::from_secs(10));
    let breaker = Breaker::builder("b").rate(50, 4, window).open_for(OPEN_FOR).build();
    for _ in 0..20 {
        breaker.call(async { Ok::<_, ()>(()) }).await.unwrap();
    }
    advance(Duration::from_secs(11)).await;
    for _ in 0..3 {
        fail(&breaker).await.unwrap_err();
        assert_eq!(breaker.state(), State::Closed);
    }
    fail(&breaker).await.unwrap_err();
    assert_eq!(breaker.state(), State::Open);
}

/// Threads without a runtime, in real time: however the stampede falls, one probe.
#[test]
fn p1_threads_stampede_and_one_probes() {
    for _ in 0..20 {
        let breaker = Breaker::builder("b").consecutive(1).open_for(Duration::from_millis(5)).build();
        breaker.try_acquire().unwrap().failure();
        let probes = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    // Until after the end of the open period, however late this thread runs.
                    let began = std::time::Instant::now();
                    while began.elapsed() < Duration::from_millis(10) {
                        if let Ok(permit) = breaker.try_acquire() {
                            probes.fetch_add(1, Ordering::Relaxed);
                            // Never told: its place is taken until the end of the test.
                            std::mem::forget(permit);
                        }
                    }
                });
            }
        });
        assert_eq!(probes.load(Ordering::Relaxed), 1);
    }
}

/// In milliseconds: the exact clock, what the coarse one says, and for how long a call is refused.
#[tokio::test(start_paused = true)]
async fn p1_the_coarse_clock_refuses_while_it_is_open_and_admits_no_probe() {
    let at = |ms| Time::ZERO + Duration::from_millis(ms);
    let said: &Mutex<Bounds> = Box::leak(Box::new(Mutex::new(Bounds { earliest: Time::ZERO, latest: Time::ZERO })));
    let began = tokio::time::Instant::now();
    let config = Breaker::builder("b").consecutive(1).open_for(Duration::from_millis(100)).config;
    let breaker = Breaker::with_clock("b".into(), config, Clock::saying(said));
    breaker.try_acquire().unwrap().failure();
    let calls = [
        (10, (0, 16), Some(100)),
        (90, (80, 96), Some(20)),
        (90, (88, 104), Some(10)), // The time may have come: the exact one is asked.
        (99, (500, 516), Some(1)), // A coarse one that is ahead admits nothing.
        (150, (60, 76), Some(40)), // Ticks that are late prolong a refusal.
        (150, (148, 164), None),
    ];
    for (exact, (earliest, latest), refused) in calls {
        advance(Duration::from_millis(exact) - began.elapsed()).await;
        *said.lock().unwrap() = Bounds { earliest: at(earliest), latest: at(latest) };
        let retry_after = breaker.try_acquire().err().map(|open| open.retry_after.unwrap());
        assert_eq!(retry_after, refused.map(Duration::from_millis), "at {exact} ms, {earliest} to {latest}");
    }
    assert_eq!(breaker.state(), State::HalfOpen);
}
