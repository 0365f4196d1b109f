//! Breakers, limiters, retries and stacks of them, beside failsafe, governor, tower-resilience, and cockatiel
//! and opossum of Node.
//!
//! Breakers are compared with the same rule of opening. Governor by default reads a clock of its own making from the
//! processor's counter, which costs a third of the kernel's and is as good as its calibration; ours reads the kernel's for
//! whatever it admits. So governor stands here twice: as it comes, and with the kernel's clock.

mod races;

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow, ensure};
use failsafe::{CircuitBreaker, backoff, failure_policy};
use governor::clock::MonotonicClock;
use raceproof::resilience::breaker::{Breaker, Window};
use raceproof::resilience::limiter::{KeyedRateLimiter, Quota, RateLimiter};
use raceproof::resilience::{Policy, Retry};
use tower::{Layer, Service, ServiceExt, service_fn};
use tower_resilience_circuitbreaker::CircuitBreakerLayer;

use crate::frame::{Room, Row, Sample, Stopwatch, repeat, repeat_sync, warm_up};
use crate::node;

const TIMES: usize = 1_000_000;
const HOUR: Duration = Duration::from_secs(3_600);
const KEYS: u64 = 1_000;

pub(crate) fn room() -> Room {
    Room {
        name: "resilience",
        rows: vec![closed(), closed_window(), open(), partly(), whole(), refused(), keyed(), retry(), stack()],
        races: races::all(),
    }
}

fn ok() -> std::result::Result<(), ()> {
    std::hint::black_box(Ok(()))
}

/// What a caller would look at.
fn used<T>(value: T) {
    std::hint::black_box(&value);
}

fn breaker() -> Breaker {
    Breaker::builder("bench").consecutive(5).open_for(HOUR).build()
}

fn failsafe_consecutive() -> failsafe::StateMachine<failure_policy::ConsecutiveFailures<backoff::Constant>, ()> {
    failsafe::Config::new().failure_policy(failure_policy::consecutive_failures(5, backoff::constant(HOUR))).build()
}

/// Calls through a breaker that stays closed and opens after five failures in a row.
fn closed() -> Row {
    Row::new("closed", TIMES)
        .system("raceproof", async |times| {
            let breaker = breaker();
            let sample = repeat_sync(times, || used(breaker.call_now(ok)));
            ensure!(breaker.stats().successes >= times as u64, "calls were not counted");
            Ok(sample)
        })
        .system("raceproof, async", async |times| {
            let breaker = breaker();
            repeat(times, async || breaker.call(async { ok() }).await.map_err(|_| anyhow!("refused"))).await
        })
        .system("failsafe", async |times| {
            let breaker = failsafe_consecutive();
            Ok(repeat_sync(times, || used(breaker.call(ok))))
        })
        .system("tower-resilience", async |times| {
            let layer = CircuitBreakerLayer::builder().consecutive_failures(5).wait_duration_in_open(HOUR).build();
            tower_calls(layer.layer(service_fn(async |()| ok())), times / 4).await
        })
        .system("cockatiel", async |times| node::time("cockatiel", "closed", times / 4).await)
        .system("opossum", async |times| node::time("opossum", "closed", times / 4).await)
        .target("raceproof", "failsafe", 0.6)
}

/// The same, opening when half of the calls fail: of the last 100, or within ten seconds.
fn closed_window() -> Row {
    Row::new("closed-rate", TIMES)
        .system("raceproof, calls", async |times| {
            let breaker = Breaker::builder("bench").rate(50, 20, Window::Calls(100)).build();
            Ok(repeat_sync(times, || used(breaker.call_now(ok))))
        })
        .system("raceproof, time", async |times| {
            let breaker = Breaker::builder("bench").rate(50, 20, Window::Time(Duration::from_secs(10))).build();
            Ok(repeat_sync(times, || used(breaker.call_now(ok))))
        })
        .system("failsafe, time", async |times| {
            let window = Duration::from_secs(10);
            let policy = failure_policy::success_rate_over_time_window(0.5, 20, window, backoff::constant(HOUR));
            let breaker = failsafe::Config::new().failure_policy(policy).build();
            Ok(repeat_sync(times, || used(breaker.call(ok))))
        })
        .system("failsafe, its default", async |times| {
            let breaker = failsafe::Config::new().build();
            Ok(repeat_sync(times, || used(breaker.call(ok))))
        })
        .system("tower-resilience, calls", async |times| {
            let layer = CircuitBreakerLayer::builder().failure_rate_threshold(0.5).sliding_window_size(100).build();
            tower_calls(layer.layer(service_fn(async |()| ok())), times / 4).await
        })
        .target("raceproof, calls", "failsafe, its default", 0.6)
        .target("raceproof, time", "failsafe, time", 0.6)
}

async fn tower_calls<S>(mut service: S, times: usize) -> Result<Sample>
where
    S: Service<(), Response = ()> + Send,
    S::Future: Send,
{
    for _ in 0..warm_up(times) {
        let service = service.ready().await.map_err(|_| anyhow!("not ready"))?;
        service.call(()).await.map_err(|_| anyhow!("refused"))?;
    }
    let watch = Stopwatch::start();
    for _ in 0..times {
        let service = service.ready().await.map_err(|_| anyhow!("not ready"))?;
        service.call(()).await.map_err(|_| anyhow!("refused"))?;
    }
    Ok(watch.stop(times))
}

/// Calls that an open breaker refuses.
fn open() -> Row {
    Row::new("open", TIMES)
        .system("raceproof", async |times| {
            let breaker = breaker();
            for _ in 0..5 {
                used(breaker.call_now(|| Err::<(), _>(())));
            }
            let sample = repeat_sync(times, || used(breaker.call_now(ok)));
            ensure!(breaker.stats().successes == 0 && breaker.stats().refused >= times as u64, "calls were made");
            Ok(sample)
        })
        .system("failsafe", async |times| {
            let breaker = failsafe_consecutive();
            for _ in 0..5 {
                used(breaker.call(|| Err::<(), _>(())));
            }
            ensure!(!breaker.is_call_permitted(), "not open");
            Ok(repeat_sync(times, || used(breaker.call(ok))))
        })
        .system("cockatiel", async |times| node::time("cockatiel", "open", times / 50).await)
        .system("opossum", async |times| node::time("opossum", "open", times / 50).await)
        .at_most_ns("raceproof", 15.0)
        .without_allocation("raceproof")
        .target("raceproof", "failsafe", 1.0)
}

fn cells(n: u32) -> NonZeroU32 {
    NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN)
}

/// A call every millisecond, and so many at once that it never runs out.
fn ours(burst: u32) -> Quota {
    Quota::per_second(cells(1_000)).burst(cells(burst))
}

fn theirs(burst: u32) -> governor::Quota {
    governor::Quota::per_second(cells(1_000)).allow_burst(cells(burst))
}

fn partly() -> Row {
    Row::new("limit-partly-used", TIMES)
        .system("raceproof", async |times| {
            let limiter = RateLimiter::new(ours(u32::MAX));
            let sample = repeat_sync(times, || used(limiter.check()));
            ensure!(limiter.stats().admitted >= times as u64, "calls were refused");
            Ok(sample)
        })
        .system("governor", async |times| {
            let limiter = governor::RateLimiter::direct(theirs(u32::MAX));
            Ok(repeat_sync(times, || used(limiter.check())))
        })
        .system("governor, kernel clock", async |times| {
            let limiter = governor::RateLimiter::direct_with_clock(theirs(u32::MAX), MonotonicClock);
            Ok(repeat_sync(times, || used(limiter.check())))
        })
        .target("raceproof", "governor, kernel clock", 1.0)
        .target("raceproof", "governor", 1.0)
}

/// A quota so large that it is whole again before the next call.
fn whole() -> Row {
    Row::new("limit-whole", TIMES)
        .system("raceproof", async |times| {
            let limiter = RateLimiter::new(Quota::per_second(cells(1_000_000_000)));
            Ok(repeat_sync(times, || used(limiter.check())))
        })
        .system("governor", async |times| {
            let limiter = governor::RateLimiter::direct(governor::Quota::per_second(cells(1_000_000_000)));
            Ok(repeat_sync(times, || used(limiter.check())))
        })
        .system("governor, kernel clock", async |times| {
            let limiter = governor::RateLimiter::direct_with_clock(
                governor::Quota::per_second(cells(1_000_000_000)),
                MonotonicClock,
            );
            Ok(repeat_sync(times, || used(limiter.check())))
        })
        .target("raceproof", "governor, kernel clock", 1.0)
        .target("raceproof", "governor", 1.0)
}

fn refused() -> Row {
    Row::new("limit-refused", TIMES)
        .system("raceproof", async |times| {
            let limiter = RateLimiter::new(Quota::per_hour(cells(1)));
            let sample = repeat_sync(times, || used(limiter.check()));
            ensure!(limiter.stats().admitted == 1, "more than the quota was admitted");
            Ok(sample)
        })
        .system("governor", async |times| {
            let limiter = governor::RateLimiter::direct(governor::Quota::per_hour(cells(1)));
            Ok(repeat_sync(times, || used(limiter.check())))
        })
        .system("governor, kernel clock", async |times| {
            let limiter = governor::RateLimiter::direct_with_clock(governor::Quota::per_hour(cells(1)), MonotonicClock);
            Ok(repeat_sync(times, || used(limiter.check())))
        })
        .target("raceproof", "governor, kernel clock", 1.0)
        .target("raceproof", "governor", 1.0)
}

/// A thousand keys in turn, each partly used.
fn keyed() -> Row {
    Row::new("limit-keyed", TIMES)
        .system("raceproof", async |times| {
            let limiter = KeyedRateLimiter::<u64>::new(ours(u32::MAX));
            let mut key = 0;
            let sample = repeat_sync(times, || {
                key = (key + 1) % KEYS;
                used(limiter.check(&key));
            });
            ensure!(limiter.stats().admitted >= times as u64, "calls were refused");
            Ok(sample)
        })
        .system("governor", async |times| {
            let limiter = governor::RateLimiter::keyed(theirs(u32::MAX));
            let mut key = 0;
            Ok(repeat_sync(times, || {
                key = (key + 1) % KEYS;
                used(limiter.check_key(&key));
            }))
        })
        .system("governor, kernel clock", async |times| {
            let limiter = governor::RateLimiter::dashmap_with_clock(theirs(u32::MAX), MonotonicClock);
            let mut key = 0;
            Ok(repeat_sync(times, || {
                key = (key + 1) % KEYS;
                used(limiter.check_key(&key));
            }))
        })
        .target("raceproof", "governor, kernel clock", 1.0)
        .target("raceproof", "governor", 1.0)
}

/// A retry whose first attempt succeeds.
fn retry() -> Row {
    Row::new("retry-at-once", TIMES)
        .system("raceproof", async |times| {
            let retry = Retry::new();
            repeat(times, async || {
                let result = retry.run_if(|()| raceproof::resilience::retry::Fault::Transient, async || ok()).await;
                result.map_err(|_| anyhow!("failed"))
            })
            .await
        })
        .system("no retry", async |times| repeat(times, async || ok().map_err(|()| anyhow!("failed"))).await)
        .at_most_ns("raceproof", 15.0)
}

/// Retry, breaker, rate limit, concurrency and the time of an attempt, around what succeeds.
fn stack() -> Row {
    Row::new("five-stacked", TIMES / 2)
        .system("raceproof", async |times| {
            let policy = Policy::builder()
                .retry(Retry::new())
                .breaker(breaker())
                .rate_limit(RateLimiter::new(ours(u32::MAX)))
                .concurrency(32, Duration::from_millis(100))
                .attempt_timeout(Duration::from_secs(2))
                .build();
            calls(&policy, times).await
        })
        .at_most_ns("raceproof", 200.0)
}

async fn calls(policy: &Policy, times: usize) -> Result<Sample> {
    let policy = Arc::new(policy.clone());
    repeat(times, async || {
        let result = policy.run_if(|()| raceproof::resilience::retry::Fault::Transient, async || ok()).await;
        result.map_err(|_| anyhow!("failed"))
    })
    .await
}
