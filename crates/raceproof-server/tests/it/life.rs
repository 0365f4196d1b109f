//! Starting, restarting, stopping, and a store that fails.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, SinkExt};
use raceproof::store::{
    Keep, LoadError, Loaded, LogOptions, LogStore, MemFault, MemOp, MemStore, Storage, StorageStats, WriteError,
};
use raceproof_core::id::Lsn;
use raceproof_server::{RunError, Server, StartError, StoreKind};
use serde_json::json;
use tokio::sync::{Mutex, Notify};
use tokio::time::timeout;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{PATIENCE, Running, config, receive, run, send, start};

#[tokio::test]
async fn a_restart_keeps_sessions_holders_and_the_order_of_tokens() {
    let dir = tempfile::tempdir().unwrap();
    let store = StoreKind::directory(dir.path());
    let server = run(Server::bind(config(store.clone())).await.unwrap());
    let (a, b) = (server.session("a").await, server.session("b").await);
    let token = server.take(&a, "x").await;
    let passed = server.take(&b, "y").await;
    server.post("/v1/locks/y/release", json!({ "session": b, "token": passed })).await;
    server.stop().await.unwrap();

    let server = run(Server::bind(config(store)).await.unwrap());
    let lock = server.get("/v1/locks/x").await.json();
    assert_eq!(lock["holders"][0]["token"], token);
    server.post("/v1/locks/x/acquire", json!({ "session": b })).await.problem(409, "lock_held");
    assert!(server.take(&b, "y").await > passed);
    assert_eq!(server.post(&format!("/v1/sessions/{a}/keepalive"), json!({})).await.status, 200);
    assert_eq!(server.post("/v1/locks/x/release", json!({ "session": a, "token": token })).await.status, 200);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_directory_in_use_is_refused_with_the_pid() {
    let dir = tempfile::tempdir().unwrap();
    let store = StoreKind::directory(dir.path());
    let server = run(Server::bind(config(store.clone())).await.unwrap());
    let refused = Server::bind(config(store.clone())).await.unwrap_err();
    assert!(matches!(refused, StartError::Open(_)), "{refused:?}");
    assert!(refused.to_string().contains(&std::process::id().to_string()), "{refused}");
    server.stop().await.unwrap();
    run(Server::bind(config(store)).await.unwrap()).stop().await.unwrap();
}

#[tokio::test]
async fn an_address_in_use_is_refused() {
    let server = start().await;
    let mut second = config(StoreKind::Memory);
    second.listen = server.addr;
    let refused = Server::bind(second).await.unwrap_err();
    assert!(matches!(refused, StartError::Bind { .. }), "{refused:?}");
}

#[tokio::test]
async fn a_stop_tells_sockets_and_refuses_what_waits() {
    let server = start().await;
    let mut socket = server.socket().await;
    socket.session("a").await;
    socket.ask(json!({ "acquire": { "names": ["x"] } })).await;
    let b = server.session("b").await;
    let body = json!({ "session": b, "wait_ms": 60_000 }).to_string();
    let mut waits = send(server.addr, "POST", "/v1/locks/x/acquire", "", Some(body.as_bytes())).await;
    server.until("/v1/locks/x", |lock| lock["waiters_count"] == 1).await;

    let stopping = tokio::spawn(server.stop());
    assert_eq!(socket.receive().await["event"], json!({ "draining": {} }));
    assert_eq!(socket.closed().await, Some((1_001, "going_away".to_owned())));
    let refused = receive(&mut waits).await;
    refused.problem(503, "unavailable");
    assert!(refused.header("retry-after").is_some());
    stopping.await.unwrap().unwrap();
}

/// A store whose flush says that it was begun, and waits until it is let through.
#[derive(Debug, Clone, Default)]
struct Held {
    store: MemStore,
    begun: Arc<Notify>,
    gate: Arc<Mutex<()>>,
}

impl Storage for Held {
    fn load(&mut self) -> Result<Loaded, LoadError> {
        self.store.load()
    }

    fn append(&mut self, lsn: Lsn, record: &[u8]) -> Result<(), WriteError> {
        self.store.append(lsn, record)
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.begun.notify_one();
        drop(self.gate.blocking_lock());
        self.store.flush()
    }

    fn install_snapshot(&mut self, lsn: Lsn, snapshot: &[u8]) -> Result<(), WriteError> {
        self.store.install_snapshot(lsn, snapshot)
    }

    fn stats(&self) -> StorageStats {
        self.store.stats()
    }
}

#[tokio::test]
async fn a_stop_waits_for_the_disk_and_answers_what_was_decided_as_it_came_out() {
    for fault in [None, Some(MemFault::Io)] {
        let store = Held::default();
        let server = run(Server::bind_on(Box::new(store.clone()), config(StoreKind::Memory)).await.unwrap());
        let a = server.session("a").await;
        let mut socket = server.socket().await;
        socket.session("s").await;

        let shut = store.gate.lock().await;
        let _of_the_sessions = store.begun.notified().now_or_never();
        let body = json!({ "session": a }).to_string();
        let mut asks = send(server.addr, "POST", "/v1/locks/x/acquire", "", Some(body.as_bytes())).await;
        timeout(PATIENCE, store.begun.notified()).await.unwrap();
        let stopping = tokio::spawn(server.stop());
        assert_eq!(socket.receive().await["event"], json!({ "draining": {} }));
        if let Some(fault) = fault {
            store.store.fail_at(MemOp::Flush, 0, fault);
        }
        drop(shut);

        let (answer, closed, ended) = (receive(&mut asks).await, socket.closed().await, stopping.await.unwrap());
        if fault.is_none() {
            assert!(answer.json()["token"].is_u64(), "{answer:?}");
            assert_eq!(closed, Some((1_001, "going_away".to_owned())));
            ended.unwrap();
        } else {
            answer.problem(503, "store_failed");
            assert_eq!(closed, Some((4_503, "store_failed".to_owned())));
            assert!(matches!(ended, Err(RunError::StoreFailed { .. })), "{ended:?}");
        }
    }
}

#[tokio::test]
async fn a_store_that_fails_promises_nothing_and_ends_the_server() {
    let store = MemStore::new();
    let server = run(Server::bind_on(Box::new(store.clone()), config(StoreKind::Memory)).await.unwrap());
    let a = server.session("a").await;
    let mut socket = server.socket().await;
    socket.session("s").await;
    store.fail_at(MemOp::Flush, 0, MemFault::Io);
    let refused = server.post("/v1/locks/x/acquire", json!({ "session": a })).await;
    refused.problem(503, "store_failed");
    assert!(refused.header("retry-after").is_some());
    let ready = server.get("/readyz").await;
    ready.problem(503, "store_failed");
    let late = socket.ask(json!({ "acquire": { "names": ["y"] } })).await;
    assert_eq!(late["problem"]["code"], "store_failed");
    assert_eq!(socket.closed().await, Some((4_503, "store_failed".to_owned())));
    let ended = server.ended().await;
    assert!(matches!(ended, Err(RunError::StoreFailed { .. })), "{ended:?}");
}

#[tokio::test]
async fn a_full_disk_or_a_failed_write_is_told_to_everybody_and_nothing_more_is_promised() {
    for (op, fault) in [(MemOp::Append, MemFault::Full), (MemOp::Append, MemFault::Io), (MemOp::Flush, MemFault::Full)]
    {
        let store = MemStore::new();
        let server = run(Server::bind_on(Box::new(store.clone()), config(StoreKind::Memory)).await.unwrap());
        let (a, b) = (server.session("a").await, server.session("b").await);
        let token = server.take(&a, "held").await;
        let body = json!({ "session": b, "wait_ms": 60_000 }).to_string();
        let mut waits = send(server.addr, "POST", "/v1/locks/held/acquire", "", Some(body.as_bytes())).await;
        server.until("/v1/locks/held", |lock| lock["waiters_count"] == 1).await;

        store.fail_at(op, 0, fault);
        let refused = server.post("/v1/locks/x/acquire", json!({ "session": a })).await;
        refused.problem(503, "store_failed");
        receive(&mut waits).await.problem(503, "store_failed");
        let ended = server.ended().await;
        assert!(matches!(ended, Err(RunError::StoreFailed { .. })), "{op:?} {fault:?}: {ended:?}");

        // What was promised before is still there; what was refused is not.
        let server =
            run(Server::bind_on(Box::new(store.crash(Keep::Flushed)), config(StoreKind::Memory)).await.unwrap());
        assert_eq!(server.get("/v1/locks/held").await.json()["holders"][0]["token"], token);
        assert_eq!(server.get("/v1/locks/x").await.json()["holders"], json!([]));
        server.stop().await.unwrap();
    }
}

#[tokio::test]
async fn l5_leases_end_within_20_ms_of_their_time() {
    let server = start().await;
    let mut worst = Duration::ZERO;
    let mut socket = server.socket().await;
    socket.session("next").await;
    for round in 0..5 {
        let name = format!("x{round}");
        let mut holder = server.socket().await;
        let sent = std::time::Instant::now();
        holder.ask(json!({ "open": { "name": "short", "ttl_ms": 150 } })).await;
        holder.ask(json!({ "acquire": { "names": [name] } })).await;
        let granted = socket.ask(json!({ "acquire": { "names": [name], "wait_ms": 10_000 } })).await;
        assert!(granted["ok"]["granted"].is_object(), "{granted}");
        let took = sent.elapsed();
        assert!(took >= Duration::from_millis(150), "a lease ended early: {took:?}");
        worst = worst.max(took.saturating_sub(Duration::from_millis(150)));
        holder.close().await;
    }
    // The figure itself is the benches'; here only that nothing waits for a coarse timer on a busy machine.
    assert!(worst < Duration::from_millis(500), "{worst:?}");
}

/// Everything here runs on one thread, so that sleeping on it stops the server, as SIGSTOP does.
#[tokio::test]
async fn l5_a_server_that_was_stopped_past_every_lease_revokes_nobody_whose_renewal_waits() {
    let server = start().await;
    let mut holders = Vec::new();
    for i in 0..50 {
        let mut holder = server.socket().await;
        holder.ask(json!({ "open": { "name": format!("holder-{i}"), "ttl_ms": 1_000 } })).await;
        let granted = holder.ask(json!({ "acquire": { "names": [format!("x{i}")] } })).await;
        assert!(granted["ok"]["granted"].is_object(), "{granted}");
        holders.push(holder);
    }
    for holder in &mut holders {
        assert_eq!(holder.ask(json!({ "keepalive": {} })).await["ok"]["renewed"]["ttl_ms"], 1_000);
    }
    let mut rival = server.socket().await;
    rival.session("rival").await;
    let waiting = rival.send(json!({ "acquire": { "names": ["x0"], "wait_ms": 60_000 } })).await;
    for holder in &mut holders {
        holder.send(json!({ "keepalive": {} })).await;
    }
    std::thread::sleep(Duration::from_millis(2_500));
    for holder in &mut holders {
        // The answer, and not the news that the session is over.
        assert_eq!(holder.receive().await["ok"]["renewed"]["ttl_ms"], 1_000);
        assert_eq!(holder.ask(json!({ "keepalive": {} })).await["ok"]["renewed"]["ttl_ms"], 1_000);
    }
    // Once nobody renews, the lease ends as ever.
    let granted = rival.receive().await;
    assert_eq!(granted["re"], waiting);
    assert!(granted["ok"]["granted"].is_object(), "{granted}");
}

#[tokio::test]
async fn a_log_that_has_grown_becomes_a_snapshot_and_the_next_start_stands_on_it() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = LogOptions::default();
    options.snapshot_after_bytes = 16 * 1_024;
    let open = || Box::new(LogStore::open(dir.path(), options.clone()).unwrap());
    let server = run(Server::bind_on(open(), config(StoreKind::Memory)).await.unwrap());
    let mut socket = server.socket().await;
    socket.session("a").await;
    let kept = socket.ask(json!({ "acquire": { "names": ["kept"] } })).await["ok"]["granted"]["token"].clone();
    let records = async |server: &Running| {
        let figures = server.get("/metrics").await.body;
        let figure = figures.lines().find_map(|line| line.strip_prefix("raceproof_store_records ")).unwrap();
        figure.parse::<u64>().unwrap()
    };
    let mut most = 0;
    for round in 0_u64.. {
        for _ in 0..100 {
            let token = socket.ask(json!({ "acquire": { "names": ["x"] } })).await["ok"]["granted"]["token"].clone();
            socket.ask(json!({ "release": { "name": "x", "token": token } })).await;
        }
        let left = records(&server).await;
        if left < most {
            break;
        }
        most = left;
        assert!(round < 100, "{left} records, and no snapshot");
    }
    server.stop().await.unwrap();

    let server = run(Server::bind_on(open(), config(StoreKind::Memory)).await.unwrap());
    assert!(records(&server).await < most, "the start did not replay what the snapshot holds");
    assert_eq!(server.get("/v1/locks/kept").await.json()["holders"][0]["token"], kept);
    server.stop().await.unwrap();
}

#[tokio::test]
async fn a_stop_cuts_off_who_does_not_read() {
    let mut config = config(StoreKind::Memory);
    config.limits.write_timeout = Duration::from_secs(3_600);
    config.limits.drain_timeout = Duration::from_millis(200);
    let server = run(Server::bind(config).await.unwrap());
    let mut socket = server.socket().await;
    socket.session("a").await;
    // Answers pile up until the socket takes no more.
    let mut stream = socket.into_stream();
    let asked = async {
        for seq in 2_u64.. {
            let page = json!({ "seq": seq, "request": { "lock": { "name": "n".repeat(256) } } });
            stream.feed(Message::text(page.to_string())).await.unwrap();
        }
    };
    assert!(timeout(Duration::from_secs(2), asked).await.is_err());
    server.stop().await.unwrap();
    // Whoever reads now would free it; what is written to a connection that is gone fails.
    let written = timeout(PATIENCE, stream.flush()).await.expect("the connection ends");
    assert!(written.is_err(), "there is nobody to take it");
}

/// What this thread has had of a processor so far.
fn processor_time() -> Duration {
    let figures = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(figures.split(' ').next().unwrap().parse().unwrap())
}

#[tokio::test]
async fn a_server_that_was_busy_sleeps_once_it_has_nothing_to_do() {
    let server = start().await;
    let mut socket = server.socket().await;
    socket.session("busy").await;
    for _ in 0..200 {
        socket.ask(json!({ "lock": { "name": "x" } })).await;
    }
    let before = processor_time();
    tokio::time::sleep(Duration::from_secs(1)).await;
    let spent = processor_time().saturating_sub(before);
    assert!(spent < Duration::from_millis(100), "it went on looking at its sockets for {spent:?}");
    server.stop().await.unwrap();
}
