//! Connections that break, servers that restart, leases that run out.

use std::time::Duration;

use raceproof::{AcquireError, Class, ConnectionState, LostReason, OnDisconnect, Raceproof, ReleaseError};
use tokio::time::Instant;

use crate::place::{Mode, Proxy, Running, soon, until, until_waiters, waiting};

#[tokio::test]
async fn l11_a_broken_connection_is_made_again_and_what_is_held_stays_held() {
    let server = Running::start().await;
    let proxy = Proxy::before(server.addr).await;
    let rp = soon(proxy.builder().connect()).await.unwrap();
    let rival = server.client().await;
    let guard = rp.lock("a").acquire().await.unwrap();
    let key = rp.session_key();
    for _ in 0..3 {
        let mut states = rp.connection_states();
        proxy.cut().await;
        soon(states.changed()).await.unwrap();
        until(&rp, ConnectionState::Connected).await;
        assert!(guard.is_valid());
        assert!(rival.lock("a").try_acquire().await.is_err());
    }
    assert_eq!(rp.session_key(), key);
    soon(guard.release()).await.unwrap();
    assert!(rival.lock("a").try_acquire().await.is_ok());
}

#[tokio::test]
async fn l11_a_wait_outlives_its_connection_and_keeps_its_place() {
    let server = Running::start().await;
    let proxy = Proxy::before(server.addr).await;
    let rp = soon(proxy.builder().connect()).await.unwrap();
    let rival = server.client().await;
    let held = rival.lock("a").acquire().await.unwrap();
    let first = waiting(&rival, "a", rp.lock("a")).await;
    let second = waiting(&rival, "a", rival.lock("a").detached()).await;
    let mut states = rp.connection_states();
    proxy.cut().await;
    soon(states.changed()).await.unwrap();
    until(&rp, ConnectionState::Connected).await;
    until_waiters(&rival, "a", 2).await;
    drop(held);
    let guard = soon(first).await.unwrap().unwrap();
    assert!(!second.is_finished(), "the place was lost");
    drop(guard);
    assert!(soon(second).await.unwrap().is_ok());
}

#[tokio::test]
async fn l12_a_grant_whose_answer_was_lost_is_given_once() {
    let server = Running::start().await;
    let proxy = Proxy::before(server.addr).await;
    let rp = soon(proxy.builder().connect()).await.unwrap();
    let watcher = server.client().await;
    proxy.set(Mode::Swallow);
    let lock = rp.lock("a");
    let asked = tokio::spawn(async move { lock.acquire().await });
    soon(async {
        while watcher.lock_info("a").await.unwrap().holders.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    assert!(!asked.is_finished(), "nobody told it");
    let token = watcher.lock_info("a").await.unwrap().holders[0].token;
    proxy.cut().await;
    let guard = soon(asked).await.unwrap().unwrap();
    assert_eq!(guard.token(), token, "it was granted a second time");
}

#[tokio::test]
async fn l12_a_release_whose_answer_was_lost_succeeds() {
    let server = Running::start().await;
    let proxy = Proxy::before(server.addr).await;
    let rp = soon(proxy.builder().connect()).await.unwrap();
    let watcher = server.client().await;
    let guard = rp.lock("a").acquire().await.unwrap();
    proxy.set(Mode::Swallow);
    let released = tokio::spawn(guard.release());
    soon(async {
        while !watcher.lock_info("a").await.unwrap().holders.is_empty() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
    proxy.cut().await;
    soon(released).await.unwrap().unwrap();
}

#[tokio::test]
async fn l8_a_holder_that_is_cut_off_is_told_before_anyone_else_holds() {
    let server = Running::start().await;
    let proxy = Proxy::before(server.addr).await;
    let rp = soon(proxy.builder().ttl(Duration::from_millis(600)).connect()).await.unwrap();
    let rival = server.client().await;
    let guard = rp.lock("a").acquire().await.unwrap();
    let lost = tokio::spawn({
        let lost = guard.lost();
        async move { (lost.await, Instant::now()) }
    });
    let next = tokio::spawn({
        let lock = rival.lock("a");
        async move { lock.acquire().await.map(|guard| (guard, Instant::now())) }
    });
    until_waiters(&rival, "a", 1).await;
    proxy.set(Mode::Hold);
    let (reason, told) = soon(lost).await.unwrap();
    let (next, granted) = soon(next).await.unwrap().unwrap();
    assert_eq!(reason, LostReason::Expired);
    assert!(told < granted, "two believed for {:?}", told - granted);
    assert!(!guard.is_valid() && next.token() > guard.token());

    // The connection works again; what was lost stays lost, in a session of its own.
    proxy.cut().await;
    until(&rp, ConnectionState::Connected).await;
    assert!(!guard.is_valid());
    assert!(matches!(guard.release().await, Err(ReleaseError::Lost(LostReason::Expired))));
    assert!(next.is_valid());
    soon(next.release()).await.unwrap();
    assert!(soon(rp.lock("a").acquire()).await.unwrap().is_valid());
}

#[tokio::test]
async fn l11_a_session_that_ends_with_its_connection_is_freed_at_once() {
    let server = Running::start().await;
    let proxy = Proxy::before(server.addr).await;
    let ttl = Duration::from_secs(3_600);
    let rp = soon(proxy.builder().ttl(ttl).on_disconnect(OnDisconnect::End).connect()).await.unwrap();
    let rival = server.client().await;
    let guard = rp.lock("a").acquire().await.unwrap();
    let next = waiting(&rival, "a", rival.lock("a")).await;
    proxy.cut().await;
    assert!(soon(next).await.unwrap().unwrap().token() > guard.token());
    assert_eq!(soon(guard.lost()).await, LostReason::Disconnected);
    until(&rp, ConnectionState::Connected).await;
    assert!(!guard.is_valid());
}

#[tokio::test]
async fn l2_l5_a_holder_keeps_its_lock_through_a_restart_and_tokens_go_on() {
    for class in [Class::Durable, Class::Reclaim] {
        let dir = tempfile::tempdir().unwrap();
        let first = Running::at("127.0.0.1:0".parse().unwrap(), dir.path()).await;
        let addr = first.addr;
        let rp = first.client().await;
        let guard = soon(rp.lock("a").class(class).acquire()).await.unwrap();
        first.stop().await;
        soon(rp.connection_states().wait_for(|state| *state != ConnectionState::Connected)).await.unwrap();
        let second = Running::at(addr, dir.path()).await;
        until(&rp, ConnectionState::Connected).await;
        assert!(guard.is_valid(), "{class:?}");
        let rival = second.client().await;
        assert!(rival.lock("a").try_acquire().await.is_err(), "{class:?}");
        let token = guard.token();
        soon(guard.release()).await.unwrap();
        assert!(soon(rival.lock("a").class(class).acquire()).await.unwrap().token() > token);
        second.stop().await;
    }
}

#[tokio::test]
async fn without_a_server_a_wait_ends_by_its_own_time() {
    let server = Running::start().await;
    let proxy = Proxy::before(server.addr).await;
    let rp = soon(proxy.builder().connect()).await.unwrap();
    proxy.set(Mode::Cut);
    soon(rp.connection_states().wait_for(|state| *state != ConnectionState::Connected)).await.unwrap();
    let waited = soon(rp.lock("a").wait(Duration::from_millis(200)).acquire()).await;
    assert!(matches!(waited, Err(AcquireError::TimedOut(_))), "{waited:?}");
}

#[tokio::test]
async fn a_server_that_comes_late_is_waited_for() {
    let first = Running::start().await;
    let (addr, url) = (first.addr, first.url());
    first.stop().await;
    let connecting = tokio::spawn(
        Raceproof::builder(url).connect_wait(Duration::from_secs(20)).backoff_max(Duration::from_millis(100)).connect(),
    );
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(!connecting.is_finished());
    let _second = Running::with(|config| config.listen = addr).await;
    let rp = soon(connecting).await.unwrap().unwrap();
    assert!(soon(rp.lock("a").acquire()).await.is_ok());
}
