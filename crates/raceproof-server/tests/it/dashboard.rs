//! The dashboard's page: whole in itself, allowed nothing else, and asking for what there is.

use serde_json::json;

use crate::harness::start;

#[tokio::test]
async fn the_page_needs_nothing_from_elsewhere_and_may_load_nothing() {
    let server = start().await;
    let page = server.get("/").await;
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    let policy = page.header("content-security-policy").unwrap();
    for rule in ["default-src 'none'", "connect-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"] {
        assert!(policy.contains(rule), "{policy}");
    }
    assert!(!policy.contains("unsafe"), "{policy}");
    let nonce = policy.split("'nonce-").nth(1).unwrap().split('\'').next().unwrap();
    assert_eq!(page.body.matches(&format!("nonce=\"{nonce}\"")).count(), 2);
    assert!(!page.body.contains("NONCE"));
    for outside in ["http://", "https://", "src=", "@import", "url(", " onclick", " style=", "innerHTML"] {
        assert!(!page.body.contains(outside), "{outside} in the page");
    }
    assert_ne!(server.get("/").await.header("content-security-policy"), Some(policy), "a nonce is used once");
}

/// What the page asks for, with the limits and the prefix that it begins with.
fn asked(page: &str) -> Vec<String> {
    let calls = page.split("get(`/v1/").skip(1).map(|rest| rest.split('`').next().unwrap());
    calls
        .map(|call| format!("/v1/{}", call.replace("${prefix}", "").replace("${limits.", "").replace('}', "")))
        .collect()
}

#[tokio::test]
async fn every_listing_is_asked_for_and_what_the_page_shows_of_an_election_is_answered() {
    let server = start().await;
    let (a, page) = (server.session("a").await, server.get("/").await.body);
    server.post("/v1/elections/primary/campaign", json!({ "session": a, "value": "10.0.0.1:80" })).await;
    let calls = asked(&page);
    let mut answers = Vec::new();
    for call in &calls {
        let what = call.trim_start_matches("/v1/").split('?').next().unwrap();
        assert!(call.contains(&format!("limit={what}")), "{call}");
        let answer = server.get(&call.replace(&format!("limit={what}"), "limit=50")).await;
        assert_eq!(answer.status, 200, "{call}: {answer:?}");
        assert!(answer.json()[what].is_array(), "{call}: {answer:?}");
        for part in ["t", "e", "m", "c"] {
            assert!(page.contains(&format!("id=\"{part}-{what}\"")), "no {part}-{what} in the page");
        }
        answers.push((what.to_owned(), answer.json()));
    }
    let listed: Vec<_> = answers.iter().map(|(what, _)| what.as_str()).collect();
    assert_eq!(listed, ["locks", "elections", "sessions"]);
    let row = page.split("function electionRow(e) {").nth(1).unwrap().split("\n}\n").next().unwrap();
    let election = &answers[1].1["elections"][0];
    for field in [
        "election",
        "leader.session_name",
        "leader.term",
        "leader.value",
        "led_ms",
        "lease_left_ms",
        "candidates",
        "candidates_count",
    ] {
        assert!(row.contains(&format!("e.{field}")), "the page does not show {field}");
        let pointer = format!("/{}", field.replace('.', "/"));
        assert!(election.pointer(&pointer).is_some(), "{field} is not answered: {election}");
    }
}
