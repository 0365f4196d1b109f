//! A wall clock that jumps by an hour, forward and back, on either side. L5, L8: leases are counted on a clock that
//! does not jump, so nobody loses anything, and who is gone is noticed in time.

use std::net::SocketAddr;
use std::time::Duration;

use raceproof::AcquireError;
use serde_json::json;
use tokio::time::{Instant, timeout};

use crate::process::{Process, TTL, WallClock};
use crate::support::{PATIENCE, call, client, start};

const HOUR: i64 = 3_600;
/// Leases that pass before a jump counts as survived.
const LEASES: u32 = 2;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l8_a_holder_whose_wall_clock_jumps_keeps_its_lock_and_loses_it_in_time_when_it_is_gone() {
    let Some(clock) = WallClock::new() else { return };
    let server = start().await;
    let (mut holder, token) = Process::holder(server, Some(&clock)).await;
    for ahead in [HOUR, -HOUR] {
        jump(&clock, &mut holder, ahead).await;
        nobody_else_gets_it(server, token).await;
        assert_eq!(holder.ask("lost").await, "None");
    }
    holder.kill();
    it_is_free_soon(server, token).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_a_server_whose_wall_clock_jumps_ends_no_lease_early_and_none_late() {
    let Some(clock) = WallClock::new() else { return };
    let dir = tempfile::tempdir().unwrap();
    let (mut process, server) = Process::server(dir.path(), Some(&clock)).await;
    let (mut holder, token) = Process::holder(server, None).await;
    for ahead in [HOUR, -HOUR] {
        // A session that nobody renews: the jump comes within its lease.
        let (status, opened) =
            call(server, "POST", "/v1/sessions", Some(json!({ "name": "silent", "ttl_ms": 1_000 }))).await;
        assert_eq!(status, 201, "{opened}");
        let start = Instant::now();
        let body = json!({ "session": opened["session"] });
        let (status, grant) = call(server, "POST", "/v1/locks/silent/acquire", Some(body)).await;
        assert_eq!(status, 200, "{grant}");
        jump(&clock, &mut process, ahead).await;

        let rival = client(server, PATIENCE).connect().await.unwrap();
        let next = timeout(PATIENCE, rival.lock("silent").wait(PATIENCE).acquire()).await.unwrap().unwrap();
        let waited = start.elapsed();
        // Opened before `start`, by less than the answer took.
        assert!(waited > Duration::from_millis(800) && waited < Duration::from_secs(20), "{ahead}: {waited:?}");
        next.release().await.unwrap();
        nobody_else_gets_it(server, token).await;
        assert_eq!(holder.ask("lost").await, "None");
    }
    assert_eq!(holder.ask("release").await, "true");
}

/// Sets the clock of a process, and sees it do so.
async fn jump(clock: &WallClock, process: &mut Process, ahead: i64) {
    clock.set(ahead);
    let seen = process.ahead_s().await;
    assert!((seen - ahead).abs() < 60, "the wall clock is ahead by {seen} s, not {ahead}: faketime does not work");
}

/// Several leases pass, and the holder still has it.
async fn nobody_else_gets_it(server: SocketAddr, token: u64) {
    let rival = client(server, PATIENCE).connect().await.unwrap();
    let refused = rival.lock("x").wait(TTL * LEASES).acquire().await;
    assert!(matches!(refused, Err(AcquireError::TimedOut(_))), "{refused:?}");
    let (_, lock) = call(server, "GET", "/v1/locks/x", None).await;
    assert_eq!(lock["holders"][0]["token"], token, "{lock}");
}

async fn it_is_free_soon(server: SocketAddr, token: u64) {
    let rival = client(server, PATIENCE).connect().await.unwrap();
    let start = Instant::now();
    let next = timeout(PATIENCE, rival.lock("x").wait(PATIENCE).acquire()).await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
    assert!(next.token().as_u64() > token);
    next.release().await.unwrap();
}
