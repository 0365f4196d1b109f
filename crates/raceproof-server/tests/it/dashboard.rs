//! The dashboard's page: whole in itself, and allowed nothing else.

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
