//! Locks and semaphores over a server.

use std::time::Duration;

use raceproof::{AcquireError, Code, LostReason, Raceproof, ReleaseError};

use crate::place::{Running, soon, until_waiters, waiting};

#[tokio::test]
async fn l2_a_release_is_confirmed_and_the_next_token_is_greater() {
    let server = Running::start().await;
    let (one, two) = (server.client().await, server.client().await);
    let mut last = None;
    for rp in [&one, &two, &one] {
        let guard = soon(rp.lock("a").acquire()).await.unwrap();
        assert!(guard.is_valid() && last < Some(guard.token()));
        last = Some(guard.token());
        soon(guard.release()).await.unwrap();
        assert_eq!(one.lock_info("a").await.unwrap().holders, [], "it is confirmed when it is done");
    }
}

#[tokio::test]
async fn l10_a_dropped_guard_lets_the_next_one_in() {
    let server = Running::start().await;
    let (one, two) = (server.client().await, server.client().await);
    let guard = soon(one.lock("a").acquire()).await.unwrap();
    let lost = guard.lost();
    let rival = waiting(&one, "a", two.lock("a")).await;
    drop(guard);
    assert_eq!(lost.await, LostReason::Released);
    assert!(soon(rival).await.unwrap().unwrap().is_valid());
}

#[tokio::test]
async fn l1_a_held_lock_is_refused_with_its_holder() {
    let server = Running::start().await;
    let rp = soon(Raceproof::builder(server.url()).name("worker:1").connect()).await.unwrap();
    let guard = rp.lock("a").acquire().await.unwrap();
    let other = server.client().await;
    let Err(AcquireError::Held(problem)) = other.lock("a").try_acquire().await else { panic!("granted twice") };
    assert_eq!((problem.holders[0].token, &*problem.holders[0].session_name), (guard.token(), "worker:1"));
    let waited = soon(other.lock("a").wait(Duration::from_millis(50)).acquire()).await;
    assert!(matches!(waited, Err(AcquireError::TimedOut(_))), "{waited:?}");
    until_waiters(&rp, "a", 0).await;
}

#[tokio::test]
async fn l3_shared_and_exclusive_as_asked() {
    let server = Running::start().await;
    let (one, two) = (server.client().await, server.client().await);
    let readers = (one.lock("a").shared().acquire().await.unwrap(), two.lock("a").shared().acquire().await.unwrap());
    let writer = waiting(&one, "a", two.lock("a").detached()).await;
    assert!(one.lock("a").shared().try_acquire().await.is_err(), "the writer was there first");
    drop(readers);
    drop(soon(writer).await.unwrap().unwrap());
}

#[tokio::test]
async fn l6_several_locks_are_taken_all_or_none() {
    let server = Running::start().await;
    let (one, two) = (server.client().await, server.client().await);
    let b = one.lock("b").acquire().await.unwrap();
    assert!(two.lock_all(["a", "b"]).try_acquire().await.is_err());
    drop(one.lock("a").try_acquire().await.expect("nothing was taken of it"));
    let both = waiting(&one, "b", two.lock_all(["a", "b"])).await;
    drop(b);
    let both = soon(both).await.unwrap().unwrap();
    assert_eq!(both.names().len(), 2);
    for name in ["a", "b"] {
        assert!(one.lock(name).try_acquire().await.is_err());
    }
}

#[tokio::test]
async fn l6_a_deadlock_is_refused_with_its_cycle() {
    let server = Running::start().await;
    let (one, two) = (server.client().await, server.client().await);
    let _a = one.lock("a").acquire().await.unwrap();
    let _b = two.lock("b").acquire().await.unwrap();
    // In the flow of this task, as `_a` is.
    let lock = one.lock("b");
    let mut first = Box::pin(lock.acquire());
    tokio::select! {
        biased;
        done = &mut first => panic!("{done:?}"),
        () = until_waiters(&one, "b", 1) => {}
    }
    let Err(AcquireError::Deadlock(problem)) = soon(two.lock("a").acquire()).await else { panic!("no cycle") };
    assert_eq!(problem.cycle.len(), 2);
}

#[tokio::test]
async fn a_semaphore_gives_as_many_permits_as_it_has() {
    let server = Running::start().await;
    let (one, two) = (server.client().await, server.client().await);
    let held =
        (one.semaphore("db", 3).take(2).acquire().await.unwrap(), two.semaphore("db", 3).acquire().await.unwrap());
    assert!(matches!(two.semaphore("db", 3).try_acquire().await, Err(AcquireError::Held(_))));
    let Err(AcquireError::Refused(problem)) = two.semaphore("db", 5).try_acquire().await else { panic!("granted") };
    assert_eq!(problem.code, Code::PermitsMismatch);
    drop(held);
}

#[tokio::test]
async fn l4_a_dropped_wait_is_gone_from_the_queue() {
    let server = Running::start().await;
    let (one, two) = (server.client().await, server.client().await);
    let guard = one.lock("a").acquire().await.unwrap();
    let dropped = waiting(&one, "a", two.lock("a").detached()).await;
    let next = waiting(&one, "a", two.lock("a").detached()).await;
    dropped.abort();
    until_waiters(&one, "a", 1).await;
    drop(guard);
    assert!(soon(next).await.unwrap().is_ok());
}

#[tokio::test]
async fn l4_a_grant_that_nobody_polls_for_passes_on() {
    let server = Running::start().await;
    let one = server.client().await;
    let sleepy = Raceproof::builder(server.url()).claim_timeout(Duration::from_millis(100));
    let sleepy = soon(sleepy.connect()).await.unwrap();
    let guard = one.lock("a").acquire().await.unwrap();
    let lock = sleepy.lock("a");
    let mut asleep = Box::pin(lock.acquire());
    tokio::select! {
        biased;
        done = &mut asleep => panic!("{done:?}"),
        () = until_waiters(&one, "a", 1) => {}
    }
    let next = waiting(&one, "a", one.lock("a").detached()).await;
    drop(guard);
    drop(soon(next).await.unwrap().unwrap());
    assert!(matches!(soon(asleep).await, Err(AcquireError::Unclaimed)));
}

#[tokio::test]
async fn a_theft_is_told_at_once_and_the_victim_gives_nothing_back() {
    let server = Running::start().await;
    let (one, two) = (server.client().await, server.client().await);
    let victim = one.lock("a").acquire().await.unwrap();
    assert_eq!(two.steal("a").await.unwrap(), [victim.token()]);
    assert_eq!(soon(victim.lost()).await, LostReason::Stolen);
    let thief = two.lock("a").try_acquire().await.unwrap();
    assert!(!victim.is_valid() && thief.token() > victim.token());
    assert!(!one.check("a", victim.token()).await.unwrap().valid);
    assert!(matches!(victim.release().await, Err(ReleaseError::Lost(LostReason::Stolen))));
    assert!(two.check("a", thief.token()).await.unwrap().valid);
}

#[tokio::test]
async fn closing_ends_everything_of_the_session() {
    let server = Running::start().await;
    let (one, two) = (server.client().await, server.client().await);
    let guard = one.lock("a").acquire().await.unwrap();
    let other = two.lock("b").acquire().await.unwrap();
    let wait = waiting(&two, "b", one.lock("b")).await;
    soon(one.close()).await.unwrap();
    assert_eq!(guard.lost().await, LostReason::Ended);
    assert!(matches!(soon(wait).await.unwrap(), Err(AcquireError::Closed)));
    assert!(matches!(one.lock("c").acquire().await, Err(AcquireError::Closed)));
    drop(two.lock("a").try_acquire().await.expect("the session is over"));
    drop(other);
}

#[tokio::test]
async fn the_last_handle_and_guard_end_the_session() {
    let server = Running::start().await;
    let (one, two) = (server.client().await, server.client().await);
    let guard = one.lock("a").acquire().await.unwrap();
    drop(one);
    assert!(guard.is_valid(), "a guard keeps its session");
    drop(guard);
    soon(async {
        while two.sessions(raceproof::wire::Page::default()).await.unwrap().sessions.len() > 1 {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_session_can_be_ended_by_its_key_from_elsewhere() {
    let server = Running::start().await;
    // So long a lease that no renewal finds out.
    let one = Raceproof::builder(server.url()).ttl(Duration::from_secs(3_600)).connect().await.unwrap();
    let two = server.client().await;
    let guard = one.lock("a").acquire().await.unwrap();
    soon(raceproof::end_session(&server.url(), None, one.session_key().unwrap())).await.unwrap();
    drop(two.lock("a").try_acquire().await.expect("it is free when the call returns"));
    assert_eq!(soon(guard.lost()).await, LostReason::Superseded);
    assert!(!guard.is_valid());
    let key = two.session_key().unwrap();
    let forged = raceproof::SessionKey { secret: key.secret ^ 1, ..key };
    soon(raceproof::end_session(&server.url(), None, forged)).await.unwrap();
    assert!(two.lock("b").try_acquire().await.is_ok(), "a wrong key ends nothing");
}
