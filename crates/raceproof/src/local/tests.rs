//! The handles of one process, driven from many tasks and threads.

mod beside;
mod cancel;
mod election;
mod model;
mod oracle;
mod queue;
mod threads;
mod wakes;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use raceproof_core::wire::{Code, LostReason, Page};
use tokio::task::JoinHandle;

use super::Local;
use crate::coordinator::Coordinator;
use crate::{AcquireError, Guard, Lock, Raceproof, ReleaseError};

/// Longer than anything here takes on a busy machine.
pub(super) const PATIENCE: Duration = Duration::from_secs(20);

pub(super) fn inner(rp: &Raceproof) -> Arc<Local> {
    match &rp.coordinator {
        Coordinator::Local(local) => Arc::clone(local),
        #[cfg(feature = "client")]
        Coordinator::Server(_) => panic!("not a local handle"),
    }
}

/// Asserts that nothing at all is remembered (L7).
pub(super) fn assert_empty(rp: &Raceproof) {
    assert_eq!(inner(rp).remembered(), 0, "something was left behind");
}

/// A wait in a task of its own, which has reached its place in the queue.
pub(super) async fn waiting(lock: Lock) -> JoinHandle<Result<Guard, AcquireError>> {
    let local = inner(lock.coordinator());
    let before = local.waits();
    let task = tokio::spawn(async move {
        let acquired = tokio::time::timeout(PATIENCE, lock.acquire()).await;
        acquired.expect("it waits for ever")
    });
    while local.waits() == before {
        tokio::task::yield_now().await;
    }
    task
}

/// How many wait without the machine.
pub(super) fn queued(rp: &Raceproof) -> usize {
    inner(rp).shards.waiting()
}

pub(super) fn poll_once<F: Future + ?Sized>(future: &mut Pin<Box<F>>) -> Poll<F::Output> {
    future.as_mut().poll(&mut Context::from_waker(Waker::noop()))
}

#[tokio::test]
async fn l1_a_held_lock_is_refused_and_names_its_holder() {
    let rp = Raceproof::local();
    let guard = rp.lock("a").acquire().await.unwrap();
    let Err(AcquireError::Held(problem)) = rp.lock("a").try_acquire().await else { panic!("it is held") };
    assert_eq!(problem.code, Code::LockHeld);
    assert_eq!(problem.holders.len(), 1);
    assert_eq!(problem.holders[0].token, guard.token());
    let other = rp.lock("b").try_acquire().await.unwrap();
    drop((guard, other));
    drop(rp.lock("a").try_acquire().await.expect("it was given back"));
    assert_empty(&rp);
}

#[tokio::test]
async fn l2_tokens_increase_over_all_names_and_both_paths() {
    let rp = Raceproof::local();
    let mut last = 0;
    for round in 0..200 {
        let lock = rp.lock(format!("name {}", round % 3));
        let guard = match round % 4 {
            0 => lock.shared().acquire().await,
            1 => rp.lock_all(["x", "y"]).acquire().await,
            2 => rp.semaphore("pool", 3).acquire().await,
            _ => lock.acquire().await,
        }
        .unwrap();
        assert!(guard.token().as_u64() > last, "round {round}");
        last = guard.token().as_u64();
    }
}

#[tokio::test]
async fn l2_the_grant_that_follows_a_wait_has_a_greater_token() {
    let rp = Raceproof::local();
    let first = rp.lock("a").acquire().await.unwrap();
    let waiter = waiting(rp.lock("a")).await;
    let elsewhere = rp.lock("b").acquire().await.unwrap();
    let token = first.token();
    drop(first);
    let second = waiter.await.unwrap().unwrap();
    assert!(second.token() > token && second.token() != elsewhere.token());
}

#[tokio::test]
async fn l3_waiters_are_served_in_the_order_they_came() {
    let rp = Raceproof::local();
    let guard = rp.lock("a").acquire().await.unwrap();
    let mut waiters = Vec::new();
    for _ in 0..8 {
        waiters.push(waiting(rp.lock("a")).await);
    }
    drop(guard);
    let mut last = None;
    for waiter in waiters {
        let guard = waiter.await.unwrap().unwrap();
        assert!(last < Some(guard.token()), "overtaken");
        last = Some(guard.token());
    }
}

#[tokio::test]
async fn l3_shared_holders_do_not_starve_an_exclusive_one() {
    let rp = Raceproof::local();
    let reader = rp.lock("a").shared().acquire().await.unwrap();
    let other = rp.lock("a").shared().try_acquire().await.expect("two may read");
    let writer = waiting(rp.lock("a")).await;
    let refused = rp.lock("a").shared().try_acquire().await;
    assert!(matches!(refused, Err(AcquireError::Held(_))), "a reader may not overtake the writer");
    drop((reader, other));
    drop(writer.await.unwrap().unwrap());
    assert_empty(&rp);
}

#[tokio::test]
async fn l3_a_higher_priority_is_served_first() {
    let rp = Raceproof::local();
    let guard = rp.lock("a").acquire().await.unwrap();
    let low = waiting(rp.lock("a")).await;
    let high = waiting(rp.lock("a").priority(1)).await;
    drop(guard);
    let high = high.await.unwrap().unwrap();
    assert!(!low.is_finished());
    let token = high.token();
    drop(high);
    assert!(low.await.unwrap().unwrap().token() > token);
}

#[tokio::test]
async fn a_semaphore_gives_as_many_permits_as_it_has() {
    let rp = Raceproof::local();
    let two = rp.semaphore("db", 3).take(2).acquire().await.unwrap();
    let one = rp.semaphore("db", 3).try_acquire().await.unwrap();
    assert!(matches!(rp.semaphore("db", 3).try_acquire().await, Err(AcquireError::Held(_))));
    let Err(AcquireError::Refused(problem)) = rp.semaphore("db", 4).try_acquire().await else { panic!("another size") };
    assert_eq!(problem.code, Code::PermitsMismatch);
    let Err(AcquireError::Refused(problem)) = rp.lock("db").try_acquire().await else { panic!("another kind") };
    assert_eq!(problem.code, Code::PermitsMismatch);
    drop(two);
    drop(rp.semaphore("db", 3).take(2).try_acquire().await.unwrap());
    drop(one);
    assert_empty(&rp);
}

#[tokio::test]
async fn l6_several_names_are_taken_all_or_none() {
    let rp = Raceproof::local();
    let b = rp.lock("b").acquire().await.unwrap();
    assert!(rp.lock_all(["a", "b", "c"]).try_acquire().await.is_err());
    let a = rp.lock("a").try_acquire().await.expect("nothing was taken of it");
    let all = waiting(rp.lock_all(["a", "b", "c"])).await;
    drop(b);
    assert!(!all.is_finished(), "`a` is still held");
    drop(a);
    let all = all.await.unwrap().unwrap();
    assert_eq!(all.names().len(), 3);
    assert!(rp.lock("c").try_acquire().await.is_err());
    drop(all);
    assert_empty(&rp);
}

#[tokio::test]
async fn l6_a_cycle_is_refused_to_whoever_closes_it() {
    let rp = Raceproof::local();
    let a = rp.lock("a").owner("one").acquire().await.unwrap();
    let b = rp.lock("b").owner("two").acquire().await.unwrap();
    let one = waiting(rp.lock("b").owner("one")).await;
    let Err(AcquireError::Deadlock(problem)) = rp.lock("a").owner("two").acquire().await else { panic!("no cycle") };
    assert_eq!(problem.cycle.len(), 2, "{problem}");
    drop(b);
    drop(one.await.unwrap().expect("only the newcomer is refused"));
    drop(a);
    assert_empty(&rp);
}

#[tokio::test]
async fn l6_a_task_that_waits_for_itself_is_told_so() {
    let rp = Raceproof::local();
    let guard = rp.lock("a").acquire().await.unwrap();
    assert!(matches!(rp.lock("a").acquire().await, Err(AcquireError::Deadlock(_))));
    drop(guard);
    assert_empty(&rp);
}

#[tokio::test(start_paused = true)]
async fn l4_a_wait_that_times_out_leaves_the_queue() {
    let rp = Raceproof::local();
    let guard = rp.lock("a").acquire().await.unwrap();
    let began = tokio::time::Instant::now();
    let lock = rp.lock("a").detached().wait(Duration::from_millis(250));
    let waited = tokio::time::timeout(PATIENCE, lock.acquire()).await.expect("it waits for ever");
    let Err(AcquireError::TimedOut(problem)) = waited else { panic!("{waited:?}") };
    assert_eq!(problem.holders[0].token, guard.token());
    let took = began.elapsed();
    assert!((Duration::from_millis(250)..Duration::from_millis(255)).contains(&took), "took {took:?}");
    drop(guard);
    assert_empty(&rp);
}

#[tokio::test]
async fn lost_tells_of_a_release_and_of_a_theft() {
    let rp = Raceproof::local();
    let guard = rp.lock("a").acquire().await.unwrap();
    assert!(guard.is_valid() && guard.lost_reason().is_none());
    let lost = guard.lost();
    guard.release().await.unwrap();
    assert_eq!(lost.await, LostReason::Released);

    let stolen = rp.lock("a").acquire().await.unwrap();
    let lost = stolen.lost();
    assert_eq!(rp.steal("a").await.unwrap(), [stolen.token()]);
    assert_eq!(lost.await, LostReason::Stolen);
    assert!(!stolen.is_valid());
    assert_eq!(stolen.lost_reason(), Some(LostReason::Stolen));
    assert_eq!(stolen.lost().await, LostReason::Stolen, "asked afterwards");
    let next = rp.lock("a").try_acquire().await.expect("it was stolen");
    assert!(matches!(stolen.release().await, Err(ReleaseError::Lost(LostReason::Stolen))));
    assert!(next.is_valid(), "the thief's victim gave back what is not its own");
    drop(next);
    assert_empty(&rp);
}

#[tokio::test]
async fn whether_a_guard_is_valid_is_known_without_the_machine_until_one_is_lost() {
    let rp = Raceproof::local();
    let (a, b) = (rp.lock("a").acquire().await.unwrap(), rp.lock("b").acquire().await.unwrap());
    let local = inner(&rp);
    let busy = local.lock();
    assert!(a.is_valid() && a.lost_reason().is_none());
    drop(busy);
    rp.steal("a").await.unwrap();
    assert!(!a.is_valid() && b.is_valid());
    drop(a);
    let busy = local.lock();
    assert!(b.is_valid(), "the loss is forgotten with its guard");
    drop((busy, b));
    assert_empty(&rp);
}

#[tokio::test]
async fn l6_a_theft_of_one_name_ends_the_whole_grant() {
    let rp = Raceproof::local();
    let both = rp.lock_all(["a", "b"]).acquire().await.unwrap();
    assert_eq!(rp.steal("a").await.unwrap(), [both.token()]);
    assert!(!both.is_valid());
    drop(rp.lock("b").try_acquire().await.unwrap());
    drop(both);
    assert_empty(&rp);
}

#[tokio::test]
async fn listings_show_what_is_held_whichever_way() {
    let rp = Raceproof::local();
    let held = rp.lock("b").acquire().await.unwrap();
    let shared = rp.lock("a").shared().acquire().await.unwrap();
    let page = rp.locks(Page::default()).await.unwrap();
    let names: Vec<_> = page.locks.iter().map(|lock| (&*lock.name, lock.holders[0].token)).collect();
    assert_eq!(names, [("a", shared.token()), ("b", held.token())]);
    let checked = rp.check("b", held.token()).await.unwrap();
    assert!(checked.valid && checked.newest == Some(held.token()));
    assert_eq!(rp.lock_info("b").await.unwrap().holders.len(), 1);
    drop((held, shared));
    assert_eq!(rp.locks(Page::default()).await.unwrap().locks, []);
    assert_empty(&rp);
}

#[tokio::test]
async fn what_is_malformed_is_refused_as_a_server_does() {
    let rp = Raceproof::local();
    for name in ["", &"x".repeat(257)] {
        let Err(AcquireError::Refused(problem)) = rp.lock(name).acquire().await else { panic!("{name:?}") };
        assert_eq!(problem.code, Code::NameInvalid);
    }
    let Err(AcquireError::Refused(problem)) = rp.lock("a").owner("x".repeat(65)).acquire().await else { panic!() };
    assert_eq!(problem.code, Code::BadRequest);
    for names in [vec![], vec!["a", "a"]] {
        let Err(AcquireError::Refused(problem)) = rp.lock_all(names).acquire().await else { panic!() };
        assert_eq!(problem.code, Code::BadRequest);
    }
    assert!(rp.lock("x".repeat(256)).acquire().await.is_ok());
    assert_empty(&rp);
}

#[tokio::test]
async fn close_ends_what_is_held_and_what_waits() {
    let rp = Raceproof::local();
    let guard = rp.lock("a").acquire().await.unwrap();
    let lost = guard.lost();
    let waiter = waiting(rp.lock("a")).await;
    rp.clone().close().await.unwrap();
    assert_eq!(lost.await, LostReason::Ended);
    assert!(!guard.is_valid());
    assert!(matches!(waiter.await.unwrap(), Err(AcquireError::Closed)));
    assert!(matches!(rp.lock("b").acquire().await, Err(AcquireError::Closed)));
    assert!(matches!(rp.lock("b").shared().acquire().await, Err(AcquireError::Closed)));
    assert_eq!(rp.connection_state(), crate::ConnectionState::Closed);
    assert!(matches!(guard.release().await, Err(ReleaseError::Lost(LostReason::Ended))));
}

#[tokio::test]
async fn a_loop_of_acquisitions_lets_other_tasks_run() {
    let rp = Raceproof::local();
    let other = tokio::spawn(async {});
    let lock = rp.lock("a");
    for _ in 0..2_048 {
        drop(lock.acquire().await.unwrap());
    }
    assert!(other.is_finished(), "the loop kept its thread");
}
