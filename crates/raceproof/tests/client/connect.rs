//! What is said when no connection comes about.

use std::time::Duration;

use raceproof::{AcquireError, ConnectError, ConnectionState, Failure, Raceproof};
use raceproof_server::Tokens;

use crate::place::{Running, soon};

const TOKEN: &str = "0123456789abcdef0123";

async fn guarded() -> Running {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("tokens");
    std::fs::write(&path, format!("{TOKEN}\n")).unwrap();
    std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
    let tokens = Tokens::from_file(&path).unwrap();
    Running::with(|config| config.auth = Some(tokens)).await
}

#[tokio::test]
async fn wrong_or_missing_credentials_are_said_and_not_tried_again() {
    let server = guarded().await;
    for token in [None, Some("fedcba98765432100000")] {
        let mut builder = Raceproof::builder(server.url()).connect_wait(Duration::from_secs(60));
        if let Some(token) = token {
            builder = builder.auth_token(token);
        }
        let Err(ConnectError::Failed(failure)) = soon(builder.connect()).await else { panic!("let in") };
        assert!(matches!(failure, Failure::Unauthorized(_)), "{failure}");
        assert!(failure.to_string().starts_with("the server refused the credentials"), "{failure}");
        assert!(!failure.to_string().contains("fedcba"), "the token is in the message");
    }
    let rp = soon(Raceproof::builder(server.url()).auth_token(TOKEN).connect()).await.unwrap();
    assert!(soon(rp.lock("a").acquire()).await.is_ok());
}

#[tokio::test]
async fn a_token_that_no_header_carries_is_refused_here() {
    let server = Running::start().await;
    let refused = Raceproof::builder(server.url()).auth_token("line\nbreak").connect().await;
    assert!(matches!(refused, Err(ConnectError::Failed(Failure::Unauthorized(_)))), "{refused:?}");
}

#[tokio::test]
async fn nobody_at_the_address_is_said_at_the_first_attempt() {
    let server = Running::start().await;
    let url = server.url();
    server.stop().await;
    let Err(ConnectError::Failed(failure)) = soon(Raceproof::connect(&url)).await else { panic!("connected") };
    assert!(matches!(failure, Failure::Unreachable(_)), "{failure}");
    assert!(failure.to_string().contains(url.trim_start_matches("http://")), "{failure}");
}

#[tokio::test]
async fn an_address_that_cannot_be_used_is_said_with_the_reason() {
    for (url, reason) in [
        ("https://host:7117", "TLS"),
        ("ftp://host", "scheme"),
        ("http://host:port", "port"),
        ("http://", "host"),
        ("http://user:secret@host", "credentials"),
    ] {
        let error = Raceproof::connect(url).await.unwrap_err();
        assert!(matches!(error, ConnectError::Url { .. }) && error.to_string().contains(reason), "{url}: {error}");
    }
}

#[tokio::test]
async fn what_is_no_raceproof_server_is_said_so() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello";
            drop(tokio::io::AsyncWriteExt::write_all(&mut stream, answer).await);
        }
    });
    let Err(ConnectError::Failed(failure)) = soon(Raceproof::connect(&format!("http://{addr}"))).await else {
        panic!("connected")
    };
    assert!(matches!(failure, Failure::Protocol(_)), "{failure}");
}

#[tokio::test]
async fn a_lease_that_the_server_refuses_ends_the_attempt() {
    let server = Running::start().await;
    let refused = soon(Raceproof::builder(server.url()).ttl(Duration::from_millis(1)).connect()).await;
    assert!(matches!(refused, Err(ConnectError::Failed(Failure::Refused(_)))), "{refused:?}");
}

#[tokio::test]
async fn a_client_without_a_session_looks_and_holds_nothing() {
    let server = Running::start().await;
    let rp = soon(Raceproof::builder(server.url()).observer().connect()).await.unwrap();
    assert_eq!((rp.connection_state(), rp.session_key()), (ConnectionState::Connected, None));
    assert_eq!(rp.lock_info("a").await.unwrap().holders, []);
    assert!(matches!(rp.lock("a").acquire().await, Err(AcquireError::NoSession)));
}
