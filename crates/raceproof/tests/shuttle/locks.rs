//! Locks within one process: L1, L2, L4, L6, L10.

use std::sync::Arc;

use raceproof::wire::Page;
use raceproof::{AcquireError, Raceproof};
use shuttle::future::{JoinHandle, block_on, spawn, yield_now};
use shuttle::rand::Rng;
use shuttle::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::{check, finish, given_up_after, polls};

/// What a lock protects: who is inside, and the last token that was.
#[derive(Default)]
struct Inside {
    taken: AtomicBool,
    last: AtomicU64,
}

impl Inside {
    async fn visit(&self, guard: raceproof::Guard) {
        assert!(!self.taken.swap(true, Ordering::SeqCst), "L1: two are inside");
        let token = guard.token().as_u64();
        assert!(self.last.swap(token, Ordering::SeqCst) < token, "L2: an older token came later");
        yield_now().await;
        assert!(guard.is_valid());
        self.taken.store(false, Ordering::SeqCst);
        drop(guard);
    }
}

async fn assert_unused(rp: &Raceproof) {
    assert!(rp.locks(Page::default()).await.unwrap().locks.is_empty(), "something is left");
    drop(rp.lock("a").owner("last").try_acquire().await.expect("L4: somebody who is gone holds it"));
}

#[test]
fn l1_l2_l10_a_lock_goes_from_hand_to_hand() {
    check(|| {
        block_on(async {
            let (rp, inside) = (Raceproof::local(), Arc::new(Inside::default()));
            let tasks = (0..3).map(|task| {
                let (lock, inside) = (rp.lock("a").owner(format!("{task}")), Arc::clone(&inside));
                spawn(async move {
                    for _ in 0..2 {
                        inside.visit(lock.acquire().await.unwrap()).await;
                    }
                })
            });
            finish(tasks).await;
            assert_unused(&rp).await;
        });
    });
}

#[test]
fn l1_l4_whoever_gives_up_at_any_await_holds_nothing_and_keeps_nobody_out() {
    check(|| {
        block_on(async {
            let (rp, inside) = (Raceproof::local(), Arc::new(Inside::default()));
            let tasks = (0..4).map(|task| {
                let (lock, inside) = (rp.lock("a").owner(format!("{task}")), Arc::clone(&inside));
                spawn(async move {
                    let polls = if task == 0 { usize::MAX } else { polls(4) };
                    if polls == usize::MAX {
                        inside.visit(lock.acquire().await.unwrap()).await;
                    } else if let Some(guard) = given_up_after(polls, lock.acquire()).await {
                        inside.visit(guard.unwrap()).await;
                    }
                })
            });
            finish(tasks).await;
            assert_unused(&rp).await;
        });
    });
}

#[test]
fn l1_l2_l4_the_machine_may_take_over_at_any_moment() {
    check(|| {
        block_on(async {
            let (rp, inside) = (Raceproof::local(), Arc::new(Inside::default()));
            let mut tasks: Vec<JoinHandle<()>> = (0..3)
                .map(|task| {
                    let (lock, inside) = (rp.lock("a").owner(format!("{task}")), Arc::clone(&inside));
                    spawn(async move {
                        let polls = shuttle::rand::thread_rng().gen_range(1..4);
                        let guard = if task == 0 {
                            given_up_after(polls, lock.acquire()).await
                        } else {
                            Some(lock.acquire().await)
                        };
                        if let Some(guard) = guard {
                            inside.visit(guard.unwrap()).await;
                        }
                    })
                })
                .collect();
            let looking = rp.clone();
            tasks.push(spawn(async move {
                for _ in 0..2 {
                    let seen = looking.lock_info("a").await.unwrap();
                    assert!(seen.holders.len() <= 1, "L1: two hold it");
                    yield_now().await;
                }
            }));
            finish(tasks).await;
            assert_unused(&rp).await;
        });
    });
}

#[test]
fn l6_of_a_cycle_exactly_one_is_refused() {
    check(|| {
        block_on(async {
            let rp = Raceproof::local();
            let met = Arc::new(AtomicU64::new(0));
            let tasks = [("one", "a", "b"), ("two", "b", "a")].map(|(owner, first, second)| {
                let (first, second) = (rp.lock(first).owner(owner), rp.lock(second).owner(owner));
                let met = Arc::clone(&met);
                spawn(async move {
                    let one = first.acquire().await.unwrap();
                    met.fetch_add(1, Ordering::SeqCst);
                    while met.load(Ordering::SeqCst) < 2 {
                        yield_now().await;
                    }
                    let refused = match second.acquire().await {
                        Ok(two) => {
                            drop(two);
                            0
                        }
                        Err(AcquireError::Deadlock(problem)) => {
                            assert_eq!(problem.cycle.len(), 2);
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
            assert_unused(&rp).await;
        });
    });
}

#[test]
fn l6_a_cycle_through_a_queue_is_found_whichever_wait_comes_last() {
    check(|| {
        block_on(async {
            let rp = Raceproof::local();
            // `a` passes from zero to one or to two, and whoever of them has it wants `b` next, of three, who wants `a`.
            let zero = rp.lock("a").owner("zero").acquire().await.unwrap();
            let b = rp.lock("b").owner("three").acquire().await.unwrap();
            let mut tasks: Vec<JoinHandle<usize>> = ["one", "two"]
                .into_iter()
                .map(|owner| {
                    let (a, b) = (rp.lock("a").owner(owner), rp.lock("b").owner(owner));
                    spawn(async move {
                        let one = match a.acquire().await {
                            Ok(guard) => guard,
                            Err(AcquireError::Deadlock(_)) => return 1,
                            Err(other) => panic!("{other}"),
                        };
                        let refused = usize::from(matches!(b.acquire().await, Err(AcquireError::Deadlock(_))));
                        drop(one);
                        refused
                    })
                })
                .collect();
            let a = rp.lock("a").owner("three");
            tasks.push(spawn(async move {
                let refused = usize::from(matches!(a.acquire().await, Err(AcquireError::Deadlock(_))));
                drop(b);
                refused
            }));
            drop(zero);
            // That it ends is the proof: shuttle fails a test whose tasks all wait.
            finish(tasks).await;
            assert_unused(&rp).await;
        });
    });
}
