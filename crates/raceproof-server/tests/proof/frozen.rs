//! A server that is stopped for longer than every lease. L5: when it goes on it revokes nobody whose renewals wait in
//! its sockets; L8: a holder that heard nothing for its lease does not believe any longer, and comes back.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use futures_util::{SinkExt, StreamExt};
use raceproof::{Guard, LostReason, Raceproof, clock};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

use crate::process::Process;
use crate::support::{PATIENCE, call, client, lock_until, receive, send};

const LEASE: Duration = Duration::from_secs(2);
const SOCKETS: usize = 40;
const CALLERS: usize = 10;

/// A session over a socket that renews only when it is told to.
struct Holder {
    stream: WebSocketStream<TcpStream>,
    seq: u64,
    name: String,
    token: u64,
}

impl Holder {
    async fn new(server: SocketAddr, name: String) -> Self {
        let mut request = format!("ws://{server}/v1/ws").into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "raceproof.v1".parse().unwrap());
        let stream = TcpStream::connect(server).await.unwrap();
        let (stream, _) = tokio_tungstenite::client_async(request, stream).await.unwrap();
        let mut holder = Self { stream, seq: 0, name, token: 0 };
        let ttl_ms = u64::try_from(LEASE.as_millis()).unwrap();
        holder.ask(json!({ "open": { "name": holder.name, "ttl_ms": ttl_ms } })).await;
        let granted = holder.ask(json!({ "acquire": { "names": [holder.name] } })).await;
        holder.token = granted["ok"]["granted"]["token"].as_u64().unwrap();
        holder
    }

    async fn send(&mut self, request: Value) {
        self.seq += 1;
        let frame = json!({ "seq": self.seq, "request": request });
        self.stream.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The answer to the last request. Anything else is a failure: nothing was to be told.
    async fn answer(&mut self) -> Value {
        loop {
            let message = timeout(PATIENCE, self.stream.next()).await.expect("an answer").unwrap().unwrap();
            if let Message::Text(text) = message {
                let frame: Value = serde_json::from_str(&text).unwrap();
                assert_eq!(frame["re"], self.seq, "{}: {frame}", self.name);
                assert!(frame["ok"].is_object(), "{}: {frame}", self.name);
                return frame;
            }
        }
    }

    async fn ask(&mut self, request: Value) -> Value {
        self.send(request).await;
        self.answer().await
    }

    async fn renew(&mut self) {
        self.send(json!({ "keepalive": {} })).await;
    }
}

/// A session over HTTP.
struct Caller {
    session: String,
    name: String,
    token: u64,
}

impl Caller {
    async fn new(server: SocketAddr, name: String) -> Self {
        let ttl_ms = u64::try_from(LEASE.as_millis()).unwrap();
        let (_, opened) = call(server, "POST", "/v1/sessions", Some(json!({ "name": name, "ttl_ms": ttl_ms }))).await;
        let session = opened["session"].as_str().unwrap().to_owned();
        let body = json!({ "session": session });
        let (_, grant) = call(server, "POST", &format!("/v1/locks/{name}/acquire"), Some(body)).await;
        Self { session, token: grant["token"].as_u64().unwrap_or_else(|| panic!("{grant}")), name }
    }

    async fn renew(&self, server: SocketAddr) -> TcpStream {
        send(server, "POST", &format!("/v1/sessions/{}/keepalive", self.session), None).await
    }
}

fn waits(rival: &Raceproof, name: &str) -> JoinHandle<Guard> {
    let lock = rival.lock(name).wait(PATIENCE);
    tokio::spawn(async move { lock.acquire().await.unwrap() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l5_a_server_stopped_past_every_lease_revokes_nobody_whose_renewals_wait_in_its_sockets() {
    let dir = tempfile::tempdir().unwrap();
    let (process, server) = Process::server(dir.path(), None).await;
    let rival = client(server, PATIENCE).connect().await.unwrap();
    let sockets = (0..SOCKETS).map(|number| Holder::new(server, format!("socket-{number}")));
    let callers = (0..CALLERS).map(|number| Caller::new(server, format!("caller-{number}")));
    let silent = Caller::new(server, "silent".to_owned());
    let (mut sockets, callers, silent) = tokio::join!(join_all(sockets), join_all(callers), silent);
    let after_silent = waits(&rival, "silent");
    let after_socket = waits(&rival, "socket-0");
    let after_caller = waits(&rival, "caller-0");
    for name in ["silent", "socket-0", "caller-0"] {
        lock_until(server, name, |lock| lock["waiters_count"] == 1).await;
    }
    process.freeze().await;
    for holder in &mut sockets {
        holder.renew().await;
    }
    let mut renewals = Vec::new();
    for caller in &callers {
        renewals.push(caller.renew(server).await);
    }
    // How long it stands still is what is tested: every lease ends meanwhile.
    tokio::time::sleep(LEASE * 2).await;
    process.thaw();

    for holder in &mut sockets {
        holder.answer().await;
    }
    for renewal in &mut renewals {
        let (status, body) = timeout(PATIENCE, receive(renewal)).await.unwrap();
        assert_eq!(status, 200, "{body}");
    }
    let held = sockets.iter().map(|one| (&one.name, one.token)).chain(callers.iter().map(|one| (&one.name, one.token)));
    // All at once: they are renewed no more.
    join_all(held.map(|(name, token)| async move {
        let (_, lock) = call(server, "GET", &format!("/v1/locks/{name}"), None).await;
        assert_eq!(lock["holders"][0]["token"], token, "{name}: {lock}");
    }))
    .await;
    assert!(!after_socket.is_finished() && !after_caller.is_finished());
    // Who is silent gets a whole lease of grace, and not more.
    let next = timeout(PATIENCE, after_silent).await.unwrap().unwrap();
    assert!(next.token().as_u64() > silent.token);
    after_socket.abort();
    after_caller.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l8_a_holder_of_a_server_that_is_stopped_does_not_believe_for_longer_than_its_lease_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let (process, server) = Process::server(dir.path(), None).await;
    let holder = client(server, LEASE).connect().await.unwrap();
    let guard = holder.lock("x").acquire().await.unwrap();
    process.freeze().await;
    let frozen = clock::now();
    let reason = timeout(PATIENCE, guard.lost()).await.unwrap();
    assert_eq!(reason, LostReason::Expired);
    assert!(!guard.is_valid());
    assert!(guard.deadline() <= frozen + LEASE, "believed until {:?}, frozen at {frozen:?}", guard.deadline());
    process.thaw();
    // What it had given up is free again, for itself as for others.
    let again = timeout(PATIENCE, holder.lock("x").wait(PATIENCE).acquire()).await.unwrap().unwrap();
    assert!(again.token() > guard.token());
    assert!(!guard.is_valid());
    again.release().await.unwrap();
}
