//! Waits that are served without the machine, and what happens when the machine takes them over.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::Poll;
use std::time::Duration;

use raceproof_core::local::WAITERS_MAX;
use raceproof_core::wire::Code;

use super::{PATIENCE, assert_empty, inner, poll_once, queued, waiting};
use crate::{AcquireError, Guard, Raceproof};

type Acquiring<'a> = std::pin::Pin<Box<dyn Future<Output = Result<Guard, AcquireError>> + Send + 'a>>;

fn is_ready(wait: &mut Acquiring<'_>) -> Option<Result<Guard, AcquireError>> {
    match poll_once(wait) {
        Poll::Ready(result) => Some(result),
        Poll::Pending => None,
    }
}

#[tokio::test]
async fn l3_the_queue_is_served_in_order_without_the_machine() {
    let rp = Raceproof::local();
    let lock = rp.lock("a").detached();
    let mut held = Some(lock.acquire().await.unwrap());
    let mut waits: Vec<Acquiring<'_>> = (0..5).map(|_| Box::pin(lock.acquire()) as Acquiring<'_>).collect();
    assert!(waits.iter_mut().all(|wait| is_ready(wait).is_none()));
    assert_eq!((queued(&rp), inner(&rp).lock().machine.pending()), (5, 0));
    for next in 0..5 {
        let token = held.take().map(|guard| guard.token());
        for (place, wait) in waits.iter_mut().enumerate().skip(next).rev() {
            let result = is_ready(wait);
            assert_eq!(result.is_some(), place == next, "{place} at the turn of {next}");
            held = held.or_else(|| result.map(Result::unwrap));
        }
        assert!(held.as_ref().map(Guard::token) > token);
        assert!(rp.lock("a").detached().acquire().now_or_never().is_none(), "it came between");
    }
    assert!(held.unwrap().release().await.is_ok());
    drop(waits);
    assert_empty(&rp);
}

pub(super) trait NowOrNever: Future + Sized {
    fn now_or_never(self) -> Option<Self::Output> {
        match poll_once(&mut Box::pin(self)) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }
}

impl<F: Future> NowOrNever for F {}

#[tokio::test]
async fn l3_the_machine_takes_a_queue_over_in_its_order() {
    let rp = Raceproof::local();
    let guard = rp.lock("a").acquire().await.unwrap();
    let mut waiters = Vec::new();
    for _ in 0..4 {
        waiters.push(waiting(rp.lock("a")).await);
    }
    assert_eq!(queued(&rp), 4);
    let seen = rp.lock_info("a").await.unwrap();
    assert_eq!((seen.holders.len(), seen.waiters_count), (1, 4));
    assert_eq!(queued(&rp), 0);
    waiters.push(waiting(rp.lock("a")).await);
    let mut last = Some(guard.token());
    drop(guard);
    for waiter in waiters {
        let guard = waiter.await.unwrap().unwrap();
        assert!(last < Some(guard.token()), "overtaken");
        last = Some(guard.token());
    }
    assert_empty(&rp);
}

#[tokio::test]
async fn l2_the_thief_of_a_contended_lock_leaves_the_next_a_greater_token() {
    let rp = Raceproof::local();
    let guard = rp.lock("a").acquire().await.unwrap();
    let next = waiting(rp.lock("a")).await;
    assert_eq!(queued(&rp), 1);
    assert_eq!(rp.steal("a").await.unwrap(), [guard.token()]);
    let next = next.await.unwrap().unwrap();
    assert!(next.token() > guard.token() && !guard.is_valid());
    drop((guard, next));
    assert_empty(&rp);
}

#[tokio::test]
async fn l4_whoever_gives_up_at_any_moment_leaves_nothing() {
    // Before and after the grant was handed over, in the queue and in the machine, with and without others behind.
    for case in 0..8 {
        let (granted, taken_over, behind) = (case & 1 != 0, case & 2 != 0, case & 4 != 0);
        let rp = Raceproof::local();
        let lock = rp.lock("a").detached();
        let mut guard = Some(lock.acquire().await.unwrap());
        let mut first: Acquiring<'_> = Box::pin(lock.acquire());
        assert!(is_ready(&mut first).is_none());
        let mut second: Acquiring<'_> = Box::pin(lock.acquire());
        if behind {
            assert!(is_ready(&mut second).is_none());
        }
        if granted {
            guard = None;
        }
        if taken_over {
            assert_eq!(rp.lock_info("a").await.unwrap().holders.len(), 1);
        }
        drop(first);
        drop(guard);
        drop(is_ready(&mut second).expect("nobody holds it").unwrap());
        drop(second);
        assert_empty(&rp);
    }
}

#[tokio::test]
async fn l4_a_grant_that_was_handed_over_survives_the_machine() {
    let rp = Raceproof::local();
    let lock = rp.lock("a").detached();
    let guard = lock.acquire().await.unwrap();
    let mut wait: Acquiring<'_> = Box::pin(lock.acquire());
    assert!(is_ready(&mut wait).is_none());
    let token = guard.token();
    drop(guard);
    let seen = rp.lock_info("a").await.unwrap();
    let guard = is_ready(&mut wait).expect("it was handed over").unwrap();
    assert_eq!(seen.holders[0].token, guard.token());
    assert!(guard.token() > token && guard.is_valid());
    assert_eq!(guard.names(), [Arc::from("a")]);
    drop((guard, wait));
    assert_empty(&rp);
}

#[tokio::test(start_paused = true)]
async fn l4_whoever_claims_too_late_is_told_so_with_and_without_others() {
    for behind in [false, true] {
        let rp = Raceproof::local();
        let lock = rp.lock("a").detached();
        let guard = lock.acquire().await.unwrap();
        let mut asleep: Acquiring<'_> = Box::pin(lock.acquire());
        assert!(is_ready(&mut asleep).is_none());
        let next = if behind { Some(waiting(rp.lock("a")).await) } else { None };
        drop(guard);
        let began = tokio::time::Instant::now();
        match next {
            Some(next) => drop(next.await.unwrap().unwrap()),
            None => tokio::time::sleep(Duration::from_millis(5_600)).await,
        }
        let took = began.elapsed();
        assert!((Duration::from_secs(5)..Duration::from_secs(6)).contains(&took), "took {took:?}");
        drop(rp.lock("a").try_acquire().await.expect("it passed on"));
        assert!(matches!(asleep.await, Err(AcquireError::Unclaimed)));
        assert_empty(&rp);
    }
}

#[tokio::test(start_paused = true)]
async fn l4_a_wait_with_a_limit_is_served_or_ends_in_the_queue() {
    let rp = Raceproof::local();
    let guard = rp.lock("a").acquire().await.unwrap();
    let served = waiting(rp.lock("a").wait(Duration::from_secs(60))).await;
    let began = tokio::time::Instant::now();
    let late = waiting(rp.lock("a").wait(Duration::from_secs(2))).await;
    assert_eq!(queued(&rp), 2);
    let Err(AcquireError::TimedOut(problem)) = late.await.unwrap() else { panic!("it is held") };
    let took = began.elapsed();
    assert!((Duration::from_secs(2)..Duration::from_millis(2_005)).contains(&took), "took {took:?}");
    assert_eq!(problem.holders[0].token, guard.token());
    let age = problem.holders[0].age_ms;
    assert!((1_500..2_100).contains(&age), "held for {age} ms");
    drop(guard);
    drop(served.await.unwrap().expect("it had time"));
    assert_empty(&rp);
}

#[tokio::test(start_paused = true)]
async fn l4_a_limit_goes_with_the_wait_to_the_machine() {
    let rp = Raceproof::local();
    let guard = rp.lock("a").acquire().await.unwrap();
    let began = tokio::time::Instant::now();
    let late = waiting(rp.lock("a").wait(Duration::from_millis(300))).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(rp.lock_info("a").await.unwrap().waiters_count, 1);
    assert_eq!(queued(&rp), 0);
    assert!(matches!(late.await.unwrap(), Err(AcquireError::TimedOut(_))));
    let took = began.elapsed();
    assert!((Duration::from_millis(300)..Duration::from_millis(305)).contains(&took), "took {took:?}");
    drop(guard);
    assert_empty(&rp);
}

#[test]
fn l4_a_wait_outlives_the_runtime_that_watched_claims() {
    let rp = Raceproof::local();
    let lock = rp.lock("a").detached();
    let guard = lock.acquire().now_or_never().unwrap().unwrap();
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let mut asleep: Acquiring<'_> = Box::pin(lock.acquire());
    let first = runtime();
    first.block_on(async { assert!(is_ready(&mut asleep).is_none()) });
    drop(first);
    runtime().block_on(async {
        let next = waiting(rp.lock("a")).await;
        drop(guard);
        drop(next.await.unwrap().expect("nobody watched"));
    });
    assert!(matches!(is_ready(&mut asleep), Some(Err(AcquireError::Unclaimed))));
}

#[test]
fn l4_whoever_waits_when_the_runtime_that_watched_claims_ends_has_them_watched_again() {
    // In a queue, and in the machine.
    for priority in [0, 1] {
        let rp = Raceproof::local();
        let lock = rp.lock("a").detached().priority(priority);
        let guard = lock.acquire().now_or_never().unwrap().unwrap();
        let first = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let second = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let mut asleep: Acquiring<'_> = Box::pin(lock.acquire());
        first.block_on(async { assert!(is_ready(&mut asleep).is_none()) });
        let next = second.block_on(waiting(lock.clone()));
        drop(guard);
        drop(first);
        second.block_on(async { drop(next.await.unwrap().expect("nobody watches")) });
        assert!(matches!(is_ready(&mut asleep), Some(Err(AcquireError::Unclaimed))));
        assert_empty(&rp);
    }
}

#[tokio::test]
async fn l6_a_cycle_is_found_through_a_hand_over() {
    let rp = Raceproof::local();
    let a = rp.lock("a").owner("one").acquire().await.unwrap();
    let b = rp.lock("b").owner("two").acquire().await.unwrap();
    // `a` passes to three while four waits for it; then three waits for `b`, and two, which holds it, for `a`.
    let three = waiting(rp.lock("a").owner("three")).await;
    let four = waiting(rp.lock("a").owner("four")).await;
    assert_eq!(queued(&rp), 2);
    drop(a);
    let a = three.await.unwrap().unwrap();
    let three = waiting(rp.lock("b").owner("three")).await;
    let lock = rp.lock("a").owner("two");
    let two = lock.acquire();
    let Err(AcquireError::Deadlock(problem)) = tokio::time::timeout(PATIENCE, two).await.expect("no cycle") else {
        panic!("no cycle")
    };
    assert!(problem.cycle.len() >= 2, "{problem}");
    drop(b);
    drop(three.await.unwrap().unwrap());
    drop(a);
    drop(four.await.unwrap().unwrap());
    assert_empty(&rp);
}

#[tokio::test]
async fn l6_converging_waits_stay_out_of_the_machine() {
    let rp = Raceproof::local();
    let a = rp.lock("a").owner("one").acquire().await.unwrap();
    let b = rp.lock("b").owner("one").acquire().await.unwrap();
    let two = waiting(rp.lock("a").owner("two")).await;
    let three = waiting(rp.lock("b").owner("three")).await;
    let four = waiting(rp.lock("a").owner("four")).await;
    assert_eq!(queued(&rp), 3);
    drop((a, b));
    for waiter in [two, three, four] {
        drop(waiter.await.unwrap().unwrap());
    }
    assert_empty(&rp);
}

/// Everybody takes two of three locks, in any order, and begins again when told of a deadlock.
async fn dine(rp: Raceproof, seed: u64, inside: Arc<[AtomicUsize; 3]>) -> usize {
    const NAMES: [&str; 3] = ["a", "b", "c"];
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut refused = 0;
    for _ in 0..300 {
        let first = rng.usize(..3);
        let second = (first + 1 + rng.usize(..2)) % 3;
        let one = match rp.lock(NAMES[first]).acquire().await {
            Ok(guard) => guard,
            Err(other) => panic!("who holds nothing is never part of a cycle: {other}"),
        };
        assert_eq!(inside[first].fetch_add(1, Ordering::SeqCst), 0);
        if rng.bool() {
            tokio::task::yield_now().await;
        }
        match rp.lock(NAMES[second]).acquire().await {
            Ok(two) => {
                assert_eq!(inside[second].fetch_add(1, Ordering::SeqCst), 0);
                inside[second].fetch_sub(1, Ordering::SeqCst);
                drop(two);
            }
            Err(AcquireError::Deadlock(_)) => refused += 1,
            Err(other) => panic!("{other}"),
        }
        inside[first].fetch_sub(1, Ordering::SeqCst);
        drop(one);
    }
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn l1_l6_nobody_starves_at_the_table_and_no_cycle_stays_hidden() {
    let rp = Raceproof::local();
    let mut refused = 0;
    for round in 0..10 {
        let inside = Arc::default();
        let mut set = tokio::task::JoinSet::new();
        for task in 0..4 {
            set.spawn(dine(rp.clone(), round * 10 + task, Arc::clone(&inside)));
        }
        while let Some(result) = tokio::time::timeout(PATIENCE, set.join_next()).await.expect("a hidden cycle") {
            refused += result.unwrap();
        }
        assert_empty(&rp);
    }
    assert!(refused > 0, "nobody ever met");
}

#[tokio::test]
async fn l7_those_who_gave_up_leave_no_memory_in_a_long_queue() {
    let rp = Raceproof::local();
    let lock = rp.lock("a").detached();
    let guard = lock.acquire().await.unwrap();
    let mut waits: Vec<Acquiring<'_>> = Vec::new();
    for _ in 0..1_000 {
        let mut wait: Acquiring<'_> = Box::pin(lock.acquire());
        assert!(is_ready(&mut wait).is_none());
        waits.push(wait);
    }
    assert!(inner(&rp).shards.places() >= 1_000);
    let last = waits.pop();
    drop(waits);
    assert_eq!(queued(&rp), 1);
    assert!(inner(&rp).shards.places() <= 64, "{} places are kept", inner(&rp).shards.places());
    drop(last);
    assert_eq!(queued(&rp), 0);
    drop(guard);
    assert_empty(&rp);
}

#[tokio::test]
async fn a_quarter_of_a_million_wait_in_a_queue_and_one_more_is_refused() {
    let rp = Raceproof::local();
    let lock = rp.lock("a").detached();
    let guard = lock.acquire().await.unwrap();
    let mut waits: Vec<Acquiring<'_>> = (0..250_000).map(|_| Box::pin(lock.acquire()) as Acquiring<'_>).collect();
    assert!(waits.iter_mut().all(|wait| is_ready(wait).is_none()));
    assert_eq!((queued(&rp), inner(&rp).lock().machine.pending()), (250_000, 0));
    let Some(Err(AcquireError::Refused(problem))) = lock.acquire().now_or_never() else { panic!("not refused") };
    assert_eq!(problem.code, Code::TooManyWaiters);
    // The machine had to say so, and has the queue, in its order.
    assert_eq!((queued(&rp), inner(&rp).lock().machine.pending()), (0, 250_000));
    let mut held = guard;
    for wait in &mut waits[..3] {
        assert!(is_ready(wait).is_none(), "the one before holds it");
        let before = held.token();
        drop(held);
        held = is_ready(wait).expect("its turn").unwrap();
        assert!(held.token() > before);
    }
    drop(waits);
    drop(held);
    assert_empty(&rp);
}

#[tokio::test]
async fn those_who_wait_in_queues_and_in_the_machine_share_one_limit() {
    let rp = Raceproof::local();
    let local = inner(&rp);
    let (a, b) = (rp.lock("a").detached(), rp.lock("b").detached().priority(1));
    let held = (a.acquire().await.unwrap(), b.acquire().await.unwrap());
    // As if so many waited in queues: one may wait in the machine, and no second one.
    local.shards.waiting.fetch_add(WAITERS_MAX - 1, Ordering::SeqCst);
    let waits = waiting(b.clone()).await;
    let Some(Err(AcquireError::Refused(problem))) = b.acquire().now_or_never() else { panic!("not refused") };
    assert_eq!(problem.code, Code::TooManyWaiters);
    local.shards.waiting.fetch_sub(WAITERS_MAX - 1, Ordering::SeqCst);
    // And one in a queue, and no second one, if so many waited in the machine.
    local.shards.waiting_elsewhere.store(WAITERS_MAX - 1, Ordering::SeqCst);
    let first = waiting(a.clone()).await;
    assert_eq!(queued(&rp), 1);
    let second = waiting(a.clone()).await;
    assert_eq!(queued(&rp), 0, "the machine, which says who is one too many, was not asked");
    drop(held);
    for wait in [waits, first, second] {
        drop(wait.await.unwrap().unwrap());
    }
    assert_empty(&rp);
}
