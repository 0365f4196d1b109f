//! Futures that are dropped, forgotten or polled late (L4).

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use super::{assert_empty, inner, poll_once, waiting};
use crate::{AcquireError, Raceproof};

#[tokio::test]
async fn l4_a_cancelled_waiter_is_passed_over() {
    let rp = Raceproof::local();
    let guard = rp.lock("a").acquire().await.unwrap();
    let lock = rp.lock("a").owner("cancelled");
    let mut cancelled = Box::pin(lock.acquire());
    assert!(poll_once(&mut cancelled).is_pending());
    let next = waiting(rp.lock("a").owner("next")).await;
    drop(cancelled);
    drop(guard);
    drop(next.await.unwrap().unwrap());
    assert_empty(&rp);
}

#[tokio::test]
async fn l4_a_waiter_cancelled_after_its_grant_was_made_passes_it_on() {
    let rp = Raceproof::local();
    let guard = rp.lock("a").acquire().await.unwrap();
    let lock = rp.lock("a").owner("cancelled");
    let mut granted = Box::pin(lock.acquire());
    assert!(poll_once(&mut granted).is_pending());
    let next = waiting(rp.lock("a").owner("next")).await;
    drop(guard);
    assert_eq!(rp.lock_info("a").await.unwrap().holders.len(), 1, "the grant was made");
    tokio::task::yield_now().await;
    assert!(!next.is_finished(), "it is not the second waiter's");
    drop(granted);
    drop(next.await.unwrap().unwrap());
    assert_empty(&rp);
}

#[tokio::test]
async fn l4_a_future_that_is_never_polled_asks_for_nothing() {
    let rp = Raceproof::local();
    let lock = rp.lock("a");
    let unpolled = lock.acquire();
    drop(rp.lock("a").try_acquire().await.unwrap());
    drop(unpolled);
    assert_empty(&rp);
}

#[tokio::test(start_paused = true)]
async fn l4_a_grant_that_nobody_claims_passes_on() {
    let rp = Raceproof::local();
    let guard = rp.lock("a").acquire().await.unwrap();
    let lock = rp.lock("a").owner("asleep");
    let mut asleep = Box::pin(lock.acquire());
    assert!(poll_once(&mut asleep).is_pending());
    let next = waiting(rp.lock("a").owner("next")).await;
    let began = tokio::time::Instant::now();
    drop(guard);
    drop(next.await.unwrap().expect("it passed on"));
    let took = began.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(6)).contains(&took), "took {took:?}");
    assert!(matches!(asleep.await, Err(AcquireError::Unclaimed)));
    assert_empty(&rp);
}

#[tokio::test(start_paused = true)]
async fn l4_a_future_that_is_polled_late_but_in_time_holds() {
    let rp = Raceproof::local();
    let guard = rp.lock("a").acquire().await.unwrap();
    let lock = rp.lock("a").owner("slow");
    let mut slow = Box::pin(lock.acquire());
    assert!(poll_once(&mut slow).is_pending());
    drop(guard);
    tokio::time::sleep(Duration::from_secs(4)).await;
    let guard = slow.await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(guard.is_valid(), "only what is not claimed passes on");
    assert!(rp.lock("a").try_acquire().await.is_err());
}

#[tokio::test]
async fn l4_a_grant_of_several_names_is_given_back_whole() {
    let rp = Raceproof::local();
    let a = rp.lock("a").owner("one").acquire().await.unwrap();
    let lock = rp.lock_all(["a", "b"]).owner("both");
    let mut both = Box::pin(lock.acquire());
    assert!(poll_once(&mut both).is_pending());
    let behind = waiting(rp.lock("b").owner("behind")).await;
    drop(both);
    drop(behind.await.unwrap().unwrap());
    drop(a);
    assert_empty(&rp);
}

#[tokio::test]
async fn l4_a_holder_that_panics_gives_back() {
    let rp = Raceproof::local();
    let handle = rp.clone();
    let task = tokio::spawn(async move {
        let _guards = (handle.lock("a").acquire().await, handle.lock("b").shared().acquire().await);
        panic!("while holding");
    });
    assert!(task.await.unwrap_err().is_panic());
    drop(rp.lock("a").try_acquire().await.unwrap());
    drop(rp.lock("b").try_acquire().await.unwrap());
    assert_empty(&rp);
}

#[tokio::test]
async fn a_hook_that_panics_leaves_the_coordinator_whole() {
    let rp = Raceproof::local();
    let leadership = rp.election("e").campaign("x").await.unwrap();
    leadership.on_loss(|_| panic!("in a hook"));
    let local = inner(&rp);
    let caught = std::panic::catch_unwind(AssertUnwindSafe(|| local.close()));
    assert!(caught.is_err());
    assert!(!leadership.is_valid());
    drop(Arc::clone(&local));
}
