//! Requests that wait over HTTP: they are granted in turn, time out, are cancelled, and pass on what they cannot take.

use serde_json::{Value, json};
use tokio::net::TcpStream;

use crate::harness::{Running, receive, send, start};

async fn wait_for(server: &Running, name: &str, body: Value) -> TcpStream {
    let path = format!("/v1/locks/{name}/acquire");
    let before = server.get(&format!("/v1/locks/{name}")).await.json()["waiters_count"].as_u64().unwrap();
    let stream = send(server.addr, "POST", &path, "", Some(body.to_string().as_bytes())).await;
    server.until(&format!("/v1/locks/{name}"), |lock| lock["waiters_count"] == before + 1).await;
    stream
}

#[tokio::test]
async fn a_waiting_request_is_answered_when_its_turn_comes() {
    let server = start().await;
    let (a, b, c) = (server.session("a").await, server.session("b").await, server.session("c").await);
    let token = server.take(&a, "x").await;
    let mut second = wait_for(&server, "x", json!({ "session": b, "wait_ms": 60_000 })).await;
    let mut third = wait_for(&server, "x", json!({ "session": c, "wait_ms": 60_000 })).await;
    let shown = server.get("/v1/locks/x").await.json();
    let names: Vec<_> = shown["waiters"].as_array().unwrap().iter().map(|w| w["session_name"].clone()).collect();
    assert_eq!(names, ["b", "c"]);

    server.post("/v1/locks/x/release", json!({ "session": a, "token": token })).await;
    let granted = receive(&mut second).await;
    assert_eq!(granted.status, 200);
    let next = granted.json()["token"].as_u64().unwrap();
    assert!(next > token);
    server.post("/v1/locks/x/release", json!({ "session": b, "token": next })).await;
    assert!(receive(&mut third).await.json()["token"].as_u64().unwrap() > next);
}

#[tokio::test]
async fn a_wait_that_runs_out_is_408_with_the_holders() {
    let server = start().await;
    let (a, b) = (server.session("a").await, server.session("b").await);
    server.take(&a, "x").await;
    let problem = server.post("/v1/locks/x/acquire", json!({ "session": b, "wait_ms": 30 })).await;
    assert_eq!(problem.problem(408, "wait_timed_out")["holders"][0]["session_name"], "a");
    assert_eq!(server.get("/v1/locks/x").await.json()["waiters_count"], 0);
}

#[tokio::test]
async fn l4_closing_a_waiting_request_cancels_it() {
    let server = start().await;
    let (a, b, c) = (server.session("a").await, server.session("b").await, server.session("c").await);
    let token = server.take(&a, "x").await;
    for body in [json!({ "session": b, "wait_ms": 60_000 }), json!({ "session": b, "wait_ms": 60_000, "request": "r" })]
    {
        let gone = wait_for(&server, "x", body).await;
        let mut next = wait_for(&server, "x", json!({ "session": c, "wait_ms": 60_000 })).await;
        drop(gone);
        server.until("/v1/locks/x", |lock| lock["waiters_count"] == 1).await;
        assert_eq!(server.get("/v1/locks/x").await.json()["waiters"][0]["session_name"], "c");
        drop(next);
        server.until("/v1/locks/x", |lock| lock["waiters_count"] == 0).await;
        next = wait_for(&server, "x", json!({ "session": c, "wait_ms": 60_000 })).await;
        drop(next);
        server.until("/v1/locks/x", |lock| lock["waiters_count"] == 0).await;
    }
    let mut last = wait_for(&server, "x", json!({ "session": c, "wait_ms": 60_000 })).await;
    server.post("/v1/locks/x/release", json!({ "session": a, "token": token })).await;
    assert_eq!(receive(&mut last).await.status, 200);
}

#[tokio::test]
async fn l12_a_retry_joins_the_wait_and_keeps_its_place_when_the_first_connection_goes() {
    let server = start().await;
    let (a, b, c) = (server.session("a").await, server.session("b").await, server.session("c").await);
    let token = server.take(&a, "x").await;
    let body = json!({ "session": b, "wait_ms": 60_000, "request": "r" });
    let first = wait_for(&server, "x", body.clone()).await;
    let mut rival = wait_for(&server, "x", json!({ "session": c, "wait_ms": 60_000 })).await;
    let mut retry = send(server.addr, "POST", "/v1/locks/x/acquire", "", Some(body.to_string().as_bytes())).await;
    server.until_figure("raceproof_requests_total{kind=\"acquire\"} 4").await;
    drop(first);
    // The rival's, the retry's, and the one that asks.
    server.until_figure("raceproof_connections 3").await;
    server.post("/v1/locks/x/release", json!({ "session": a, "token": token })).await;
    let granted = receive(&mut retry).await.json()["token"].as_u64().unwrap();
    server.post("/v1/locks/x/release", json!({ "session": b, "token": granted })).await;
    assert!(receive(&mut rival).await.json()["token"].as_u64().unwrap() > granted);
}

#[tokio::test]
async fn a_wait_is_explained_and_cancelled_from_elsewhere() {
    let server = start().await;
    let (a, b) = (server.session("a").await, server.session("b").await);
    let token = server.take(&a, "x").await;
    let mut waits = wait_for(&server, "x", json!({ "session": b, "wait_ms": 60_000, "request": "r1" })).await;

    let why = server.post("/v1/locks/x/why", json!({ "session": b, "request": "r1" })).await.json();
    assert_eq!(why["request"], "r1");
    assert_eq!(why["blocked_by"][0]["holders"][0]["token"], token);
    assert_eq!(why["blocked_by"][0]["waiters"][0]["position"], 1);
    let by_get = server.get(&format!("/v1/locks/x/why?session={b}&request=r1")).await;
    assert_eq!((by_get.status, &by_get.json()["blocked_by"][0]["name"]), (200, &json!("x")));
    server.post("/v1/locks/y/why", json!({ "session": b, "request": "r1" })).await.problem(404, "not_waiting");
    server.post("/v1/locks/x/why", json!({ "session": b, "request": "r2" })).await.problem(404, "not_waiting");

    let cancelled = server.post("/v1/cancel", json!({ "session": b, "request": "r1" })).await;
    assert_eq!((cancelled.status, cancelled.json()), (200, json!({})));
    receive(&mut waits).await.problem(409, "cancelled");
    assert_eq!(server.post("/v1/cancel", json!({ "session": b, "request": "r1" })).await.status, 200);
}

#[tokio::test]
async fn l6_a_cycle_of_waiters_is_refused_with_the_cycle() {
    let server = start().await;
    let (a, b) = (server.session("a").await, server.session("b").await);
    server.take(&a, "x").await;
    server.take(&b, "y").await;
    let _a_waits = wait_for(&server, "y", json!({ "session": a, "wait_ms": 60_000 })).await;
    let refused = server.post("/v1/locks/x/acquire", json!({ "session": b, "wait_ms": 60_000 })).await;
    let problem = refused.problem(409, "deadlock");
    let mut names: Vec<_> =
        problem["cycle"].as_array().unwrap().iter().map(|m| m["session_name"].as_str().unwrap()).collect();
    names.sort_unstable();
    assert_eq!(names, ["a", "b"], "{problem}");
}

#[tokio::test]
async fn a_session_that_ends_refuses_its_waits() {
    let server = start().await;
    let (a, b) = (server.session("a").await, server.session("b").await);
    server.take(&a, "x").await;
    let mut waits = wait_for(&server, "x", json!({ "session": b, "wait_ms": 60_000 })).await;
    server.delete(&format!("/v1/sessions/{b}")).await;
    receive(&mut waits).await.problem(404, "session_unknown");
}

#[tokio::test]
async fn l5_what_an_expired_session_held_goes_to_the_next() {
    let server = start().await;
    let short = server.post("/v1/sessions", json!({ "name": "short", "ttl_ms": 100 })).await.json();
    let b = server.session("b").await;
    let token = server.take(short["session"].as_str().unwrap(), "x").await;
    let granted = server.post("/v1/locks/x/acquire", json!({ "session": b, "wait_ms": 60_000 })).await;
    assert_eq!(granted.status, 200);
    assert!(granted.json()["token"].as_u64().unwrap() > token);
}
