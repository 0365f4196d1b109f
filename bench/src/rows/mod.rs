//! The rows: what is measured of every system.

pub(crate) mod expiry;
pub(crate) mod fanout;
pub(crate) mod handover;
pub(crate) mod hot;
pub(crate) mod idle;
pub(crate) mod keepalive;
pub(crate) mod kill;
pub(crate) mod memory;
pub(crate) mod private;
pub(crate) mod probe;
pub(crate) mod startup;

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use crate::kind::Kind;
use crate::process::own_cpu_seconds;
use crate::server::Server;
use crate::systems::{self, Client, Options};

/// Waits for all, and ends them all if one fails.
async fn join<T: 'static>(mut tasks: JoinSet<Result<T>>) -> Result<Vec<T>> {
    let mut results = Vec::with_capacity(tasks.len());
    while let Some(result) = tasks.join_next().await {
        results.push(result??);
    }
    Ok(results)
}

/// Connects clients, a few at a time.
async fn connect_many(kind: Kind, server: &Server, count: usize, options: &Options) -> Result<Vec<Box<dyn Client>>> {
    const AT_ONCE: usize = 32;
    let mut clients = Vec::with_capacity(count);
    while clients.len() < count {
        let mut tasks = JoinSet::new();
        for _ in 0..AT_ONCE.min(count - clients.len()) {
            let (addr, options) = (server.addr, options.clone());
            tasks.spawn(async move { systems::connect(kind, addr, &options).await });
        }
        clients.extend(join(tasks).await?);
    }
    Ok(clients)
}

/// Tells clients in a closed loop what their cycles count for.
#[derive(Debug, Default)]
struct Phase(AtomicU8);

impl Phase {
    const MEASURING: u8 = 1;
    const OVER: u8 = 2;

    fn is_measuring(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::MEASURING
    }

    fn is_over(&self) -> bool {
        self.0.load(Ordering::Relaxed) == Self::OVER
    }

    /// Lets everybody warm up, then measures.
    async fn run(&self, start: &Barrier, duration: Duration, server: &Server) -> Meter {
        start.wait().await;
        tokio::time::sleep(duration / 5).await;
        let mut meter = Meter::start(server);
        self.0.store(Self::MEASURING, Ordering::Relaxed);
        tokio::time::sleep(duration).await;
        self.0.store(Self::OVER, Ordering::Relaxed);
        meter.stop(server);
        meter
    }
}

/// Time and CPU of a stretch.
#[derive(Debug)]
struct Meter {
    started: Instant,
    server_cpu_s: f64,
    client_cpu_s: f64,
    elapsed_s: f64,
}

impl Meter {
    fn start(server: &Server) -> Self {
        let server_cpu_s = server.usage().cpu_s;
        Self { started: Instant::now(), server_cpu_s, client_cpu_s: own_cpu_seconds(), elapsed_s: 0.0 }
    }

    fn stop(&mut self, server: &Server) {
        self.elapsed_s = self.started.elapsed().as_secs_f64();
        self.server_cpu_s = server.usage().cpu_s - self.server_cpu_s;
        self.client_cpu_s = own_cpu_seconds() - self.client_cpu_s;
    }
}

/// A closed loop of clients, all of them started at once.
async fn closed_loop<T, F>(
    server: &Server,
    clients: Vec<Box<dyn Client>>,
    duration: Duration,
    body: impl Fn(usize, Box<dyn Client>, Arc<Phase>) -> F,
) -> Result<(Meter, Vec<T>)>
where
    T: Send + 'static,
    F: Future<Output = Result<T>> + Send + 'static,
{
    let start = Arc::new(Barrier::new(clients.len() + 1));
    let phase = Arc::new(Phase::default());
    let mut tasks = JoinSet::new();
    for (index, client) in clients.into_iter().enumerate() {
        let start = Arc::clone(&start);
        let run = body(index, client, Arc::clone(&phase));
        tasks.spawn(async move {
            start.wait().await;
            run.await
        });
    }
    let meter = phase.run(&start, duration, server).await;
    Ok((meter, join(tasks).await?))
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn count(count: usize) -> f64 {
    count as f64
}
