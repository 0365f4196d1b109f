//! Breakers and policies around calls that are given up: P1, P2.

use std::sync::Arc;
use std::time::Duration;

use raceproof::resilience::breaker::{Breaker, CallError};
use raceproof::resilience::retry::{Budget, Fault};
use raceproof::resilience::{Policy, PolicyError, Retry};
use shuttle::future::{block_on, spawn, yield_now};
use shuttle::sync::atomic::{AtomicU32, Ordering};

use super::{check, given_up_after, polls};

const CALLERS: usize = 3;

/// Calls that are under way, counted down by those that are dropped, too.
#[derive(Default)]
struct UnderWay(AtomicU32);

struct Call<'a>(&'a UnderWay);

impl UnderWay {
    fn begin(&self, most: u32) -> Call<'_> {
        assert!(self.0.fetch_add(1, Ordering::SeqCst) < most, "more than {most} under way");
        Call(self)
    }
}

impl Drop for Call<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

#[test]
fn p1_no_two_probes_are_under_way_whoever_is_given_up() {
    check(|| {
        block_on(async {
            let breaker = Breaker::builder("b").consecutive(1).open_for(Duration::ZERO).build();
            breaker.try_acquire().expect("it is closed").failure();
            let under_way = Arc::new(UnderWay::default());
            let callers: Vec<_> = (0..CALLERS)
                .map(|_| {
                    let (breaker, under_way, polls) = (breaker.clone(), Arc::clone(&under_way), polls(3));
                    spawn(async move {
                        // It fails, so whoever comes next is a probe again.
                        let call = breaker.call(async {
                            let _call = under_way.begin(1);
                            yield_now().await;
                            Err::<(), _>(())
                        });
                        given_up_after(polls, call).await
                    })
                })
                .collect();
            for caller in callers {
                let outcome = caller.await.expect("no caller panics");
                assert!(matches!(outcome, None | Some(Err(CallError::Open(_) | CallError::Failed(())))));
            }
            let probe = breaker.try_acquire().expect("every place is free again");
            probe.success();
        });
    });
}

#[test]
fn p1_p2_a_policy_gives_everything_back_wherever_it_is_given_up() {
    check(|| {
        block_on(async {
            let breaker = Breaker::builder("b").consecutive(2).open_for(Duration::from_millis(1)).build();
            let policy = Policy::builder()
                .timeout(Duration::from_secs(10))
                .retry(Retry::builder().attempts_max(2).build())
                .breaker(breaker.clone())
                .concurrency(1, Duration::from_millis(5))
                .attempt_timeout(Duration::from_millis(50))
                .build();
            let (under_way, made) = (Arc::new(UnderWay::default()), Arc::new(AtomicU32::new(0)));
            let callers: Vec<_> = (0..CALLERS)
                .map(|_| {
                    let (policy, polls) = (policy.clone(), polls(10));
                    let (under_way, made) = (Arc::clone(&under_way), Arc::clone(&made));
                    spawn(async move {
                        let operation = || async {
                            let _call = under_way.begin(1);
                            yield_now().await;
                            let odd = made.fetch_add(1, Ordering::SeqCst) % 2 == 1;
                            if odd { Ok(()) } else { Err("down") }
                        };
                        given_up_after(polls, policy.run_if(|_| Fault::Transient, operation)).await
                    })
                })
                .collect();
            for caller in callers {
                caller.await.expect("no caller panics");
            }
            let stats = policy.stats();
            // One that is given up before it is polled makes no call.
            assert_eq!((stats.running, stats.waiting), (0, 0));
            assert!(stats.calls <= CALLERS as u64 && stats.attempts <= 2 * stats.calls);
            breaker.close();
            let error = policy.run_if(|()| Fault::Permanent, async || Err::<(), _>(())).await;
            assert!(matches!(error, Err(PolicyError::Failed { .. })), "there is room again: {error:?}");
        });
    });
}

#[test]
fn p2_callers_that_fail_together_stay_within_their_budget() {
    check(|| {
        block_on(async {
            let retry = Retry::builder().attempts_max(3).budget(Budget::new(2, 0)).build();
            let calls = Arc::new(AtomicU32::new(0));
            let callers: Vec<_> = (0..CALLERS)
                .map(|_| {
                    let (retry, calls) = (retry.clone(), Arc::clone(&calls));
                    spawn(async move {
                        let attempt = || async {
                            calls.fetch_add(1, Ordering::SeqCst);
                            Err::<(), _>(())
                        };
                        retry.run_if(|()| Fault::Transient, attempt).await
                    })
                })
                .collect();
            for caller in callers {
                caller.await.expect("no caller panics").expect_err("it is down");
            }
            assert_eq!(calls.load(Ordering::SeqCst), CALLERS as u32 + 2);
            assert_eq!((retry.stats().retries, retry.stats().budget), (2, 0));
        });
    });
}
