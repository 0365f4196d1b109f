//! Many at a time: waiters, clients that come back, leases that end together.

use std::time::Duration;

use futures_util::future::join_all;
use raceproof::store::{MemStore, Storage};
use raceproof_core::hub::{Caller, ConnKind, Hub, Output};
use raceproof_core::id::{ConnId, SessionKey};
use raceproof_core::time::Time;
use raceproof_core::wire::{Acquire, OnDisconnect, Open, Request, Response};
use raceproof_server::{Server, StoreKind};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::harness::{Running, Socket, config, receive, run, send, start, start_with};

/// Opens a socket and a session for each.
async fn clients(server: &Running, count: usize) -> Vec<Socket> {
    let mut clients = Vec::with_capacity(count);
    while clients.len() < count {
        clients.extend(
            join_all((0..50).map(|_| async {
                let mut socket = server.socket().await;
                socket.session("client").await;
                socket
            }))
            .await,
        );
    }
    clients
}

fn token(frame: &Value) -> u64 {
    frame["ok"]["granted"]["token"].as_u64().unwrap_or_else(|| panic!("no grant: {frame}"))
}

#[tokio::test]
async fn l10_a_thousand_waiters_hear_of_nothing_but_their_own_turn() {
    // Nobody reads a waiter's socket before its turn, and on a busy machine that is a minute: pings would go unanswered.
    let server = start_with(|config| config.limits.ping_interval = Duration::from_secs(600)).await;
    let mut holder = server.socket().await;
    holder.session("holder").await;
    let mut last = token(&holder.ask(json!({ "acquire": { "names": ["x"] } })).await);
    let mut waiters = clients(&server, 1_000).await;
    for waiter in &mut waiters {
        waiter.send(json!({ "acquire": { "names": ["x"], "wait_ms": 600_000 } })).await;
        // Its answer, which overtakes the wait's, says that the wait has its place in the queue.
        let renewed = waiter.send(json!({ "keepalive": {} })).await;
        assert_eq!(waiter.receive().await["re"], renewed);
    }
    let shown = server.get("/v1/locks/x").await.json();
    assert_eq!((&shown["waiters_count"], shown["waiters"].as_array().unwrap().len()), (&json!(1_000), 100));

    holder.ask(json!({ "release": { "name": "x", "token": last } })).await;
    for waiter in &mut waiters {
        let next = token(&waiter.receive().await);
        assert!(next > last, "in the order of arrival");
        last = next;
        waiter.ask(json!({ "release": { "name": "x", "token": last } })).await;
    }
    // Frames are counted on both sides: opened, renewed, granted, released, and nothing but this one since.
    for waiter in &mut waiters {
        assert_eq!(waiter.ask(json!({ "keepalive": {} })).await["seq"], 5);
    }
    server.stop().await.unwrap();
}

#[tokio::test]
async fn l3_sixty_four_waiters_over_http_are_granted_in_the_order_of_arrival() {
    let server = start().await;
    let holder = server.session("holder").await;
    let mut last = server.take(&holder, "x").await;
    let mut waiting: Vec<(String, TcpStream)> = Vec::new();
    for i in 0_u64..64 {
        let key = server.session(&format!("waiter-{i}")).await;
        let body = json!({ "session": key, "wait_ms": 600_000 }).to_string();
        waiting.push((key, send(server.addr, "POST", "/v1/locks/x/acquire", "", Some(body.as_bytes())).await));
        server.until("/v1/locks/x", |lock| lock["waiters_count"] == i + 1).await;
    }
    server.post("/v1/locks/x/release", json!({ "session": holder, "token": last })).await;
    for (key, mut stream) in waiting {
        let granted = receive(&mut stream).await.json();
        let next = granted["token"].as_u64().unwrap_or_else(|| panic!("{granted}"));
        assert!(next > last);
        last = next;
        server.post("/v1/locks/x/release", json!({ "session": key, "token": last })).await;
    }
}

#[tokio::test]
async fn l5_a_thousand_clients_come_back_after_a_restart_and_keep_what_they_hold() {
    let dir = tempfile::tempdir().unwrap();
    let store = StoreKind::directory(dir.path());
    let server = run(Server::bind(config(store.clone())).await.unwrap());
    let mut known = Vec::new();
    let mut sockets = Vec::new();
    for i in 0..1_000 {
        let mut socket = server.socket().await;
        let key = socket.session(&format!("client-{i}")).await;
        let class = if i % 2 == 0 { "durable" } else { "reclaim" };
        let names = [format!("lock-{i}")];
        let granted = socket.ask(json!({ "acquire": { "names": names, "class": class } })).await;
        known.push((key, token(&granted), names, class));
        sockets.push(socket);
    }
    let greatest = known.iter().map(|(_, token, ..)| *token).max().unwrap();
    server.stop().await.unwrap();

    let server = run(Server::bind(config(store)).await.unwrap());
    let back = join_all(known.iter().map(|(key, token, names, class)| {
        let held = json!([{ "token": token, "names": names, "class": class }]);
        let resume = json!({ "resume": { "session": key, "held": held } });
        let server = &server;
        async move {
            let mut socket = server.socket().await;
            let resumed = socket.ask(resume).await;
            assert_eq!(resumed["ok"]["resumed"]["held"], json!([token]), "{resumed}");
            assert_eq!(resumed["ok"]["resumed"]["lost"], json!([]), "{resumed}");
            socket
        }
    }))
    .await;
    let page = server.get("/v1/locks?limit=1000").await.json();
    let held = page["locks"].as_array().unwrap().iter().filter(|lock| lock["holders"][0]["token"].is_u64()).count();
    assert_eq!(held, 1_000);
    // L2: whatever is granted from here on is newer.
    let other = server.session("other").await;
    assert!(server.take(&other, "fresh").await > greatest);
    drop(back);
    server.stop().await.unwrap();
}

/// What one input brings about is one record of the log, on disk together or not at all: here more than a megabyte.
#[tokio::test]
async fn l10_a_session_with_thousands_of_locks_ends_and_all_who_wait_have_theirs_at_once() {
    const WAITERS: usize = 10;
    const EACH: usize = 500;
    let dir = tempfile::tempdir().unwrap();
    let store = StoreKind::directory(dir.path());
    let server = run(Server::bind(config(store.clone())).await.unwrap());
    let names: Vec<_> = (0..WAITERS * EACH).map(|i| format!("{i}-{}", "n".repeat(250))).collect();
    let mut holder = server.socket().await;
    holder.session("holder").await;
    for names in names.chunks(50) {
        token(&holder.ask(json!({ "acquire": { "names": names } })).await);
    }
    let mut waiters = Vec::new();
    for names in names.chunks(EACH) {
        let mut waiter = server.socket().await;
        waiter.session("waiter").await;
        for name in names {
            // An owner each: a flow of work that waits for much is looked at as a whole for each wait.
            let owner = name.split('-').next().unwrap();
            waiter.send(json!({ "acquire": { "names": [name], "owner": owner, "wait_ms": 600_000 } })).await;
        }
        let renewed = waiter.send(json!({ "keepalive": {} })).await;
        assert_eq!(waiter.receive().await["re"], renewed);
        waiters.push(waiter);
    }
    assert_eq!(holder.ask(json!({ "end": {} })).await["ok"], json!({ "ended": {} }));
    let mut granted = Vec::new();
    for waiter in &mut waiters {
        for _ in 0..EACH {
            granted.push(token(&waiter.receive().await));
        }
    }
    server.stop().await.unwrap();

    let server = run(Server::bind(config(store)).await.unwrap());
    for (name, token) in names.iter().zip(&granted).step_by(499) {
        assert_eq!(server.get(&format!("/v1/locks/{name}")).await.json()["holders"][0]["token"], *token);
    }
    server.stop().await.unwrap();
}

/// Sessions over one connection after the other, all of whose leases end at `end`, each with a lock of its own.
async fn expire_at(server: &Running, end: Instant, part: std::ops::Range<usize>) {
    for i in part {
        let left = u64::try_from(end.saturating_duration_since(Instant::now()).as_millis()).unwrap();
        assert!(left > 100, "too slow a machine to set this up");
        let opened = server.post("/v1/sessions", json!({ "name": "short", "ttl_ms": left })).await.json();
        server.take(opened["session"].as_str().unwrap(), &format!("lock-{i}")).await;
    }
}

/// With as many turns of the server as leases, which is as many as a hundred thousand leases take by default.
#[tokio::test]
async fn l5_leases_that_end_together_do_not_keep_others_waiting() {
    const SESSIONS: usize = 2_000;
    // One at a time, so that as many turns pass as with a hundred thousand.
    let server = start_with(|config| {
        config.hub.expiries_per_tick_max = 1;
        // The machine may be too busy to run this server every 50 ms; then nothing would expire, as it should be.
        config.hub.stall = Duration::from_secs(10);
    })
    .await;
    let mut other = server.socket().await;
    other.session("other").await;
    let end = Instant::now() + Duration::from_secs(15);
    let parts = (0..8).map(|part| expire_at(&server, end, part * SESSIONS / 8..(part + 1) * SESSIONS / 8));
    join_all(parts).await;
    assert_eq!(server.get("/v1/locks/lock-0").await.json()["holders"].as_array().unwrap().len(), 1);
    tokio::time::sleep_until(end - Duration::from_millis(100)).await;

    let (mut worst, mut rounds) = (Duration::ZERO, 0);
    let gone = loop {
        let asked = Instant::now();
        let granted = token(&other.ask(json!({ "acquire": { "names": ["private"] } })).await);
        worst = worst.max(asked.elapsed());
        rounds += 1;
        other.ask(json!({ "release": { "name": "private", "token": granted } })).await;
        let left = other.ask(json!({ "sessions": { "limit": 2 } })).await;
        if left["ok"]["sessions"]["sessions"].as_array().unwrap().len() == 1 {
            break Instant::now();
        }
        assert!(end.elapsed() < Duration::from_secs(60), "the leases do not end");
    };
    // A machine that stalls the server gives every lease its length once more, as it should.
    if server.get("/metrics").await.body.contains("\nraceproof_stalls_total 0\n") {
        // On a machine to itself: 20 ms and less, for both. Here the tests share it.
        assert!(worst < Duration::from_millis(500), "a grant took {worst:?}, of {rounds}");
        assert!(gone.saturating_duration_since(end) < Duration::from_secs(2), "the last lease ended late");
    }
    assert_eq!(server.get("/v1/locks").await.json(), json!({ "locks": [] }));
}

/// A store as a hub leaves it in which so many sessions hold a lock each.
fn store_of(sessions: u64, ttl_ms: impl Fn(u64) -> u64) -> MemStore {
    let now = Time::from_millis(1);
    let mut hub = Hub::new(raceproof_core::hub::Config::default(), now);
    let mut store = MemStore::new();
    for number in 0..sessions {
        let name = format!("session-{number}");
        let open = Open { name: name.as_str().into(), ttl_ms: ttl_ms(number), on_disconnect: OnDisconnect::Keep };
        let opened = tell(&mut hub, &mut store, now, None, Request::Open(open));
        let Some(Response::Opened { session, .. }) = opened else { panic!("{opened:?}") };
        let granted = tell(&mut hub, &mut store, now, Some(session), Request::Acquire(Acquire::one(name)));
        assert!(matches!(granted, Some(Response::Granted(_))), "{granted:?}");
    }
    store.flush().unwrap();
    store
}

/// One request to a hub that nobody serves, and its answer.
fn tell(
    hub: &mut Hub,
    store: &mut MemStore,
    now: Time,
    session: Option<SessionKey>,
    request: Request,
) -> Option<Response> {
    let conn = ConnId::new(1);
    hub.connect(now, conn, ConnKind::Request);
    hub.request(now, Caller { conn, seq: 1, session, entropy: 1 }, request);
    hub.flushed(now, hub.lsn());
    let mut answer = None;
    while let Some(output) = hub.poll_output() {
        match output {
            Output::Append { lsn, record } => store.append(lsn, &record.to_bytes()).unwrap(),
            Output::Answer { result, .. } => answer = Some(*result.unwrap()),
            _ => {}
        }
    }
    hub.disconnect(now, conn);
    answer
}

/// How many expiries it takes a second's storm to need 50 ms: on any machine, others are to be served meanwhile.
const WITHIN: u64 = 5_000;

#[tokio::test]
async fn l5_a_hundred_thousand_leases_that_end_within_a_second_keep_others_waiting_for_a_twentieth_of_it() {
    const SESSIONS: u64 = 100_000;
    let mut config = config(StoreKind::Memory);
    // A machine that stalls the server gives every lease its length once more, as it should; not here.
    config.hub.stall = Duration::from_secs(10);
    let store = store_of(SESSIONS, |number| 10_000 + number % 1_000);
    let server = run(Server::bind_on(Box::new(store), config).await.unwrap());
    let mut other = server.socket().await;
    other.session("other").await;
    let expired = async || {
        let figures = server.get("/metrics").await.body;
        let figure = figures.lines().find_map(|line| line.strip_prefix("raceproof_session_expiries_total "));
        figure.unwrap().parse::<u64>().unwrap()
    };
    // What ends while somebody else takes a lock, gives it back, and asks for the figures.
    let mut meanwhile = Vec::new();
    let began = Instant::now();
    let mut ended = 0;
    while ended < SESSIONS {
        let granted = token(&other.ask(json!({ "acquire": { "names": ["private"] } })).await);
        other.ask(json!({ "release": { "name": "private", "token": granted } })).await;
        let before = std::mem::replace(&mut ended, expired().await);
        if ended > before {
            meanwhile.push(ended - before);
        } else {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert!(began.elapsed() < Duration::from_secs(100), "the leases do not end: {ended}");
    }
    meanwhile.sort_unstable();
    println!("{} were served meanwhile; at most {:?} leases ended before one was", meanwhile.len(), meanwhile.last());
    // One in twenty may have met a store whose thread was not run.
    assert!(meanwhile[meanwhile.len() * 95 / 100] < WITHIN, "{meanwhile:?}");
    assert_eq!(server.get("/v1/locks").await.json(), json!({ "locks": [] }));
}
