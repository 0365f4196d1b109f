//! A server in this process, and a proxy in front of it.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use raceproof::{AcquireError, Builder, ConnectionState, Guard, Lock, OnDisconnect, Raceproof};
use raceproof_server::{RunError, Server, ServerConfig, StoreKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::timeout;

/// Longer than anything here takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) async fn soon<T>(what: impl Future<Output = T>) -> T {
    timeout(PATIENCE, what).await.expect("it takes too long")
}

pub(crate) struct Running {
    pub(crate) addr: SocketAddr,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), RunError>>,
}

impl Running {
    pub(crate) async fn start() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(set: impl FnOnce(&mut ServerConfig)) -> Self {
        let mut config = ServerConfig::new(StoreKind::Memory);
        config.listen = SocketAddr::from(([127, 0, 0, 1], 0));
        set(&mut config);
        let server = Server::bind(config).await.unwrap();
        let addr = server.local_addr();
        let (stop, stopped) = oneshot::channel();
        let ended = tokio::spawn(server.run(async {
            let _dropped = stopped.await;
        }));
        Self { addr, stop, ended }
    }

    /// Over a store in a directory, at an address that is known before.
    pub(crate) async fn at(addr: SocketAddr, dir: &Path) -> Self {
        Self::with(|config| {
            config.listen = addr;
            config.store = StoreKind::directory(dir);
        })
        .await
    }

    pub(crate) async fn stop(self) {
        let _gone = self.stop.send(());
        soon(self.ended).await.unwrap().unwrap();
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.addr)
    }

    pub(crate) async fn client(&self) -> Raceproof {
        soon(Raceproof::connect(&self.url())).await.unwrap()
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Mode {
    Open,
    /// What the server says does not arrive.
    Swallow,
    /// Nothing arrives on either side, and nobody is told.
    Hold,
    /// Connections are cut, and no other is taken.
    Cut,
}

/// Stands between a client and the server.
pub(crate) struct Proxy {
    pub(crate) addr: SocketAddr,
    mode: Arc<watch::Sender<Mode>>,
}

impl Proxy {
    pub(crate) async fn before(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let addr = listener.local_addr().unwrap();
        let mode = Arc::new(watch::Sender::new(Mode::Open));
        let modes = Arc::clone(&mode);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if *modes.borrow() == Mode::Cut {
                    continue;
                }
                let mut watched = modes.subscribe();
                tokio::spawn(async move {
                    let Ok(server) = TcpStream::connect(server).await else { return };
                    let ((from_client, to_client), (from_server, to_server)) =
                        (client.into_split(), server.into_split());
                    tokio::select! {
                        () = pump(from_client, to_server, watched.clone(), &[Mode::Hold]) => {}
                        () = pump(from_server, to_client, watched.clone(), &[Mode::Hold, Mode::Swallow]) => {}
                        _ = watched.wait_for(|mode| *mode == Mode::Cut) => {}
                    }
                });
            }
        });
        Self { addr, mode }
    }

    pub(crate) fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// Cuts every connection, and takes others again.
    pub(crate) async fn cut(&self) {
        self.set(Mode::Cut);
        // The tasks of the connections see the change before any task that comes later.
        while self.mode.receiver_count() > 0 {
            tokio::task::yield_now().await;
        }
        self.set(Mode::Open);
    }

    pub(crate) fn builder(&self) -> Builder {
        Raceproof::builder(format!("http://{}", self.addr)).on_disconnect(OnDisconnect::Keep)
    }
}

async fn pump(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut mode: watch::Receiver<Mode>,
    stopped_by: &'static [Mode],
) {
    let mut buffer = vec![0; 16 * 1024];
    loop {
        let Ok(read) = from.read(&mut buffer).await else { return };
        if read == 0 {
            return;
        }
        let now = *mode.borrow_and_update();
        if now == Mode::Swallow && stopped_by.contains(&now) {
            continue;
        }
        if mode.wait_for(|mode| !stopped_by.contains(mode)).await.is_err()
            || to.write_all(&buffer[..read]).await.is_err()
        {
            return;
        }
    }
}

/// Waits until the client's connection is in this state.
pub(crate) async fn until(rp: &Raceproof, state: ConnectionState) {
    soon(rp.connection_states().wait_for(|now| *now == state)).await.unwrap();
}

/// A wait in a task of its own, which has reached its place in the queue.
pub(crate) async fn waiting(rp: &Raceproof, name: &str, lock: Lock) -> JoinHandle<Result<Guard, AcquireError>> {
    let before = rp.lock_info(name).await.unwrap().waiters_count;
    let task = tokio::spawn(async move { lock.acquire().await });
    until_waiters(rp, name, before + 1).await;
    task
}

pub(crate) async fn until_waiters(rp: &Raceproof, name: &str, wanted: u64) {
    soon(async {
        while rp.lock_info(name).await.unwrap().waiters_count != wanted {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}
