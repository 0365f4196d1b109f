//! A development server on a port of its own: one at a time, whoever starts, restarts and stops it.
//!
//! ```sh
//! cargo run -p raceproof --example dev_server_once
//! ```
//!
//! The port is taken at first: whoever asks is told so, and is refused for a while instead of trying on and on. Ten
//! callers share one server. A restart stops it before the next one binds the same port. A shutdown that comes while the
//! server is being set up leaves nothing behind.

use std::error::Error;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Mutex;
use std::time::Duration;

use raceproof::service::{GetError, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;

/// A listener, and the task that takes its connections.
struct Server {
    task: Mutex<Option<(oneshot::Sender<()>, JoinHandle<()>)>>,
}

impl Server {
    async fn start(address: SocketAddr) -> std::io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        // It has much to set up.
        sleep(Duration::from_millis(50)).await;
        let (stop, stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            tokio::select! {
                () = serve(listener) => {}
                _ = stopped => {}
            }
        });
        Ok(Self { task: Mutex::new(Some((stop, task))) })
    }

    async fn stop(&self) {
        let running = self.task.lock().expect("nobody panics while it is locked").take();
        if let Some((stop, task)) = running {
            drop(stop);
            let _ = task.await;
        }
    }
}

async fn serve(listener: TcpListener) {
    while let Ok((mut socket, _)) = listener.accept().await {
        // A client that has gone is no reason to stop.
        let _ = socket.write_all(b"hello").await;
    }
}

async fn visit(address: SocketAddr) -> std::io::Result<String> {
    let mut said = String::new();
    TcpStream::connect(address).await?.read_to_string(&mut said).await?;
    Ok(said)
}

type Outcome = Result<(), GetError<std::io::Error>>;

/// Ten callers at a time.
async fn ten(server: &Service<Server, std::io::Error>) -> Vec<Outcome> {
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        let server = server.clone();
        callers.spawn(async move { server.get().await.map(drop) });
    }
    callers.join_all().await
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let other = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
    let address = other.local_addr()?;
    let server = Service::builder(move || Server::start(address))
        .name("dev-server")
        .timeout(Duration::from_secs(10))
        .backoff(Duration::from_millis(500), Duration::from_secs(5))
        .clean_up(|server| async move { server.stop().await })
        .build();

    // Another program has the port.
    let told = ten(&server).await;
    assert!(told.iter().all(|told| matches!(told, Err(GetError::Init(_) | GetError::BackingOff { .. }))), "{told:?}");
    assert_eq!(server.stats().started, 1);
    println!("ten callers were told: {}", told.into_iter().find_map(Result::err).ok_or("started")?);

    drop(other);
    while let Err(error) = server.get().await {
        let GetError::BackingOff { retry_in, .. } = error else { return Err(error.into()) };
        sleep(retry_in).await;
    }
    assert_eq!(visit(address).await?, "hello");
    println!("started, after {} attempts", server.stats().started);

    // It is restarted while ten callers want it: the port is free before the next one binds it.
    drop(server.reset());
    assert!(ten(&server).await.iter().all(Result::is_ok));
    assert_eq!((server.stats().started, server.stats().failed), (3, 1));
    assert_eq!(visit(address).await?, "hello");
    println!("restarted on the same port");

    // It is shut down while it is being set up.
    drop(server.reset());
    let asked = tokio::spawn({
        let server = server.clone();
        async move { server.get().await.map(drop) }
    });
    while server.stats().started < 4 {
        tokio::task::yield_now().await;
    }
    server.close().await?;
    assert!(matches!(asked.await?, Err(GetError::Closed)));
    drop(TcpListener::bind(address).await?);
    println!("shut down, and the port is free; {:?}", server.stats());
    Ok(())
}
