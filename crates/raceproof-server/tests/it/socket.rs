//! The WebSocket: frames and their numbers, events, resuming, slow and silent readers.

use std::time::Duration;

use serde_json::json;
use tokio_tungstenite::tungstenite::Message;

use crate::harness::{Socket, call, start, start_with};

#[tokio::test]
async fn requests_are_answered_by_number() {
    let server = start().await;
    let mut socket = server.socket().await;
    let opened = socket.ask(json!({ "open": { "name": "a", "ttl_ms": 5_000 } })).await;
    assert_eq!(opened["ok"]["opened"]["ttl_ms"], 5_000);
    let granted = socket.ask(json!({ "acquire": { "names": ["x"] } })).await;
    let token = granted["ok"]["granted"]["token"].as_u64().unwrap();
    assert_eq!(
        granted,
        json!({ "seq": 2, "re": 2,
            "ok": { "granted": { "token": token, "names": ["x"], "mode": "exclusive", "lease_ms": 5_000 } } })
    );
    assert_eq!(socket.ask(json!({ "keepalive": {} })).await["ok"], json!({ "renewed": { "ttl_ms": 5_000 } }));
    let held = socket.ask(json!({ "acquire": { "names": ["x"], "owner": "other" } })).await;
    assert_eq!(held["problem"]["code"], "lock_held");
    let released = socket.ask(json!({ "release": { "name": "x", "token": token } })).await;
    assert_eq!(released["ok"], json!({ "released": {} }));
    assert_eq!(socket.ask(json!({ "end": {} })).await["ok"], json!({ "ended": {} }));
    let gone = socket.ask(json!({ "keepalive": {} })).await;
    assert_eq!(gone["problem"]["code"], "session_unknown");
}

#[tokio::test]
async fn l10_a_release_grants_the_waiter_and_nobody_else_hears_of_it() {
    let server = start().await;
    let (mut a, mut b, mut c) = (server.socket().await, server.socket().await, server.socket().await);
    for (socket, name) in [(&mut a, "a"), (&mut b, "b"), (&mut c, "c")] {
        socket.session(name).await;
    }
    let granted = a.ask(json!({ "acquire": { "names": ["x"] } })).await;
    let token = granted["ok"]["granted"]["token"].as_u64().unwrap();
    let waiting = b.send(json!({ "acquire": { "names": ["x"], "wait_ms": 60_000 } })).await;
    server.until("/v1/locks/x", |lock| lock["waiters_count"] == 1).await;
    c.send(json!({ "acquire": { "names": ["x"], "wait_ms": 60_000 } })).await;
    server.until("/v1/locks/x", |lock| lock["waiters_count"] == 2).await;
    a.ask(json!({ "release": { "name": "x", "token": token } })).await;
    let frame = b.receive().await;
    assert_eq!(frame["re"], waiting);
    assert!(frame["ok"]["granted"]["token"].as_u64().unwrap() > token);
    // The third still waits: its next frame answers its next request, not its wait.
    assert_eq!(c.send(json!({ "keepalive": {} })).await, 3);
    assert_eq!(c.receive().await["re"], 3);
}

#[tokio::test]
async fn observers_hear_of_leaders_in_order() {
    let server = start().await;
    let (mut leader, mut observer) = (server.socket().await, server.socket().await);
    leader.session("a").await;
    let now = observer.ask(json!({ "observe": { "election": "e" } })).await;
    assert_eq!(now["ok"]["observing"]["leader"], json!(null));
    let mut last = 0;
    for round in 0..3 {
        let elected = leader.ask(json!({ "campaign": { "election": "e", "value": format!("v{round}") } })).await;
        let term = elected["ok"]["elected"]["term"].as_u64().unwrap();
        assert!(term > last);
        last = term;
        let event = observer.receive().await;
        assert_eq!(event["event"]["leader"]["leader"]["term"], term, "{event}");
        assert_eq!(event["event"]["leader"]["leader"]["value"], format!("v{round}"));
        leader.ask(json!({ "resign": { "election": "e", "term": term } })).await;
        assert_eq!(observer.receive().await["event"]["leader"]["leader"], json!(null));
    }
    assert_eq!(observer.ask(json!({ "unobserve": { "election": "e" } })).await["ok"], json!({ "unobserved": {} }));
}

#[tokio::test]
async fn elections_are_listed_to_whoever_asks() {
    let server = start().await;
    let (mut leader, mut looker) = (server.socket().await, server.socket().await);
    leader.session("a").await;
    for election in ["e/1", "e/2", "f"] {
        leader.ask(json!({ "campaign": { "election": election, "value": election } })).await;
    }
    let first = looker.ask(json!({ "elections": { "prefix": "e/", "limit": 1 } })).await["ok"]["elections"].clone();
    assert_eq!((&first["elections"][0]["leader"]["value"], &first["next"]), (&json!("e/1"), &json!("e/1")));
    let last = json!({ "elections": { "prefix": "e/", "limit": 1, "after": first["next"] } });
    let last = looker.ask(last).await["ok"]["elections"].clone();
    assert_eq!((&last["elections"][0]["election"], &last["next"]), (&json!("e/2"), &json!(null)));
    let all = looker.ask(json!({ "elections": {} })).await["ok"]["elections"].clone();
    assert_eq!(all["elections"].as_array().unwrap().len(), 3);
    let wrong = looker.ask(json!({ "elections": { "size": 1 } })).await;
    assert_eq!(wrong["problem"]["code"], "bad_request");
}

#[tokio::test]
async fn a_stolen_grant_is_told_to_its_holder() {
    let server = start().await;
    let mut socket = server.socket().await;
    socket.session("a").await;
    let token = socket.ask(json!({ "acquire": { "names": ["x"] } })).await["ok"]["granted"]["token"].clone();
    server.post("/v1/locks/x/steal", json!({})).await;
    let event = socket.receive().await;
    assert_eq!(event["event"]["lost"], json!({ "token": token, "names": ["x"], "reason": "stolen" }));
}

#[tokio::test]
async fn l11_a_socket_whose_session_is_ended_over_http_is_told_at_once() {
    let server = start().await;
    let mut socket = server.socket().await;
    let key = socket.session("a").await;
    socket.ask(json!({ "acquire": { "names": ["x"] } })).await;
    assert_eq!(server.delete(&format!("/v1/sessions/{key}")).await.status, 204);
    assert_eq!(socket.receive().await["event"], json!({ "session_ended": { "reason": "ended" } }));
    // The connection is there for another session.
    socket.session("b").await;
    assert_eq!(server.get("/v1/locks/x").await.json()["holders"], json!([]));
}

#[tokio::test]
async fn l11_a_closed_connection_keeps_its_session_unless_it_said_otherwise() {
    let server = start().await;
    let (mut keeps, mut ends) = (server.socket().await, server.socket().await);
    keeps.session("keeps").await;
    ends.ask(json!({ "open": { "name": "ends", "ttl_ms": 60_000, "on_disconnect": "end" } })).await;
    keeps.ask(json!({ "acquire": { "names": ["kept"] } })).await;
    ends.ask(json!({ "acquire": { "names": ["freed"] } })).await;
    keeps.close().await;
    drop(ends.into_stream());
    server.until("/v1/locks/freed", |lock| lock["holders"] == json!([])).await;
    assert_eq!(server.get("/v1/locks/kept").await.json()["holders"][0]["session_name"], "keeps");
    server.until("/v1/sessions", |page| page["sessions"][0]["connected"] == false).await;
}

#[tokio::test]
async fn a_resumed_session_leaves_its_old_connection() {
    let server = start().await;
    let (mut old, mut fresh) = (server.socket().await, server.socket().await);
    let key = old.session("a").await;
    let token = old.ask(json!({ "acquire": { "names": ["x"] } })).await["ok"]["granted"]["token"].clone();
    let resumed =
        fresh.ask(json!({ "resume": { "session": key, "held": [{ "token": token, "names": ["x"] }] } })).await;
    assert_eq!(resumed["ok"]["resumed"]["held"], json!([token]), "{resumed}");
    assert_eq!(resumed["ok"]["resumed"]["lost"], json!([]));
    assert_eq!(old.receive().await["event"], json!({ "session_ended": { "reason": "superseded" } }));
    assert_eq!(old.closed().await, Some((4_409, "superseded".to_owned())));
    let released = fresh.ask(json!({ "release": { "name": "x", "token": token } })).await;
    assert_eq!(released["ok"], json!({ "released": {} }));
}

#[tokio::test]
async fn the_subprotocol_is_required_and_chosen() {
    let server = start().await;
    let upgrade = "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    for headers in [
        String::new(),
        upgrade.to_owned(),
        format!("{upgrade}Sec-WebSocket-Protocol: raceproof.v2\r\n"),
        format!("{}Sec-WebSocket-Protocol: raceproof.v1\r\n", upgrade.replace("13", "12")),
        format!("{}Sec-WebSocket-Protocol: raceproof.v1\r\n", upgrade.replace("dGhlI", "")),
    ] {
        let headers = format!("{headers}Connection: upgrade\r\n");
        call(server.addr, "GET", "/v1/ws", &headers, None).await.problem(400, "bad_request");
    }
    let both = Socket::open_with(server.addr, |request| {
        request.headers_mut().insert("sec-websocket-protocol", "raceproof.v1, raceproof.v9".parse().unwrap());
    });
    both.await.unwrap().session("a").await;
}

#[tokio::test]
async fn frames_count_from_one_without_a_gap() {
    let server = start().await;
    for (first, second) in [(2, None), (0, None), (1, Some(1)), (1, Some(3))] {
        let mut socket = server.socket().await;
        for seq in std::iter::once(first).chain(second) {
            socket.send_raw(Message::text(json!({ "seq": seq, "request": { "keepalive": {} } }).to_string())).await;
        }
        assert_eq!(socket.closed().await, Some((4_400, "bad_frame".to_owned())), "{first} {second:?}");
    }
}

#[tokio::test]
async fn an_unknown_request_is_answered_and_the_connection_goes_on() {
    let server = start().await;
    let mut socket = server.socket().await;
    let answer = socket.ask(json!({ "conquer": { "names": ["x"] } })).await;
    assert_eq!(answer["problem"]["code"], "bad_request");
    assert!(answer["problem"]["detail"].as_str().unwrap().contains("conquer"));
    let answer = socket.ask(json!({ "acquire": { "names": ["x"], "surprise": 1 } })).await;
    assert_eq!(answer["problem"]["code"], "bad_request");
    let answer = socket.ask(json!({ "lock": { "name": "x", "surprise": 1 } })).await;
    assert_eq!(answer["problem"]["code"], "bad_request");
    socket.session("a").await;
}

#[tokio::test]
async fn a_silent_client_is_pinged_and_then_let_go() {
    let server = start_with(|config| config.limits.ping_interval = Duration::from_millis(100)).await;
    let mut socket = server.socket().await;
    socket.ask(json!({ "open": { "name": "silent", "ttl_ms": 60_000, "on_disconnect": "end" } })).await;
    // Not reading means not answering pings.
    server.until("/v1/sessions", |page| page["sessions"] == json!([])).await;
    assert_eq!(socket.closed().await, Some((4_408, "ping_timeout".to_owned())));

    let mut alive = server.socket().await;
    alive.ask(json!({ "open": { "name": "alive", "ttl_ms": 60_000, "on_disconnect": "end" } })).await;
    let mut stream = alive.into_stream();
    let reading = async {
        let mut pings = 0;
        while pings < 5 {
            if let Some(Ok(Message::Ping(_))) = futures_util::StreamExt::next(&mut stream).await {
                pings += 1;
            }
        }
    };
    tokio::time::timeout(crate::harness::PATIENCE, reading).await.expect("five pings");
    assert_eq!(server.get("/v1/sessions").await.json()["sessions"][0]["connected"], true);
}

#[tokio::test]
async fn a_slow_reader_loses_its_connection_and_slows_nobody() {
    let server = start_with(|config| {
        config.limits.outbox_frames = 64;
        config.limits.write_timeout = Duration::from_millis(300);
    })
    .await;
    let (mut slow, mut leader, mut quick) = (server.socket().await, server.socket().await, server.socket().await);
    leader.session("leader").await;
    slow.ask(json!({ "open": { "name": "slow", "ttl_ms": 60_000, "on_disconnect": "end" } })).await;
    slow.ask(json!({ "observe": { "election": "e" } })).await;
    quick.ask(json!({ "observe": { "election": "e" } })).await;
    let value = "v".repeat(4_000);
    for round in 0.. {
        let elected = leader.ask(json!({ "campaign": { "election": "e", "value": value } })).await;
        let term = elected["ok"]["elected"]["term"].as_u64().unwrap();
        quick.receive().await;
        leader.ask(json!({ "resign": { "election": "e", "term": term } })).await;
        quick.receive().await;
        let open = server.get("/v1/sessions").await.json()["sessions"].as_array().unwrap().len();
        if open == 1 {
            break;
        }
        assert!(round < 20_000, "the slow reader is still there");
    }
    drop(slow.into_stream());
}

#[tokio::test]
async fn answers_that_the_socket_did_not_take_at_once_come_whole_and_in_order() {
    const ASKED: u64 = 600;
    let server = start().await;
    let mut socket = server.socket().await;
    socket.session("a").await;
    let names: Vec<_> = (0..60).map(|i| format!("{i}-{}", "n".repeat(250))).collect();
    socket.ask(json!({ "acquire": { "names": names } })).await;
    // More than both sockets hold: some 20 MB.
    for seq in 3..ASKED + 3 {
        assert_eq!(socket.send(json!({ "locks": { "limit": 1_000 } })).await, seq);
    }
    for seq in 3..ASKED + 3 {
        let page = socket.receive().await;
        assert_eq!(page["re"], seq);
        assert_eq!(page["ok"]["locks"]["locks"].as_array().unwrap().len(), 60);
    }
}
