//! The room `lock`: L1, L4, L6, L7.

use std::num::NonZeroU32;
use std::sync::Arc;

use raceproof::AcquireError;
use raceproof::lock::{AsyncLock, Locks, Semaphores, Stats};
use shuttle::future::{block_on, spawn, yield_now};
use shuttle::sync::atomic::{AtomicU32, Ordering};

use super::{check, finish, given_up_after, polls};

#[test]
fn l1_a_value_is_lent_to_one_at_a_time() {
    check(|| {
        block_on(async {
            let value = AsyncLock::new(0);
            let tasks = (0..3).map(|task| {
                let value = value.clone().owner(format!("{task}"));
                spawn(async move {
                    for _ in 0..2 {
                        let mut value = value.acquire().await.unwrap();
                        let before = *value;
                        yield_now().await;
                        *value = before + 1;
                    }
                })
            });
            finish(tasks).await;
            assert_eq!(*value.try_acquire().await.unwrap(), 6, "L1: an update was lost");
        });
    });
}

#[test]
fn l1_l4_whoever_gives_up_leaves_the_value_behind() {
    check(|| {
        block_on(async {
            let value = AsyncLock::new(0);
            let tasks = (0..4).map(|task| {
                let value = value.clone().owner(format!("{task}"));
                spawn(async move {
                    let polls = if task == 0 { usize::MAX } else { polls(4) };
                    let Some(guard) = given_up_after(polls, value.acquire()).await else { return 0 };
                    *guard.unwrap() += 1;
                    1
                })
            });
            let visits: u32 = finish(tasks).await.into_iter().sum();
            assert_eq!(*value.try_acquire().await.unwrap(), visits);
            assert_eq!(value.stats(), Stats::default(), "L7: something is left");
        });
    });
}

#[test]
fn l4_no_permit_is_lost_whoever_gives_up() {
    check(|| {
        block_on(async {
            let pools = Semaphores::new(NonZeroU32::new(3).unwrap());
            let out = Arc::new(AtomicU32::new(0));
            let tasks = (0..4_u32).map(|task| {
                let (pool, out) = (pools.semaphore("a").owner(format!("{task}")), Arc::clone(&out));
                spawn(async move {
                    let take = 1 + task % 3;
                    let polls = if task == 0 { usize::MAX } else { polls(4) };
                    let Some(guard) = given_up_after(polls, pool.acquire_many(take)).await else { return };
                    let guard = guard.unwrap();
                    assert!(out.fetch_add(take, Ordering::SeqCst) + take <= 3, "L1: more than there are");
                    yield_now().await;
                    out.fetch_sub(take, Ordering::SeqCst);
                    drop(guard);
                })
            });
            finish(tasks).await;
            drop(pools.semaphore("a").owner("last").take(3).try_acquire().await.expect("L4: a permit is lost"));
            assert_eq!(pools.stats(), Stats::default(), "L7: something is left");
        });
    });
}

#[test]
fn l1_readers_and_writers_of_one_key() {
    check(|| {
        block_on(async {
            let (locks, inside) = (Locks::new(), Arc::new(AtomicU32::new(0)));
            let tasks = (0..4).map(|task| {
                let (lock, inside) = (locks.lock("a").owner(format!("{task}")), Arc::clone(&inside));
                spawn(async move {
                    let (lock, weight) = if task < 2 { (lock.shared(), 1) } else { (lock, 100) };
                    let polls = if task == 3 { polls(4) } else { usize::MAX };
                    let Some(guard) = given_up_after(polls, lock.acquire()).await else { return };
                    let guard = guard.unwrap();
                    let others = inside.fetch_add(weight, Ordering::SeqCst);
                    assert!(others == 0 || (weight == 1 && others < 100), "L1: {weight} beside {others}");
                    yield_now().await;
                    inside.fetch_sub(weight, Ordering::SeqCst);
                    drop(guard);
                })
            });
            finish(tasks).await;
            assert_eq!(locks.stats(), Stats::default(), "L7: something is left");
        });
    });
}

#[test]
fn l6_a_deadlock_is_reported_whole_in_whatever_order_it_comes_about() {
    check(|| {
        block_on(async {
            let locks = Locks::new();
            let met = Arc::new(AtomicU32::new(0));
            let tasks = [("one", "a", "b"), ("two", "b", "a")].map(|(owner, first, second)| {
                let (first, second) = (locks.lock(first).owner(owner), locks.lock(second).owner(owner));
                let (met, watching) = (Arc::clone(&met), locks.clone());
                spawn(async move {
                    let one = first.acquire().await.unwrap();
                    met.fetch_add(1, Ordering::SeqCst);
                    while met.load(Ordering::SeqCst) < 2 {
                        yield_now().await;
                    }
                    assert!(watching.blocked().len() <= 1, "both wait");
                    let refused = match second.acquire().await {
                        Ok(two) => {
                            drop(two);
                            0
                        }
                        Err(AcquireError::Deadlock(deadlock)) => {
                            let [here, there] = deadlock.blocked() else { panic!("{deadlock}") };
                            assert!(here.site.is_some() && there.site.is_some());
                            assert_eq!(there.blockers[0].token, Some(one.token()));
                            assert!(here.blockers[0].token > None && here.blockers[0].site.is_some());
                            1
                        }
                        Err(other) => panic!("{other}"),
                    };
                    drop(one);
                    refused
                })
            });
            let refused: usize = finish(tasks).await.into_iter().sum();
            assert_eq!(refused, 1, "L6: of the two in a cycle, so many were refused");
            let stats = locks.stats();
            assert_eq!((stats.held, stats.waiting, stats.deadlocks), (0, 0, 1));
        });
    });
}
