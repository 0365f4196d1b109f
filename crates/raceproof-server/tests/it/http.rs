//! Every call of the HTTP table, as curl would make it.

use raceproof_server::Limits;
use serde_json::json;

use crate::harness::{call, start};

#[tokio::test]
async fn a_session_is_opened_renewed_and_ended() {
    let server = start().await;
    let opened = server.post("/v1/sessions", json!({ "name": "host:1", "ttl_ms": 10_000 })).await;
    assert_eq!(opened.status, 201);
    let body = opened.json();
    let key = body["session"].as_str().unwrap().to_owned();
    assert_eq!(body, json!({ "session": key, "ttl_ms": 10_000 }));

    let renewed = server.post(&format!("/v1/sessions/{key}/keepalive"), json!({})).await;
    assert_eq!((renewed.status, renewed.json()), (200, json!({ "ttl_ms": 10_000 })));

    let listed = server.get("/v1/sessions").await.json();
    assert_eq!(listed["sessions"][0]["name"], "host:1");
    assert_eq!(listed["sessions"][0]["connected"], false);
    assert!(!listed.to_string().contains(key.split('-').nth(1).unwrap()), "a listing must not show secrets");

    let ended = server.delete(&format!("/v1/sessions/{key}")).await;
    assert_eq!((ended.status, ended.body.as_str()), (204, ""));
    server.post(&format!("/v1/sessions/{key}/keepalive"), json!({})).await.problem(404, "session_unknown");
    server.delete(&format!("/v1/sessions/{key}")).await.problem(404, "session_unknown");
}

#[tokio::test]
async fn a_lock_is_taken_refused_shown_checked_and_released() {
    let server = start().await;
    let (a, b) = (server.session("a").await, server.session("b").await);

    let granted = server.post("/v1/locks/deploy/acquire", json!({ "session": a, "wait_ms": 0 })).await;
    assert_eq!(granted.status, 200);
    let token = granted.json()["token"].as_u64().unwrap();
    let expected = json!({ "name": "deploy", "mode": "exclusive", "token": token, "lease_ms": 60_000 });
    assert_eq!(granted.json(), expected);

    let refused = server.post("/v1/locks/deploy/acquire", json!({ "session": b })).await.problem(409, "lock_held");
    assert_eq!(refused["holders"][0]["token"], token);
    assert_eq!(refused["holders"][0]["session_name"], "a");

    let shown = server.get("/v1/locks/deploy").await.json();
    assert_eq!(shown["holders"][0]["token"], token);
    assert_eq!(server.get("/v1/locks?prefix=dep").await.json()["locks"][0]["name"], "deploy");
    assert_eq!(server.get("/v1/locks?prefix=x").await.json(), json!({ "locks": [] }));

    let checked = server.post("/v1/locks/deploy/check", json!({ "token": token })).await;
    assert_eq!((checked.status, checked.json()), (200, json!({ "valid": true, "newest": token })));
    let stale = server.post("/v1/locks/deploy/check", json!({ "token": token - 1 })).await;
    assert_eq!(stale.json(), json!({ "valid": false, "newest": token }));

    let body = json!({ "session": b, "token": token });
    server.post("/v1/locks/deploy/release", body).await.problem(409, "not_holder");
    let released = server.post("/v1/locks/deploy/release", json!({ "session": a, "token": token })).await;
    assert_eq!((released.status, released.json()), (200, json!({})));
    assert!(server.take(&b, "deploy").await > token);
}

#[tokio::test]
async fn shared_holders_and_permits_are_held_together() {
    let server = start().await;
    let (a, b, c) = (server.session("a").await, server.session("b").await, server.session("c").await);
    for session in [&a, &b] {
        let body = json!({ "session": session, "mode": "shared" });
        assert_eq!(server.post("/v1/locks/read/acquire", body).await.json()["mode"], "shared");
        let body = json!({ "session": session, "permits": 2 });
        assert_eq!(server.post("/v1/locks/pool/acquire", body).await.status, 200);
    }
    server.post("/v1/locks/read/acquire", json!({ "session": c })).await.problem(409, "lock_held");
    server.post("/v1/locks/pool/acquire", json!({ "session": c, "permits": 2 })).await.problem(409, "lock_held");
    let other = json!({ "session": c, "permits": 3 });
    server.post("/v1/locks/pool/acquire", other).await.problem(409, "permits_mismatch");
    assert_eq!(server.get("/v1/locks/pool").await.json()["permits"], 2);
}

#[tokio::test]
async fn l6_several_locks_are_taken_all_or_none() {
    let server = start().await;
    let (a, b) = (server.session("a").await, server.session("b").await);
    server.take(&a, "two").await;
    let body = json!({ "session": b, "names": ["one", "two"], "mode": "exclusive", "wait_ms": 0 });
    server.post("/v1/acquire", body).await.problem(409, "lock_held");
    assert_eq!(server.get("/v1/locks/one").await.json()["holders"], json!([]));

    let both = server.post("/v1/acquire", json!({ "session": b, "names": ["one", "three"] })).await;
    assert_eq!(both.status, 200, "{both:?}");
    let token = both.json()["token"].as_u64().unwrap();
    let expected = json!({ "token": token, "names": ["one", "three"], "mode": "exclusive", "lease_ms": 60_000 });
    assert_eq!(both.json(), expected);
    server.post("/v1/locks/three/release", json!({ "session": b, "token": token })).await;
    assert_eq!(server.get("/v1/locks").await.json()["locks"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn names_are_any_text_and_travel_percent_encoded() {
    let server = start().await;
    let a = server.session("a").await;
    for (encoded, name) in [
        ("caf%C3%A9%20%2F%20b%C3%A4r", "café / bär"),
        ("%F0%9F%94%92", "🔒"),
        ("a%2Fb%3Fc%23d%25", "a/b?c#d%"),
        ("..", ".."),
        ("%00", "\0"),
        ("+", "+"),
    ] {
        let granted = server.post(&format!("/v1/locks/{encoded}/acquire"), json!({ "session": a })).await;
        assert_eq!((granted.status, granted.json()["name"].as_str()), (200, Some(name)), "{encoded}");
        assert_eq!(server.get(&format!("/v1/locks/{encoded}")).await.json()["holders"].as_array().unwrap().len(), 1);
    }
    let longest = "%C3%A4".repeat(128);
    assert_eq!(server.post(&format!("/v1/locks/{longest}/acquire"), json!({ "session": a })).await.status, 200);
    let body = json!({ "session": a });
    server.post(&format!("/v1/locks/{longest}x/acquire"), body.clone()).await.problem(400, "name_invalid");
    server.post("/v1/locks/%FF/acquire", body.clone()).await.problem(400, "name_invalid");
    server.get(&format!("/v1/locks/{longest}x")).await.problem(400, "name_invalid");
    server.get(&format!("/v1/elections/{longest}x")).await.problem(400, "name_invalid");
    let check = json!({ "token": 1 });
    server.post(&format!("/v1/locks/{longest}x/check"), check).await.problem(400, "name_invalid");
    let several = json!({ "session": a, "names": [""] });
    server.post("/v1/acquire", several).await.problem(400, "name_invalid");
}

#[tokio::test]
async fn a_leader_is_elected_shown_and_resigns() {
    let server = start().await;
    let (a, b) = (server.session("a").await, server.session("b").await);
    let body = json!({ "session": a, "value": "10.0.0.1:80", "wait_ms": 0 });
    let elected = server.post("/v1/elections/primary/campaign", body).await;
    assert_eq!(elected.status, 200, "{elected:?}");
    let leader = elected.json();
    assert_eq!((&leader["election"], &leader["value"]), (&json!("primary"), &json!("10.0.0.1:80")));
    let term = leader["term"].as_u64().unwrap();

    let body = json!({ "session": b, "value": "10.0.0.2:80", "wait_ms": 0 });
    server.post("/v1/elections/primary/campaign", body.clone()).await.problem(409, "lock_held");
    assert_eq!(server.get("/v1/elections/primary").await.json()["leader"], leader);

    server.post("/v1/elections/primary/resign", json!({ "session": b, "term": term })).await.problem(409, "not_holder");
    let to = json!({ "session": a, "term": term, "to": 9_999 });
    server.post("/v1/elections/primary/resign", to).await.problem(409, "not_candidate");
    let resigned = server.post("/v1/elections/primary/resign", json!({ "session": a, "term": term })).await;
    assert_eq!((resigned.status, resigned.json()), (200, json!({})));
    assert_eq!(server.get("/v1/elections/primary").await.json()["leader"], json!(null));
    let next = server.post("/v1/elections/primary/campaign", body).await.json();
    assert!(next["term"].as_u64().unwrap() > term);
}

#[tokio::test]
async fn an_operator_steals_a_lock_without_a_session() {
    let server = start().await;
    let (a, b) = (server.session("a").await, server.session("b").await);
    let token = server.take(&a, "stuck").await;
    let stolen = server.post("/v1/locks/stuck/steal", json!({})).await;
    assert_eq!((stolen.status, stolen.json()), (200, json!({ "tokens": [token] })));
    let body = json!({ "session": a, "token": token });
    server.post("/v1/locks/stuck/release", body).await.problem(409, "not_holder");
    assert!(server.take(&b, "stuck").await > token);
}

#[tokio::test]
async fn l12_a_retry_under_the_same_id_is_answered_as_the_first_time() {
    let server = start().await;
    let a = server.session("a").await;
    let body = json!({ "session": a, "request": "r1" });
    let first = server.post("/v1/locks/x/acquire", body.clone()).await;
    let again = server.post("/v1/locks/x/acquire", body.clone()).await;
    assert_eq!((again.status, again.json()), (200, first.json()));
    server.post("/v1/locks/y/acquire", body).await.problem(409, "request_reused");
}

#[tokio::test]
async fn listings_come_in_pages() {
    let server = start().await;
    let a = server.session("a").await;
    for i in 0..5 {
        server.take(&a, &format!("lock-{i}")).await;
    }
    server.session("b").await;
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = server.get(&format!("/v1/locks?limit=2{after}")).await.json();
        let locks = page["locks"].as_array().unwrap();
        assert!(locks.len() <= 2);
        seen.extend(locks.iter().map(|lock| lock["name"].as_str().unwrap().to_owned()));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    assert_eq!(seen, (0..5).map(|i| format!("lock-{i}")).collect::<Vec<_>>());
    let page = server.get("/v1/sessions?limit=1").await.json();
    let after = page["next"].as_str().unwrap();
    let rest = server.get(&format!("/v1/sessions?limit=1&after={after}")).await.json();
    assert_eq!((&rest["sessions"][0]["name"], &rest["next"]), (&json!("b"), &json!(null)));
}

#[tokio::test]
async fn elections_are_listed_in_pages_with_leader_and_candidates() {
    let server = start().await;
    assert_eq!(server.get("/v1/elections").await.json(), json!({ "elections": [] }));
    let a = server.session("a").await;
    for name in ["db%2F1", "db%2F2", "db%2F3", "web"] {
        let body = json!({ "session": a, "value": "10.0.0.1:80" });
        assert_eq!(server.post(&format!("/v1/elections/{name}/campaign"), body).await.status, 200);
    }
    server.take(&a, "db%2Flock").await;
    let mut socket = server.socket().await;
    socket.session("c").await;
    socket.send(json!({ "campaign": { "election": "db/2", "value": "10.0.0.2:80", "wait_ms": 60_000 } })).await;
    server.until("/v1/elections/db%2F2", |election| election["candidates_count"] == 1).await;

    let page = server.get("/v1/elections?prefix=db%2F&limit=2").await.json();
    assert_eq!(page["next"], "db/2");
    let names = |page: &serde_json::Value| -> Vec<_> {
        page["elections"].as_array().unwrap().iter().map(|listed| listed["election"].clone()).collect()
    };
    assert_eq!(names(&page), ["db/1", "db/2"]);
    let crowded = &page["elections"][1];
    assert_eq!((&crowded["leader"]["value"], &crowded["leader"]["session_name"]), (&json!("10.0.0.1:80"), &json!("a")));
    assert_eq!((&crowded["candidates_count"], &crowded["candidates"][0]["session_name"]), (&json!(1), &json!("c")));
    assert!(crowded["led_ms"].is_u64() && crowded["lease_left_ms"].as_u64() <= Some(60_000), "{crowded}");
    let rest = server.get("/v1/elections?prefix=db%2F&limit=2&after=db%2F2").await.json();
    assert_eq!((names(&rest), &rest["next"]), (vec![json!("db/3")], &json!(null)));
    assert_eq!(names(&server.get("/v1/elections?prefix=w").await.json()), ["web"]);

    // As one call shows it, but for what passes meanwhile.
    let mut one = server.get("/v1/elections/db%2F1").await.json();
    let mut listed = page["elections"][0].clone();
    for shown in [&mut one, &mut listed] {
        for passing in ["led_ms", "lease_left_ms"] {
            assert!(shown.as_object_mut().unwrap().remove(passing).is_some(), "{passing}");
        }
    }
    assert_eq!(one, listed);
    server.delete(&format!("/v1/sessions/{a}")).await;
    let left = server.get("/v1/elections").await.json();
    assert_eq!((names(&left), &left["elections"][0]["leader"]["session_name"]), (vec![json!("db/2")], &json!("c")));
}

#[tokio::test]
async fn health_and_figures_are_for_machines() {
    let server = start().await;
    assert_eq!((server.get("/healthz").await.status, server.get("/readyz").await.status), (200, 200));
    let a = server.session("a").await;
    server.take(&a, "x").await;
    server.post("/v1/locks/x/acquire", json!({ "session": a })).await;
    let metrics = server.get("/metrics").await;
    assert_eq!(metrics.header("content-type").unwrap().split(';').next(), Some("application/openmetrics-text"));
    for line in [
        "raceproof_lock_grants_total 1",
        "raceproof_sessions 1",
        "raceproof_grants 1",
        "raceproof_requests_total{kind=\"acquire\"} 2",
        "raceproof_store_flush_seconds_bucket",
        "# EOF",
    ] {
        assert!(metrics.body.contains(line), "no {line:?} in:\n{}", metrics.body);
    }
}

#[tokio::test]
async fn the_openapi_document_has_every_call() {
    let server = start().await;
    let document = server.get("/openapi.json").await.json();
    for (path, methods) in [
        ("/v1/sessions", &["get", "post"][..]),
        ("/v1/sessions/{session}", &["delete"]),
        ("/v1/sessions/{session}/keepalive", &["post"]),
        ("/v1/acquire", &["post"]),
        ("/v1/cancel", &["post"]),
        ("/v1/locks", &["get"]),
        ("/v1/locks/{name}", &["get"]),
        ("/v1/locks/{name}/acquire", &["post"]),
        ("/v1/locks/{name}/release", &["post"]),
        ("/v1/locks/{name}/check", &["post"]),
        ("/v1/locks/{name}/steal", &["post"]),
        ("/v1/locks/{name}/why", &["get", "post"]),
        ("/v1/elections", &["get"]),
        ("/v1/elections/{name}", &["get"]),
        ("/v1/elections/{name}/campaign", &["post"]),
        ("/v1/elections/{name}/resign", &["post"]),
    ] {
        let found: Vec<_> = document["paths"][path].as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(found, methods, "{path}");
    }
    // Every reference leads somewhere.
    let text = document.to_string();
    for reference in text.split("\"#/components/schemas/").skip(1) {
        let name = reference.split('"').next().unwrap();
        assert!(document["components"]["schemas"][name].is_object(), "{name} is referred to and not there");
    }
}

#[tokio::test]
async fn a_body_is_read_whatever_its_type_and_may_be_left_out_where_it_says_nothing() {
    let server = start().await;
    let body = br#"{"name":"curl","ttl_ms":10000}"#;
    let form = "Content-Type: application/x-www-form-urlencoded\r\n";
    assert_eq!(call(server.addr, "POST", "/v1/sessions", form, Some(body)).await.status, 201);
    assert_eq!(call(server.addr, "POST", "/v1/locks/x/steal", "", None).await.status, 200);
    assert!(Limits::default().body_bytes >= 64 * 1_024);
}

#[tokio::test]
async fn every_session_has_a_secret_of_its_own() {
    let server = start().await;
    let mut secrets = std::collections::BTreeSet::from(["0".repeat(32)]);
    for _ in 0..10 {
        let key = server.session("a").await;
        assert!(secrets.insert(key.split('-').nth(1).unwrap().to_owned()), "{key}");
    }
}
