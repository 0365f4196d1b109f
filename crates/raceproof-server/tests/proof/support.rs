//! A server in this process, and a small HTTP client.

use std::net::SocketAddr;
use std::time::Duration;

use raceproof::{Builder, Raceproof};
use raceproof_server::{Server, ServerConfig, StoreKind};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) fn config(store: StoreKind) -> ServerConfig {
    let mut config = ServerConfig::new(store);
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config
}

/// Starts a server that ends with the test's runtime.
pub(crate) async fn start() -> SocketAddr {
    let server = Server::bind(config(StoreKind::Memory)).await.unwrap();
    let addr = server.local_addr();
    tokio::spawn(server.run(std::future::pending()));
    addr
}

/// A client that goes on trying, and soon.
pub(crate) fn client(addr: SocketAddr, ttl: Duration) -> Builder {
    Raceproof::builder(format!("http://{addr}")).ttl(ttl).connect_wait(PATIENCE).backoff_max(Duration::from_millis(200))
}

/// One request on a connection of its own.
pub(crate) async fn call(addr: SocketAddr, method: &str, path: &str, body: Option<Value>) -> (u16, Value) {
    let mut stream = send(addr, method, path, body).await;
    timeout(PATIENCE, receive(&mut stream)).await.expect("an answer")
}

/// Sends a request and leaves its answer to come.
pub(crate) async fn send(addr: SocketAddr, method: &str, path: &str, body: Option<Value>) -> TcpStream {
    let body = body.map(|body| body.to_string()).unwrap_or_default();
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let head =
        format!("{method} {path} HTTP/1.1\r\nHost: {addr}\r\nConnection: close\r\nContent-Length: {}", body.len());
    stream.write_all(format!("{head}\r\n\r\n{body}").as_bytes()).await.unwrap();
    stream
}

pub(crate) async fn receive(stream: &mut TcpStream) -> (u16, Value) {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

/// Looks at a lock until it is as it should be.
pub(crate) async fn lock_until(addr: SocketAddr, name: &str, what: impl Fn(&Value) -> bool) -> Value {
    let end = Instant::now() + PATIENCE;
    loop {
        let (_, lock) = call(addr, "GET", &format!("/v1/locks/{name}"), None).await;
        if what(&lock) {
            return lock;
        }
        assert!(Instant::now() < end, "{name} stayed {lock}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}
