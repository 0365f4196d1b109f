//! Limits that a client runs into from outside, each with its answer: what is asked too often, too slowly, too much at
//! a time.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::harness::{PATIENCE, Running, call, receive, send, start_with};

/// Asks to wait for `x` and leaves the answer to come.
async fn wait(server: &Running, waiting: u64, body: Value) -> TcpStream {
    let stream = send(server.addr, "POST", "/v1/locks/x/acquire", "", Some(body.to_string().as_bytes())).await;
    server.until("/v1/locks/x", |lock| lock["waiters_count"] == waiting).await;
    stream
}

#[tokio::test]
async fn waits_have_a_limit_for_each_session_for_each_name_and_in_all() {
    for (of_session, of_name, in_all) in [(1, 100, 100), (100, 1, 100), (100, 100, 1)] {
        let server = start_with(|config| {
            config.hub.waiters_per_session_max = of_session;
            config.hub.waiters_per_name_max = of_name;
            config.hub.waiters_max = in_all;
        })
        .await;
        let (holder, waiter) = (server.session("holder").await, server.session("waiter").await);
        server.take(&holder, "x").await;
        let body = |owner: &str| json!({ "session": waiter, "wait_ms": 60_000, "owner": owner });
        let first = wait(&server, 1, body("a")).await;
        let refused = server.post("/v1/locks/x/acquire", body("b")).await;
        refused.problem(429, "too_many_waiters");
        assert!(refused.header("retry-after").is_some());
        // Trying without waiting is not limited, and a place that is given up is free.
        server.post("/v1/locks/x/acquire", json!({ "session": waiter })).await.problem(409, "lock_held");
        drop(first);
        server.until("/v1/locks/x", |lock| lock["waiters_count"] == 0).await;
        let _second = wait(&server, 1, body("b")).await;
    }
}

#[tokio::test]
async fn a_wait_may_be_asked_again_so_often_and_so_many_elections_observed() {
    let server = start_with(|config| {
        config.hub.retries_waiting_max = 2;
        config.hub.observed_max = 2;
    })
    .await;
    let (holder, waiter) = (server.session("holder").await, server.session("waiter").await);
    let token = server.take(&holder, "x").await;
    let body = json!({ "session": waiter, "wait_ms": 60_000, "request": "r" }).to_string();
    let ask = || send(server.addr, "POST", "/v1/locks/x/acquire", "", Some(body.as_bytes()));
    let mut asked = Vec::new();
    // The holder's was the first.
    for count in [2, 3] {
        asked.push(ask().await);
        server.until_figure(&format!("raceproof_requests_total{{kind=\"acquire\"}} {count}")).await;
    }
    receive(&mut ask().await).await.problem(429, "too_many_requests");
    server.post("/v1/locks/x/release", json!({ "session": holder, "token": token })).await;
    for mut stream in asked {
        assert_eq!(receive(&mut stream).await.status, 200);
    }

    let mut socket = server.socket().await;
    for election in ["a", "b"] {
        assert!(socket.ask(json!({ "observe": { "election": election } })).await["ok"]["observing"].is_object());
    }
    let refused = socket.ask(json!({ "observe": { "election": "c" } })).await;
    assert_eq!(refused["problem"]["code"], "too_many_requests", "{refused}");
    // One that is observed already is no further one.
    assert!(socket.ask(json!({ "observe": { "election": "a" } })).await["ok"]["observing"].is_object());
}

/// Sends a byte at a time until the server has enough of it; gives what it said.
async fn trickle(mut stream: TcpStream, begun: &[u8], byte: &[u8]) -> String {
    stream.write_all(begun).await.unwrap();
    let (mut reading, mut writing) = stream.split();
    let mut answer = Vec::new();
    let trickling = async {
        while writing.write_all(byte).await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = timeout(PATIENCE, reading.read_to_end(&mut answer)) => { let _reset = ended.expect("the server hangs up"); }
        () = trickling => {}
    }
    String::from_utf8(answer).unwrap()
}

#[tokio::test]
async fn a_byte_now_and_then_wins_no_time() {
    let server = start_with(|config| config.limits.header_timeout = Duration::from_millis(300)).await;
    let connect = async || TcpStream::connect(server.addr).await.unwrap();
    let head = trickle(connect().await, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-Slow: ", b"x").await;
    assert_eq!(head, "", "nobody to answer");
    let announced = b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 60000\r\n\r\n";
    let body = trickle(connect().await, announced, b" ").await;
    assert!(body.starts_with("HTTP/1.1 400") && body.contains("\"bad_request\""), "{body}");
    let chunked = b"POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n";
    let body = trickle(connect().await, chunked, b"1\r\n \r\n").await;
    assert!(body.starts_with("HTTP/1.1 400") && body.contains("\"bad_request\""), "{body}");
}

#[tokio::test]
async fn what_is_left_of_a_refused_body_is_not_taken_for_a_request() {
    let server = start_with(|config| config.limits.body_bytes = 1_000).await;
    let hidden = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(100);
    for expect in ["", "Expect: 100-continue\r\n"] {
        let headers = format!("Host: localhost\r\nConnection: keep-alive\r\n{expect}");
        let answer = call(server.addr, "POST", "/v1/sessions", &headers, Some(hidden.as_bytes())).await;
        answer.problem(413, "body_too_large");
        assert!(!answer.body.contains("HTTP/1.1"), "{answer:?}");
    }
}

#[tokio::test]
async fn connections_beyond_the_limit_wait_for_a_place() {
    const ASK: &[u8] = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let server = start_with(|config| config.limits.connections = 2).await;
    let open = async || {
        let mut stream = TcpStream::connect(server.addr).await.unwrap();
        stream.write_all(ASK).await.unwrap();
        stream
    };
    async fn answer(stream: &mut TcpStream) -> String {
        let mut answer = vec![0; 12];
        timeout(PATIENCE, stream.read_exact(&mut answer)).await.expect("an answer").unwrap();
        String::from_utf8(answer).unwrap()
    }
    let (mut first, mut second) = (open().await, open().await);
    for stream in [&mut first, &mut second] {
        assert_eq!(answer(stream).await, "HTTP/1.1 200");
    }
    let mut third = open().await;
    let early = timeout(Duration::from_millis(300), third.read_u8()).await;
    assert!(early.is_err(), "{early:?}");
    drop(first);
    assert_eq!(answer(&mut third).await, "HTTP/1.1 200");
    drop(second);
}
