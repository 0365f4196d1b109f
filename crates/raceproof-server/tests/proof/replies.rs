//! The answers of the server lost at every byte, and asked for again. L12: what was asked twice was done once.

use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::StreamExt;
use raceproof::Raceproof;
use tokio::time::timeout;

use crate::proxy::Proxy;
use crate::support::{PATIENCE, client, lock_until, start};

const TTL: Duration = Duration::from_secs(60);
/// So many run at a time.
const AT_ONCE: usize = 16;

/// Takes one more token, to count those that were handed out meanwhile: they are consecutive.
async fn next_token(rp: &Raceproof) -> u64 {
    let guard = rp.lock("count").acquire().await.unwrap();
    let token = guard.token().as_u64();
    guard.release().await.unwrap();
    token
}

async fn nobody_is_left(server: SocketAddr, name: &str) {
    let lock = lock_until(server, name, |_| true).await;
    let empty =
        lock["holders"].as_array().is_none_or(Vec::is_empty) && lock["waiters_count"].as_u64().unwrap_or(0) == 0;
    assert!(empty, "{name}: {lock}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l12_an_answer_lost_at_any_byte_grants_nothing_twice() {
    let server = start().await;
    let direct = client(server, TTL).connect().await.unwrap();
    let bytes = cycles(server, usize::MAX).await;
    assert!(bytes > 400, "{bytes}: less than a handshake and the answers");

    let before = next_token(&direct).await;
    let runs = futures_util::stream::iter(1..=bytes)
        .map(|after| async move {
            timeout(PATIENCE, cycles(server, after)).await.unwrap_or_else(|_| panic!("cut at {after}"))
        })
        .buffer_unordered(AT_ONCE)
        .count()
        .await;
    let granted = next_token(&direct).await - before - 1;
    assert_eq!(granted, 3 * runs as u64, "three grants in each of {runs} runs");
}

/// Takes and gives back, three grants in all, on a connection that breaks so many bytes down the first time. Gives the
/// bytes that went down on it.
async fn cycles(server: SocketAddr, after: usize) -> usize {
    let proxy = Proxy::breaking(server, vec![after]).await;
    let rp = client(proxy.addr, TTL).connect().await.unwrap();
    let (one, two) = (format!("one-{after}"), format!("two-{after}"));
    let first = rp.lock(one.as_str()).acquire().await.unwrap();
    let token = first.token();
    first.release().await.unwrap();
    let both = rp.lock_all([one.as_str(), two.as_str()]).acquire().await.unwrap();
    assert!(both.token() > token);
    let token = both.token();
    both.release().await.unwrap();
    let last = rp.lock(one.as_str()).acquire().await.unwrap();
    assert!(last.token() > token);
    last.release().await.unwrap();
    nobody_is_left(server, &one).await;
    nobody_is_left(server, &two).await;
    rp.close().await.unwrap();
    proxy.first_down.load(Ordering::SeqCst)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l12_a_grant_to_a_waiter_lost_at_any_byte_is_its_grant_still() {
    let server = start().await;
    let direct = client(server, TTL).connect().await.unwrap();
    let bytes = hand_over(server, &direct, usize::MAX).await;
    let before = next_token(&direct).await;
    let direct = &direct;
    let runs = futures_util::stream::iter(1..=bytes)
        .map(|after| async move {
            let run = timeout(PATIENCE, hand_over(server, direct, after)).await;
            run.unwrap_or_else(|_| panic!("cut at {after}"))
        })
        .buffer_unordered(AT_ONCE)
        .count()
        .await;
    let granted = next_token(direct).await - before - 1;
    assert_eq!(granted, 2 * runs as u64, "two grants in each of {runs} runs");
}

/// One waits behind another, whose connection breaks so many bytes down the first time.
async fn hand_over(server: SocketAddr, direct: &Raceproof, after: usize) -> usize {
    let name = format!("hand-over-{after}");
    let proxy = Proxy::breaking(server, vec![after]).await;
    let held = direct.lock(name.as_str()).acquire().await.unwrap();
    let rp = client(proxy.addr, TTL).connect().await.unwrap();
    let waits = tokio::spawn({
        let lock = rp.lock(name.as_str()).wait(PATIENCE);
        async move { lock.acquire().await }
    });
    lock_until(server, &name, |lock| lock["waiters_count"] == 1).await;
    let token = held.token();
    held.release().await.unwrap();
    let guard = waits.await.unwrap().unwrap();
    assert!(guard.token() > token);
    let lock = lock_until(server, &name, |_| true).await;
    assert_eq!(lock["holders"][0]["token"], guard.token().as_u64(), "{lock}");
    guard.release().await.unwrap();
    nobody_is_left(server, &name).await;
    rp.close().await.unwrap();
    proxy.first_down.load(Ordering::SeqCst)
}
