//! A server in this process, and two small clients that know nothing of it but its protocol.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::{SinkExt, StreamExt};
use raceproof_server::{RunError, Server, ServerConfig, StoreKind};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::protocol::CloseFrame;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A server that runs.
pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), RunError>>,
}

/// A server that keeps nothing.
pub(crate) async fn start() -> Running {
    start_with(|_| {}).await
}

pub(crate) async fn start_with(set: impl FnOnce(&mut ServerConfig)) -> Running {
    let mut config = config(StoreKind::Memory);
    set(&mut config);
    run(Server::bind(config).await.unwrap())
}

pub(crate) fn config(store: StoreKind) -> ServerConfig {
    let mut config = ServerConfig::new(store);
    config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    config
}

pub(crate) fn run(server: Server) -> Running {
    let addr = server.local_addr();
    let (stop, stopped) = oneshot::channel();
    let ended = tokio::spawn(server.run(async {
        let _dropped = stopped.await;
    }));
    Running { addr, stop, ended }
}

impl Running {
    pub(crate) async fn stop(self) -> Result<(), RunError> {
        let _gone = self.stop.send(());
        timeout(PATIENCE, self.ended).await.expect("the server stops").unwrap()
    }

    /// How it ended by itself.
    pub(crate) async fn ended(self) -> Result<(), RunError> {
        timeout(PATIENCE, self.ended).await.expect("the server ends").unwrap()
    }

    pub(crate) async fn get(&self, path: &str) -> Reply {
        call(self.addr, "GET", path, "", None).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Reply {
        call(self.addr, "POST", path, "", Some(body.to_string().as_bytes())).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Reply {
        call(self.addr, "DELETE", path, "", None).await
    }

    /// Opens a session over HTTP and gives its key.
    pub(crate) async fn session(&self, name: &str) -> String {
        let reply = self.post("/v1/sessions", json!({ "name": name, "ttl_ms": 60_000 })).await;
        assert_eq!(reply.status, 201, "{reply:?}");
        reply.json()["session"].as_str().unwrap().to_owned()
    }

    /// Takes a lock that is free and gives the token.
    pub(crate) async fn take(&self, session: &str, name: &str) -> u64 {
        let reply = self.post(&format!("/v1/locks/{name}/acquire"), json!({ "session": session })).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.json()["token"].as_u64().unwrap()
    }

    /// Looks at a lock until it is as it should be.
    pub(crate) async fn until(&self, path: &str, what: impl Fn(&Value) -> bool) -> Value {
        let end = Instant::now() + PATIENCE;
        loop {
            let seen = self.get(path).await.json();
            if what(&seen) {
                return seen;
            }
            assert!(Instant::now() < end, "{path} stayed {seen}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Looks at the figures until there is this line.
    pub(crate) async fn until_figure(&self, line: &str) {
        let end = Instant::now() + PATIENCE;
        while !self.get("/metrics").await.body.lines().any(|figure| figure == line) {
            assert!(Instant::now() < end, "no figure came to {line:?}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    pub(crate) async fn socket(&self) -> Socket {
        Socket::open(self.addr).await
    }
}

/// An HTTP answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: String,
}

impl Reply {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    /// Checks that this is a problem of a code, and gives its body.
    #[track_caller]
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        assert_eq!((self.status, self.header("content-type")), (status, Some("application/problem+json")), "{self:?}");
        let body = self.json();
        assert_eq!(body["code"], code, "{body}");
        assert_eq!(body["status"], status, "{body}");
        assert_eq!(body["type"], format!("urn:raceproof:problem:{code}"), "{body}");
        assert!(!body["title"].as_str().unwrap().is_empty(), "{body}");
        assert!(!body["detail"].as_str().unwrap().is_empty(), "{body}");
        body
    }
}

/// One request on a connection of its own. `headers` are whole lines.
pub(crate) async fn call(addr: SocketAddr, method: &str, path: &str, headers: &str, body: Option<&[u8]>) -> Reply {
    let mut stream = send(addr, method, path, headers, body).await;
    timeout(PATIENCE, receive(&mut stream)).await.expect("an answer")
}

/// Sends a request and leaves its answer to come.
pub(crate) async fn send(addr: SocketAddr, method: &str, path: &str, headers: &str, body: Option<&[u8]>) -> TcpStream {
    let mut stream = TcpStream::connect(addr).await.unwrap();
    let host = if headers.to_ascii_lowercase().contains("host:") { String::new() } else { format!("Host: {addr}\r\n") };
    let length = body.map(|body| format!("Content-Length: {}\r\n", body.len())).unwrap_or_default();
    let head = format!("{method} {path} HTTP/1.1\r\n{host}Connection: close\r\n{length}{headers}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    // A server that refuses early may have closed.
    let _refused = stream.write_all(body.unwrap_or_default()).await;
    stream
}

pub(crate) async fn receive(stream: &mut TcpStream) -> Reply {
    let mut bytes = Vec::new();
    // A reset after the answer takes nothing from it.
    let _reset = stream.read_to_end(&mut bytes).await;
    let text = String::from_utf8(bytes).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("no answer: {text:?}"));
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    Reply { status, head: head.to_owned(), body: body.to_owned() }
}

/// A WebSocket client that keeps count.
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
    sent: u64,
    received: u64,
}

impl Socket {
    pub(crate) async fn open(addr: SocketAddr) -> Self {
        Self::open_with(addr, |_| {}).await.unwrap()
    }

    pub(crate) async fn open_with(
        addr: SocketAddr,
        set: impl FnOnce(&mut tokio_tungstenite::tungstenite::handshake::client::Request),
    ) -> Result<Self, tokio_tungstenite::tungstenite::Error> {
        let mut request = format!("ws://{addr}/v1/ws").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "raceproof.v1".parse().unwrap());
        set(&mut request);
        let stream = TcpStream::connect(addr).await.unwrap();
        let (stream, _) = tokio_tungstenite::client_async(request, stream).await?;
        Ok(Self { stream, sent: 0, received: 0 })
    }

    /// Sends a request; gives its number.
    pub(crate) async fn send(&mut self, request: Value) -> u64 {
        self.sent += 1;
        let frame = json!({ "seq": self.sent, "request": request });
        self.stream.send(Message::text(frame.to_string())).await.unwrap();
        self.sent
    }

    pub(crate) async fn send_raw(&mut self, message: Message) {
        self.stream.send(message).await.unwrap();
    }

    /// The next frame; its number is checked.
    pub(crate) async fn receive(&mut self) -> Value {
        let text = loop {
            match timeout(PATIENCE, self.stream.next()).await.expect("a frame").expect("an open socket").unwrap() {
                Message::Text(text) => break text,
                Message::Ping(_) => {}
                other => panic!("not text: {other:?}"),
            }
        };
        let frame: Value = serde_json::from_str(&text).unwrap();
        self.received += 1;
        assert_eq!(frame["seq"], self.received, "{frame}");
        frame
    }

    /// Sends a request and takes its answer, which must come next.
    pub(crate) async fn ask(&mut self, request: Value) -> Value {
        let seq = self.send(request).await;
        let frame = self.receive().await;
        assert_eq!(frame["re"], seq, "{frame}");
        frame
    }

    /// Opens a session and gives its key.
    pub(crate) async fn session(&mut self, name: &str) -> String {
        let frame = self.ask(json!({ "open": { "name": name, "ttl_ms": 60_000 } })).await;
        frame["ok"]["opened"]["session"].as_str().unwrap_or_else(|| panic!("{frame}")).to_owned()
    }

    /// Reads until the server closes; gives what it said.
    pub(crate) async fn closed(&mut self) -> Option<(u16, String)> {
        loop {
            match timeout(PATIENCE, self.stream.next()).await.expect("a close") {
                Some(Ok(Message::Close(frame))) => {
                    return frame.map(|CloseFrame { code, reason }| (code.into(), reason.to_string()));
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return None,
            }
        }
    }

    pub(crate) async fn close(mut self) {
        let _gone = self.stream.close(None).await;
    }

    pub(crate) fn into_stream(self) -> WebSocketStream<TcpStream> {
        self.stream
    }
}
