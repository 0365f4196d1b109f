use std::num::NonZeroU32;

use tokio::time::{Instant, advance, timeout};

use super::*;
use crate::resilience::clock::Bounds;

fn cells(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_burst_and_then_the_rate() {
    let limiter = RateLimiter::new(Quota::per_second(cells(10)));
    let admitted = (0..100).filter(|_| limiter.check().is_ok()).count();
    assert_eq!(admitted, 10);
    let retry_after = limiter.check().unwrap_err().retry_after().unwrap();
    assert_eq!(retry_after, Duration::from_millis(100));
    advance(retry_after).await;
    assert!(limiter.check().is_ok() && limiter.check().is_err());
    assert_eq!(limiter.check_n(11), Err(Limited::TooLarge { cells: 11, burst: 10 }));
    let stats = limiter.stats();
    assert_eq!((stats.admitted, stats.refused, stats.left), (11, 93, 0));
}

#[tokio::test(start_paused = true)]
async fn p3_threads_together_get_no_more_than_the_quota() {
    let limiter = RateLimiter::new(Quota::per_hour(cells(1_000)));
    let admitted = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    admitted.fetch_add(u64::from(limiter.check().is_ok()), Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(admitted.load(Ordering::Relaxed), 1_000);
}

/// In milliseconds: the exact clock, what the coarse one says, and what comes of a call.
#[tokio::test(start_paused = true)]
async fn p3_the_coarse_clock_refuses_what_the_exact_one_would_and_admits_nothing() {
    let at = |ms| Time::ZERO + Duration::from_millis(ms);
    let said: &std::sync::Mutex<Bounds> =
        Box::leak(Box::new(std::sync::Mutex::new(Bounds { earliest: Time::ZERO, latest: Time::ZERO })));
    let began = Instant::now();
    let limiter = RateLimiter::with_clock(Quota::new(cells(1), Duration::from_millis(100)), 1, Clock::saying(said));
    // (exact, earliest, latest), and for how long it is refused: by the earliest of the coarse one, else by the exact.
    let calls = [
        (0, (0, 16), None),
        (10, (0, 16), Some(90)), // None was refused before: the exact one is asked.
        (20, (8, 24), Some(92)),
        (90, (80, 96), Some(20)),
        (90, (88, 104), Some(10)), // The time may have come: the exact one is asked.
        (99, (500, 516), Some(1)), // A coarse one that is ahead admits nothing.
        (100, (88, 104), None),
        (101, (88, 104), Some(99)),
        (102, (88, 104), Some(112)),
        (205, (88, 104), Some(112)), // Ticks that are late prolong a refusal.
        (205, (204, 220), None),
    ];
    for (exact, (earliest, latest), refused) in calls {
        advance(Duration::from_millis(exact) - began.elapsed()).await;
        *said.lock().unwrap() = Bounds { earliest: at(earliest), latest: at(latest) };
        let retry_after = limiter.check().err().map(|limited| limited.retry_after().unwrap());
        assert_eq!(retry_after, refused.map(Duration::from_millis), "at {exact} ms, {earliest} to {latest}");
    }
    let stats = limiter.stats();
    assert_eq!((stats.admitted, stats.refused), (3, 8));
    // Whoever waits goes by the exact one.
    *said.lock().unwrap() = Bounds { earliest: at(88), latest: at(104) };
    limiter.until_ready().await.unwrap();
    assert_eq!(began.elapsed(), Duration::from_millis(305));
}

#[tokio::test(start_paused = true)]
async fn those_who_wait_are_served_in_order_and_a_cancelled_one_takes_nothing() {
    let limiter = RateLimiter::with_waiting_max(Quota::per_second(cells(10)).burst(cells(3)), 3);
    let began = Instant::now();
    limiter.check_n(3).unwrap();
    let wait = |n: u32| {
        let limiter = limiter.clone();
        tokio::spawn(async move {
            limiter.until_ready_n(n).await.unwrap();
            began.elapsed()
        })
    };
    let large = wait(3);
    tokio::task::yield_now().await;
    assert!(timeout(Duration::from_millis(50), limiter.until_ready()).await.is_err());
    let small = wait(1);
    tokio::task::yield_now().await;
    assert_eq!(limiter.stats().waiting, 2);
    assert!(timeout(Duration::from_millis(1), limiter.until_ready()).await.is_err());
    assert_eq!(large.await.unwrap(), Duration::from_millis(300));
    assert_eq!(small.await.unwrap(), Duration::from_millis(400), "not before the large one, nor later for the others");
    assert!(matches!(limiter.until_ready_n(4).await, Err(WaitError::Limited(Limited::TooLarge { .. }))));
}

#[tokio::test(start_paused = true)]
async fn a_queue_that_is_full_refuses() {
    let limiter = RateLimiter::with_waiting_max(Quota::per_second(cells(1)), 2);
    limiter.check().unwrap();
    let waits: Vec<_> = (0..2)
        .map(|_| {
            let limiter = limiter.clone();
            tokio::spawn(async move { limiter.until_ready().await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(matches!(limiter.until_ready().await, Err(WaitError::Full(QueueFull { waiting_max: 2, .. }))));
    for wait in waits {
        wait.await.unwrap().unwrap();
    }
    assert_eq!(limiter.stats().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn p3_a_million_keys_leave_no_memory_once_they_are_whole() {
    let limiter = KeyedRateLimiter::<u64>::new(Quota::per_second(cells(5)));
    let mut most = 0;
    for block in 0..100 {
        for key in 0..10_000 {
            limiter.check(&(block * 10_000 + key)).unwrap();
        }
        most = most.max(limiter.stats().keys);
        advance(Duration::from_secs(1)).await;
    }
    assert!(most <= 30_000, "{most} keys remembered, with 10000 in use at a time");
    limiter.sweep();
    let stats = limiter.stats();
    assert_eq!((stats.admitted, stats.keys), (1_000_000, 0));
    assert!(stats.capacity <= 64 * 128, "room for {} keys", stats.capacity);
}

#[tokio::test(start_paused = true)]
async fn p3_a_million_keys_in_use_at_once_are_the_limit() {
    let limiter = KeyedRateLimiter::<u64>::new(Quota::per_hour(cells(2)));
    let (mut admitted, mut full) = (0_usize, 0_usize);
    for key in 0..1_100_000_u64 {
        match limiter.check(&key) {
            Ok(()) => admitted += 1,
            Err(Limited::KeysFull { .. }) => full += 1,
            Err(other) => panic!("{other}"),
        }
    }
    assert_eq!(limiter.stats().keys, admitted);
    assert!((990_000..=1_000_064).contains(&admitted), "{admitted}");
    assert_eq!(admitted + full, 1_100_000);
    assert!(limiter.check(&0).is_ok(), "a key in the table is served");
    advance(Duration::from_secs(1_800)).await;
    assert!(limiter.check(&u64::MAX).is_ok(), "the others are whole again");
}

#[tokio::test(start_paused = true)]
async fn a_key_waits_for_its_own_quota_only() {
    let limiter = KeyedRateLimiter::<String>::with_limits(Quota::per_second(cells(1)), 10, 1);
    limiter.check("ann").unwrap();
    let began = Instant::now();
    limiter.until_ready("bob").await.unwrap();
    assert_eq!(began.elapsed(), Duration::ZERO);
    let waits = tokio::spawn({
        let limiter = limiter.clone();
        async move { limiter.until_ready("ann").await }
    });
    tokio::task::yield_now().await;
    assert!(matches!(limiter.until_ready("ann").await, Err(WaitError::Full(_))));
    waits.await.unwrap().unwrap();
    assert_eq!(began.elapsed(), Duration::from_secs(1));
}
