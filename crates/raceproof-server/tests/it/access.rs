//! Who may call: credentials, origins, host names.

use raceproof_server::Tokens;
use serde_json::json;

use crate::harness::{Socket, call, start, start_with};

#[tokio::test]
async fn calls_need_a_token_where_there_are_any() {
    let server = start_with(|config| config.auth = Some(Tokens::new(["correct-horse-battery"]))).await;
    for (method, path) in [
        ("GET", "/v1/locks"),
        ("GET", "/v1/elections"),
        ("POST", "/v1/sessions"),
        ("POST", "/v1/locks/x/steal"),
        ("GET", "/v1/ws"),
        ("GET", "/metrics"),
        ("DELETE", "/v1/sessions/1-0"),
    ] {
        for header in ["", "Authorization: Bearer wrong-horse-battery\r\n", "Authorization: Basic Y29ycmVjdA==\r\n"] {
            let reply = call(server.addr, method, path, header, None).await;
            reply.problem(401, "unauthorized");
            assert_eq!(reply.header("www-authenticate"), Some("Bearer realm=\"raceproof\""));
        }
    }
    for path in ["/", "/healthz", "/readyz", "/openapi.json"] {
        assert_eq!(server.get(path).await.status, 200, "{path} needs no token");
    }
    let right = "Authorization: Bearer correct-horse-battery\r\n";
    assert_eq!(call(server.addr, "GET", "/v1/locks", right, None).await.json(), json!({ "locks": [] }));
    assert_eq!(call(server.addr, "GET", "/metrics", right, None).await.status, 200);

    assert!(Socket::open_with(server.addr, |_| {}).await.is_err());
    let mut socket = Socket::open_with(server.addr, |request| {
        request.headers_mut().insert("authorization", "Bearer correct-horse-battery".parse().unwrap());
    })
    .await
    .unwrap();
    socket.session("a").await;
}

#[tokio::test]
async fn foreign_pages_are_refused_before_anything_else() {
    let server = start_with(|config| config.auth = Some(Tokens::new(["correct-horse-battery"]))).await;
    let own = format!("Origin: http://{}\r\n", server.addr);
    for near in [
        "Origin: https://evil.example\r\n".to_owned(),
        "Origin: null\r\n".to_owned(),
        format!("Origin: http://localhost:{}\r\n", server.addr.port()),
        format!("Origin: http://127.0.0.1:{}\r\n", server.addr.port() - 1),
        format!("Origin: http://{}.evil.example\r\n", server.addr),
        "Origin: \r\n".to_owned(),
    ] {
        for path in ["/v1/locks", "/v1/ws", "/", "/healthz"] {
            call(server.addr, "GET", path, &near, None).await.problem(403, "origin_denied");
        }
    }
    assert_eq!(call(server.addr, "GET", "/healthz", &own, None).await.status, 200);
    call(server.addr, "GET", "/v1/locks", &own, None).await.problem(401, "unauthorized");
}

#[tokio::test]
async fn a_listed_origin_may_call_and_its_browser_is_told() {
    let server = start_with(|config| config.allowed_origins = vec!["https://ops.example.org/".to_owned()]).await;
    let origin = "Origin: https://ops.example.org\r\n";
    let reply = call(server.addr, "GET", "/v1/locks", origin, None).await;
    assert_eq!(reply.header("access-control-allow-origin"), Some("https://ops.example.org"));
    assert_eq!((reply.status, reply.header("vary")), (200, Some("Origin")));
    let preflight = format!("{origin}Access-Control-Request-Method: POST\r\n");
    let reply = call(server.addr, "OPTIONS", "/v1/locks/x/acquire", &preflight, None).await;
    assert_eq!((reply.status, reply.header("access-control-allow-methods")), (204, Some("GET, POST, DELETE")));
    let denied = "Origin: http://ops.example.org\r\n";
    let reply = call(server.addr, "GET", "/v1/locks", denied, None).await;
    reply.problem(403, "origin_denied");
    assert_eq!(reply.header("access-control-allow-origin"), None);
    let mut socket = Socket::open_with(server.addr, |request| {
        request.headers_mut().insert("origin", "https://ops.example.org".parse().unwrap());
    })
    .await
    .unwrap();
    socket.session("page").await;
}

#[tokio::test]
async fn a_foreign_host_name_on_loopback_is_rebinding() {
    let server = start_with(|config| config.allowed_hosts = vec!["hub.internal".to_owned()]).await;
    let port = server.addr.port();
    for foreign in
        [format!("evil.example:{port}"), "evil.example".to_owned(), format!("10.0.0.1:{port}"), String::new()]
    {
        let headers = format!("Host: {foreign}\r\nOrigin: http://{foreign}\r\n");
        call(server.addr, "GET", "/v1/locks", &headers, None).await.problem(403, "origin_denied");
        let headers = format!("Host: {foreign}\r\n");
        call(server.addr, "GET", "/v1/locks", &headers, None).await.problem(403, "origin_denied");
    }
    let twice = format!("Host: localhost:{port}\r\nHost: evil.example\r\n");
    assert_ne!(call(server.addr, "GET", "/v1/locks", &twice, None).await.status, 200);
    for own in [format!("localhost:{port}"), "127.0.0.1".to_owned(), format!("[::1]:{port}"), "hub.internal".to_owned()]
    {
        let headers = format!("Host: {own}\r\n");
        assert_eq!(call(server.addr, "GET", "/v1/locks", &headers, None).await.status, 200, "{own}");
    }
    assert_eq!(start().await.get("/v1/locks").await.status, 200);
}
