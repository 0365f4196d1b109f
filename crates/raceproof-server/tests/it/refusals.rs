//! Every refusal that HTTP can bring about has its status, its code and its shape.

use std::time::Duration;

use raceproof_server::Server;
use serde_json::{Value, json};

use crate::harness::{call, config, run, start, start_with};

#[tokio::test]
async fn what_is_not_there_is_404_and_with_the_wrong_method_405() {
    let server = start().await;
    for path in ["/nothing", "/v1", "/v1/", "/v1/locks/", "/v1/locks/a/b", "/v2/locks", "/v1/locks/a/seize"] {
        server.get(path).await.problem(404, "not_found");
    }
    for (method, path, allowed) in [
        ("POST", "/v1/locks", "GET,HEAD"),
        ("PUT", "/v1/sessions", "GET,HEAD,POST"),
        ("GET", "/v1/acquire", "POST"),
        ("DELETE", "/", "GET,HEAD"),
        ("POST", "/healthz", "GET,HEAD"),
    ] {
        let reply = call(server.addr, method, path, "", None).await;
        reply.problem(405, "method_not_allowed");
        assert_eq!(reply.header("allow"), Some(allowed), "{method} {path}");
    }
}

#[tokio::test]
async fn malformed_bodies_and_queries_are_400_and_say_where() {
    let server = start().await;
    let a = server.session("a").await;
    for body in [
        "{",
        "[]",
        "null",
        "\"x\"",
        "{\"session\":5}",
        "{\"session\":\"nonsense\"}",
        "{\"session\":\"SESSION\",\"wait\":1}",
        "{\"session\":\"SESSION\",\"wait_ms\":-1}",
        "{\"session\":\"SESSION\",\"wait_ms\":1e400}",
        "{\"session\":\"SESSION\",\"mode\":\"both\"}",
        "{\"session\":\"SESSION\",\"names\":[\"b\"]}",
        "{\"session\":\"SESSION\"} trailing",
        "{\"session\":\"SESSION\",\"session\":\"SESSION\"}",
        "{}",
        "",
        "\u{feff}{}",
    ] {
        let body = body.replace("SESSION", &a);
        let reply = call(server.addr, "POST", "/v1/locks/x/acquire", "", Some(body.as_bytes())).await;
        reply.problem(400, "bad_request");
    }
    let bytes = call(server.addr, "POST", "/v1/sessions", "", Some(b"{\"name\":\"\xff\"}")).await;
    bytes.problem(400, "bad_request");
    for path in [
        "/v1/locks?limit=x",
        "/v1/locks?size=1",
        "/v1/locks?limit=-1",
        "/v1/elections?limit=x",
        "/v1/elections?size=1",
        "/v1/sessions?after=zzz",
    ] {
        server.get(path).await.problem(400, "bad_request");
    }
    let deep = "[".repeat(50_000);
    call(server.addr, "POST", "/v1/sessions", "", Some(deep.as_bytes())).await.problem(400, "bad_request");
    let nothing_taken = server.get("/v1/locks").await.json();
    assert_eq!(nothing_taken, json!({ "locks": [] }));
}

#[tokio::test]
async fn bounds_of_values_are_told_by_their_codes() {
    let server = start().await;
    let a = server.session("a").await;
    let sessions = |ttl: u64, name: &str| json!({ "name": name, "ttl_ms": ttl });
    server.post("/v1/sessions", sessions(99, "x")).await.problem(400, "ttl_out_of_range");
    server.post("/v1/sessions", sessions(86_400_001, "x")).await.problem(400, "ttl_out_of_range");
    server.post("/v1/sessions", sessions(1_000, &"x".repeat(257))).await.problem(400, "name_invalid");
    let acquire = |set: Value| {
        let mut body = json!({ "session": a });
        body.as_object_mut().unwrap().extend(set.as_object().unwrap().clone());
        body
    };
    for (set, code) in [
        (json!({ "request": "x".repeat(65) }), "bad_request"),
        (json!({ "owner": "x".repeat(65) }), "bad_request"),
        (json!({ "permits": 0 }), "bad_request"),
        (json!({ "permits": 2, "take": 3 }), "bad_request"),
        (json!({ "permits": 2, "mode": "shared" }), "bad_request"),
        (json!({ "lock_delay_ms": 3_600_001 }), "bad_request"),
    ] {
        let reply = server.post("/v1/locks/x/acquire", acquire(set.clone())).await;
        assert_eq!(reply.problem(400, code)["code"], code, "{set}");
    }
    let many: Vec<_> = (0..65).map(|i| format!("n{i}")).collect();
    server.post("/v1/acquire", json!({ "session": a, "names": many })).await.problem(400, "bad_request");
    server.post("/v1/locks//acquire", json!({ "session": a })).await.problem(400, "name_invalid");
    server.post("/v1/acquire", json!({ "session": a, "names": [] })).await.problem(400, "bad_request");
    server.post("/v1/acquire", json!({ "session": a, "names": ["a", "a"] })).await.problem(400, "bad_request");
    let body = json!({ "session": a, "value": "x".repeat(4_097) });
    server.post("/v1/elections/e/campaign", body).await.problem(413, "value_too_large");
}

#[tokio::test]
async fn a_body_past_the_limit_is_413_announced_or_not() {
    let server = start_with(|config| config.limits.body_bytes = 1_000).await;
    let big = format!("{{\"name\":\"{}\"}}", "x".repeat(1_000));
    call(server.addr, "POST", "/v1/sessions", "", Some(big.as_bytes())).await.problem(413, "body_too_large");
    let chunked = format!("{:x}\r\n{big}\r\n0\r\n\r\n", big.len());
    let mut stream =
        crate::harness::send(server.addr, "POST", "/v1/sessions", "Transfer-Encoding: chunked\r\n", None).await;
    tokio::io::AsyncWriteExt::write_all(&mut stream, chunked.as_bytes()).await.unwrap();
    crate::harness::receive(&mut stream).await.problem(413, "body_too_large");
}

#[tokio::test]
async fn a_url_or_a_head_past_the_limit_is_431_and_hangs_up() {
    let server = start().await;
    for (path, headers) in [
        (format!("/v1/locks/{}", "x".repeat(17_000)), String::new()),
        (format!("/v1/locks/{}", "x".repeat(70_000)), String::new()),
        ("/v1/locks".to_owned(), format!("X-Padding: {}\r\n", "x".repeat(17_000))),
    ] {
        let refused = call(server.addr, "GET", &path, &headers, None).await;
        assert_eq!((refused.status, refused.header("connection"), &*refused.body), (431, Some("close"), ""));
    }
    let long = format!("X-Padding: {}\r\n", "x".repeat(15_000));
    assert_eq!(call(server.addr, "GET", "/v1/locks", &long, None).await.status, 200);
}

#[tokio::test]
async fn an_unknown_session_is_404_wherever_it_speaks() {
    let server = start().await;
    let key = server.session("a").await;
    let (id, secret) = key.split_once('-').unwrap();
    let flipped = if secret.starts_with('0') { "1" } else { "0" };
    let forged = format!("{id}-{flipped}{}", &secret[1..]);
    for session in [forged.as_str(), "999-00000000000000000000000000000000"] {
        for (path, body) in [
            ("/v1/locks/x/acquire", json!({ "session": session })),
            ("/v1/acquire", json!({ "session": session, "names": ["x"] })),
            ("/v1/locks/x/release", json!({ "session": session, "token": 1 })),
            ("/v1/locks/x/why", json!({ "session": session, "request": "r" })),
            ("/v1/cancel", json!({ "session": session, "request": "r" })),
            ("/v1/elections/e/campaign", json!({ "session": session })),
            ("/v1/elections/e/resign", json!({ "session": session, "term": 1 })),
        ] {
            server.post(path, body).await.problem(404, "session_unknown");
        }
        server.post(&format!("/v1/sessions/{session}/keepalive"), json!({})).await.problem(404, "session_unknown");
    }
    server.post("/v1/sessions/nonsense/keepalive", json!({})).await.problem(404, "session_unknown");
}

#[tokio::test]
async fn a_full_hub_is_429_and_says_when_to_come_again() {
    let server = start_with(|config| {
        config.hub.sessions_max = 2;
        config.hub.waiters_per_name_max = 1;
        config.hub.grants_per_session_max = 2;
    })
    .await;
    let (a, b) = (server.session("a").await, server.session("b").await);
    let full = server.post("/v1/sessions", json!({ "name": "c" })).await;
    full.problem(429, "too_many_sessions");
    assert!(full.header("retry-after").unwrap().parse::<u64>().unwrap() >= 1);

    server.take(&a, "x").await;
    server.take(&a, "y").await;
    let more = server.post("/v1/locks/z/acquire", json!({ "session": a })).await;
    more.problem(429, "too_many_grants");

    let body = json!({ "session": b, "wait_ms": 60_000, "request": "w" }).to_string();
    let _waits = crate::harness::send(server.addr, "POST", "/v1/locks/x/acquire", "", Some(body.as_bytes())).await;
    server.until("/v1/locks/x", |lock| lock["waiters_count"] == 1).await;
    let body = json!({ "session": b, "wait_ms": 60_000, "owner": "o" });
    let full = server.post("/v1/locks/x/acquire", body).await;
    full.problem(429, "too_many_waiters");
    assert!(full.header("retry-after").is_some());
}

#[tokio::test]
async fn a_non_loopback_address_needs_credentials_or_insecure() {
    let mut open = config(raceproof_server::StoreKind::Memory);
    open.listen = "0.0.0.0:0".parse().unwrap();
    let refused = Server::bind(open.clone()).await.unwrap_err();
    assert!(refused.to_string().contains("without credentials"), "{refused}");
    assert!(refused.advice().unwrap().contains("--auth-token-file"));

    open.insecure = true;
    run(Server::bind(open.clone()).await.unwrap()).stop().await.unwrap();
    open.insecure = false;
    open.auth = Some(raceproof_server::Tokens::new(["0123456789abcdef"]));
    run(Server::bind(open).await.unwrap()).stop().await.unwrap();
}

#[tokio::test]
async fn a_slow_head_and_a_slow_body_do_not_hold_a_connection() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = start_with(|config| config.limits.header_timeout = Duration::from_millis(200)).await;
    let mut stream = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nHost: local").await.unwrap();
    let mut rest = Vec::new();
    let ended = tokio::time::timeout(crate::harness::PATIENCE, stream.read_to_end(&mut rest)).await;
    assert!(ended.is_ok(), "the server must hang up");

    let headers = format!("Host: {}\r\nContent-Length: 100\r\n", server.addr);
    let mut stream = crate::harness::send(server.addr, "POST", "/v1/sessions", &headers, None).await;
    crate::harness::receive(&mut stream).await.problem(400, "bad_request");
}

/// Asks on a connection that may be asked again.
async fn ask_again(stream: &mut tokio::net::TcpStream) -> String {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    stream.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.unwrap());
    }
    let head = String::from_utf8(head).unwrap().to_ascii_lowercase();
    let length = head.split("content-length: ").nth(1).unwrap().lines().next().unwrap().parse().unwrap();
    stream.read_exact(&mut vec![0; length]).await.unwrap();
    head
}

#[tokio::test]
async fn a_connection_may_rest_between_requests_but_not_within_a_head() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    let server = start_with(|config| config.limits.header_timeout = Duration::from_millis(400)).await;
    let mut stream = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    for _ in 0..2 {
        assert!(ask_again(&mut stream).await.starts_with("http/1.1 200"));
        tokio::time::sleep(Duration::from_millis(1_000)).await;
    }
    // An answer may take its time, too.
    let (holder, waiter) = (server.session("holder").await, server.session("waiter").await);
    server.take(&holder, "x").await;
    let body = json!({ "session": waiter, "wait_ms": 1_000 }).to_string();
    let waits = call(server.addr, "POST", "/v1/locks/x/acquire", "", Some(body.as_bytes())).await;
    waits.problem(408, "wait_timed_out");

    for begun in [&b"G"[..], b"GET /healthz HTTP/1.1\r\nHost: local"] {
        let mut stream = tokio::net::TcpStream::connect(server.addr).await.unwrap();
        ask_again(&mut stream).await;
        stream.write_all(begun).await.unwrap();
        let ended = tokio::time::timeout(crate::harness::PATIENCE, stream.read_to_end(&mut Vec::new())).await;
        assert!(ended.is_ok(), "the server must hang up");
    }
    let mut silent = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    let ended = tokio::time::timeout(crate::harness::PATIENCE, silent.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok(), "nor may one say nothing at all");
}

#[tokio::test]
async fn a_connection_that_rests_for_long_is_let_go() {
    use tokio::io::AsyncReadExt;
    let server = start_with(|config| config.limits.keep_alive = Duration::from_millis(150)).await;
    let mut stream = tokio::net::TcpStream::connect(server.addr).await.unwrap();
    ask_again(&mut stream).await;
    let ended = tokio::time::timeout(crate::harness::PATIENCE, stream.read_to_end(&mut Vec::new())).await;
    assert!(ended.is_ok(), "the server must hang up");
}
