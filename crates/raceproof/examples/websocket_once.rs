//! A WebSocket service that is set up once, whoever asks first and however many do.
//!
//! ```sh
//! cargo run -p raceproof --example websocket_once
//! ```
//!
//! Ten parts of the program want the service at the same time. One listener is bound, every caller gets the same one,
//! and none is told that it is there before it takes connections. A client that goes away, or that answers no ping, is
//! forgotten.

use std::collections::BTreeMap;
use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::IntoResponse;
use axum::routing::get;
use futures_util::StreamExt;
use raceproof::service::Service;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, interval, sleep, timeout};
use tokio_tungstenite::connect_async;

/// How often a client is asked whether it is there, and for how long it may say nothing.
const PING: Duration = Duration::from_millis(100);
const SILENT: Duration = Duration::from_secs(2);

/// Who is connected, and how to reach them.
#[derive(Clone, Default)]
struct Clients(Arc<Mutex<BTreeMap<u64, mpsc::Sender<String>>>>);

impl Clients {
    fn join(&self) -> (u64, mpsc::Receiver<String>) {
        let (sender, receiver) = mpsc::channel(16);
        let mut clients = self.0.lock().expect("nobody panics while it is locked");
        let id = clients.last_key_value().map_or(1, |(last, _)| last + 1);
        clients.insert(id, sender);
        (id, receiver)
    }

    fn leave(&self, id: u64) {
        self.0.lock().expect("nobody panics while it is locked").remove(&id);
    }

    fn count(&self) -> usize {
        self.0.lock().expect("nobody panics while it is locked").len()
    }

    /// Sends to all, and gives how many there are. One that does not keep up misses it.
    fn broadcast(&self, text: &str) -> usize {
        let clients = self.0.lock().expect("nobody panics while it is locked");
        clients.values().filter(|client| client.try_send(text.to_owned()).is_ok()).count()
    }

    async fn serve(self, mut socket: WebSocket) {
        let (id, mut texts) = self.join();
        let (mut pings, mut heard) = (interval(PING), Instant::now());
        loop {
            tokio::select! {
                Some(text) = texts.recv() => {
                    if socket.send(Message::text(text)).await.is_err() {
                        break;
                    }
                }
                _ = pings.tick() => {
                    let ping = Message::Ping(Default::default());
                    if heard.elapsed() > SILENT || socket.send(ping).await.is_err() {
                        break;
                    }
                }
                received = socket.recv() => match received {
                    Some(Ok(_)) => heard = Instant::now(),
                    _ => break,
                },
            }
        }
        self.leave(id);
    }
}

/// The task that takes connections, and how it is told to end.
type Task = (oneshot::Sender<()>, JoinHandle<std::io::Result<()>>);

/// The service: a listener, who is connected, and the task that takes connections.
struct Sockets {
    address: SocketAddr,
    clients: Clients,
    task: Mutex<Option<Task>>,
}

impl Sockets {
    async fn bind() -> std::io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let clients = Clients::default();
        let upgrade = async |upgrade: WebSocketUpgrade, State(clients): State<Clients>| {
            upgrade.on_upgrade(|socket| clients.serve(socket)).into_response()
        };
        let router = Router::new().route("/ws", get(upgrade)).with_state(clients.clone());
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            tokio::select! {
                served = axum::serve(listener, router).into_future() => served,
                _ = stopped => Ok(()),
            }
        });
        Ok(Self { address, clients, task: Mutex::new(Some((stop, task))) })
    }

    async fn stop(&self) {
        let running = self.task.lock().expect("nobody panics while it is locked").take();
        if let Some((stop, task)) = running {
            drop(stop);
            let _ = task.await;
        }
    }
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let sockets =
        Service::builder(Sockets::bind).name("sockets").clean_up(|sockets| async move { sockets.stop().await }).build();

    let mut parts = JoinSet::new();
    for _ in 0..10 {
        let sockets = sockets.clone();
        parts.spawn(async move { sockets.get().await.map(|sockets| sockets.address) });
    }
    let addresses = parts.join_all().await.into_iter().collect::<Result<Vec<_>, _>>()?;
    let service = sockets.get().await?;
    assert!(addresses.iter().all(|address| *address == service.address));
    assert_eq!(sockets.stats().started, 1);
    println!("ten callers, one listener: {}", service.address);

    let mut connected = Vec::new();
    for _ in 0..3 {
        connected.push(connect_async(format!("ws://{}/ws", service.address)).await?.0);
    }
    // A client is registered by its own task, just after its connection is answered.
    while service.clients.broadcast("hello") < 3 {
        tokio::task::yield_now().await;
    }
    for client in &mut connected {
        // Pings come in between.
        let text = loop {
            let message = client.next().await.ok_or("closed")??;
            if message.is_text() {
                break message;
            }
        };
        assert_eq!(text.to_text()?, "hello");
    }
    println!("three clients heard it");

    // One goes away, and one is not read any more, so it answers no ping.
    let (silent, gone) = (connected.pop(), connected.pop());
    drop(gone);
    let reads = connected.into_iter().map(|client| tokio::spawn(client.for_each(|_| std::future::ready(()))));
    let reads: Vec<_> = reads.collect();
    let forgotten = async {
        while service.clients.count() > 1 {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(Duration::from_secs(30), forgotten).await?;
    sleep(SILENT).await;
    assert_eq!(service.clients.broadcast("are you there?"), 1, "who answers stays");
    println!("one went away, one fell silent, one is left");
    drop((silent, reads));

    sockets.close().await?;
    assert!(tokio::net::TcpStream::connect(service.address).await.is_err());
    println!("closed, and the port is free");
    Ok(())
}
