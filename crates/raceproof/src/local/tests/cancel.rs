//! Futures that are dropped, forgotten or polled late (L4).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake};
use std::time::Duration;

use super::{PATIENCE, assert_empty, inner, poll_once, waiting};
use crate::{AcquireError, Guard, Raceproof};

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
    // In a queue, and in the machine.
    for priority in [0, 1] {
        let rp = Raceproof::local();
        let guard = rp.lock("a").acquire().await.unwrap();
        let lock = rp.lock("a").owner("asleep").priority(priority);
        let mut asleep = Box::pin(lock.acquire());
        assert!(poll_once(&mut asleep).is_pending());
        let next = waiting(rp.lock("a").owner("next").priority(priority)).await;
        let began = tokio::time::Instant::now();
        drop(guard);
        drop(next.await.unwrap().expect("it passed on"));
        let took = began.elapsed();
        assert!((Duration::from_secs(5)..Duration::from_secs(6)).contains(&took), "took {took:?}");
        assert!(matches!(asleep.await, Err(AcquireError::Unclaimed)));
        assert_empty(&rp);
    }
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
    let other = rp.election("other").campaign("y").await.unwrap();
    let told = Arc::new(AtomicBool::new(false));
    let tell = Arc::clone(&told);
    other.on_loss(move |_| tell.store(true, Ordering::SeqCst));
    local.close();
    assert!(!leadership.is_valid() && told.load(Ordering::SeqCst), "the panic kept others from being told");
}

/// A waker that owns a guard, as an executor's task may.
struct Owning(#[expect(dead_code, reason = "it is dropped with the waker")] Option<Guard>);

impl Wake for Owning {
    fn wake(self: Arc<Self>) {}
}

/// Outside a runtime, where no timer keeps a second copy of the waker.
#[test]
fn l4_a_waker_that_owns_a_guard_may_go_at_any_point() {
    let (done, finished) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let rp = Raceproof::local();
        let guard = at_once(rp.lock("a").acquire());
        let lock = rp.lock("a").owner("waits");
        let mut wait = Box::pin(lock.acquire());
        for polls in 0..3 {
            // The machine's own lock is needed to give this one back.
            let owned = at_once(rp.lock_all([format!("b{polls}"), format!("c{polls}")]).acquire());
            let waker = Arc::new(Owning(Some(owned))).into();
            assert!(wait.as_mut().poll(&mut Context::from_waker(&waker)).is_pending(), "poll {polls}");
        }
        drop(wait);
        drop(guard);
        assert_empty(&rp);
        done.send(()).unwrap();
    });
    finished.recv_timeout(PATIENCE).expect("it locked itself out");
}

fn at_once(acquire: impl Future<Output = Result<Guard, AcquireError>>) -> Guard {
    match poll_once(&mut Box::pin(acquire)) {
        Poll::Ready(guard) => guard.unwrap(),
        Poll::Pending => panic!("it waits"),
    }
}

#[tokio::test]
async fn l2_tokens_that_were_set_aside_and_not_used_are_given_later() {
    let rp = Raceproof::local();
    for expected in 1..50 {
        drop(rp.lock_all(["a", "b"]).try_acquire().await.unwrap());
        assert_eq!(rp.lock("a").try_acquire().await.unwrap().token().as_u64(), 2 * expected);
    }
}
