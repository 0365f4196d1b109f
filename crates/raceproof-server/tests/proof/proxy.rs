//! A TCP proxy between a client and its server that delays, holds back, and cuts.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;

/// A way through the proxy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Way {
    /// From the client to the server.
    Up = 0,
    /// From the server to the client.
    Down = 1,
}

/// What the network is like. Of both directions: up, down.
#[derive(Clone, Default, Debug)]
struct Weather {
    /// Nothing arrives; what was sent meanwhile arrives when this ends, as after TCP's retransmissions.
    cut: [bool; 2],
    delay: [Duration; 2],
    /// Connections made before this count as broken.
    broken_below: usize,
}

/// Where it listens, and what it does. Ends with the test's runtime.
#[derive(Clone, Debug)]
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    server: Arc<watch::Sender<SocketAddr>>,
    weather: Arc<watch::Sender<Weather>>,
    accepted: Arc<AtomicUsize>,
    /// Bytes that went down on the first connection.
    pub(crate) first_down: Arc<AtomicUsize>,
}

impl Proxy {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        Self::breaking(server, Vec::new()).await
    }

    /// Connection `i` breaks when so many bytes of the server's went down as `after[i]` says.
    pub(crate) async fn breaking(server: SocketAddr, after: Vec<usize>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            addr: listener.local_addr().unwrap(),
            server: Arc::new(watch::Sender::new(server)),
            weather: Arc::new(watch::Sender::default()),
            accepted: Arc::default(),
            first_down: Arc::default(),
        };
        let this = proxy.clone();
        tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                let number = this.accepted.fetch_add(1, Ordering::SeqCst);
                let budget = after.get(number).copied().unwrap_or(usize::MAX);
                let this = this.clone();
                tokio::spawn(async move { this.carry(client, number, budget).await });
            }
        });
        proxy
    }

    /// Later connections are to this server.
    pub(crate) fn lead_to(&self, server: SocketAddr) {
        self.server.send_replace(server);
    }

    /// From here on nothing arrives that way.
    pub(crate) fn cut(&self, way: Way) {
        self.weather.send_modify(|weather| weather.cut[way as usize] = true);
    }

    /// What was held back arrives, late.
    pub(crate) fn heal(&self) {
        self.weather.send_modify(|weather| weather.cut = [false; 2]);
    }

    pub(crate) fn delay(&self, way: Way, delay: Duration) {
        self.weather.send_modify(|weather| weather.delay[way as usize] = delay);
    }

    /// Resets every connection that there is. What was on its way is lost.
    pub(crate) fn break_all(&self) {
        let below = self.accepted();
        self.weather.send_modify(|weather| weather.broken_below = below);
    }

    /// How many connections there were.
    pub(crate) fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    async fn carry(&self, client: TcpStream, number: usize, budget: usize) {
        let server = *self.server.borrow();
        let Ok(server) = TcpStream::connect(server).await else { return };
        client.set_nodelay(true).unwrap();
        server.set_nodelay(true).unwrap();
        let (client_in, client_out) = client.into_split();
        let (server_in, server_out) = server.into_split();
        let count = if number == 0 { Arc::clone(&self.first_down) } else { Arc::default() };
        let mut weather = self.weather.subscribe();
        tokio::select! {
            () = pump(client_in, server_out, self.weather.subscribe(), Way::Up, usize::MAX, Arc::default()) => {}
            () = pump(server_in, client_out, self.weather.subscribe(), Way::Down, budget, count) => {}
            _ = weather.wait_for(|weather| number < weather.broken_below) => {}
        }
        // Both sockets are dropped here, with whatever was held back.
    }
}

/// Carries one way until an end closes or the budget is used up.
async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut weather: watch::Receiver<Weather>,
    way: Way,
    budget: usize,
    count: Arc<AtomicUsize>,
) {
    let (queue, mut queued) = mpsc::unbounded_channel::<(Instant, Vec<u8>)>();
    let read = async {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(bytes @ 1..) = from.read(&mut buffer).await {
            let _ = queue.send((Instant::now(), buffer[..bytes].to_vec()));
        }
        // What it sent before it closed is still to be carried.
        drop(queue);
        std::future::pending::<()>().await;
    };
    let write = async {
        let mut left = budget;
        while let Some((at, bytes)) = queued.recv().await {
            let delay = weather.borrow().delay[way as usize];
            tokio::time::sleep_until(at + delay).await;
            weather.wait_for(|weather| !weather.cut[way as usize]).await.unwrap();
            let allowed = bytes.len().min(left);
            if to.write_all(&bytes[..allowed]).await.is_err() {
                return;
            }
            count.fetch_add(allowed, Ordering::SeqCst);
            left -= allowed;
            if left == 0 {
                return;
            }
        }
    };
    tokio::select! {
        () = read => {}
        () = write => {}
    }
}
