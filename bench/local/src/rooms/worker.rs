//! A request and its reply, beside what people write: `tokio::sync::mpsc` with a `oneshot` in each request.
//!
//! An operation is one call that was answered. A row fails if an answer is another request's.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use raceproof::worker::Worker;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;

use crate::frame::{Race, Room, Row, Sample, Stopwatch};

const CAPACITY: usize = 64;

/// More than any machine needs to stop being slow.
const SOON: Duration = Duration::from_secs(60);

pub(crate) fn room() -> Room {
    let rows = [("callers-1", 1), ("callers-16", 16)]
        .into_iter()
        .map(|(name, callers)| {
            Row::new(name, 100_000)
                .system("mpsc-oneshot", move |times| measure(Bare::new(), callers, times))
                .system("raceproof", move |times| async move { measure(Ours::new(None)?, callers, times).await })
                .system("raceproof-timeout", move |times| async move {
                    measure(Ours::new(Some(Duration::from_secs(30)))?, callers, times).await
                })
                .target("raceproof", "mpsc-oneshot", 1.2)
        })
        .collect();
    let abandoned = Race::new("abandoned-requests", "raceproof", "0 of 32 executed")
        .system("raceproof", abandoned_ours)
        .system("mpsc-oneshot", abandoned_bare);
    Room { name: "worker", rows, races: vec![abandoned] }
}

trait Call: Clone + Send + Sync + 'static {
    fn call(&self, request: u64) -> impl Future<Output = Result<u64>> + Send;
}

#[derive(Clone)]
struct Bare(mpsc::Sender<(u64, oneshot::Sender<u64>)>);

impl Bare {
    fn new() -> Self {
        let (sender, mut requests) = mpsc::channel::<(u64, oneshot::Sender<u64>)>(CAPACITY);
        tokio::spawn(async move {
            while let Some((request, reply)) = requests.recv().await {
                let _ = reply.send(request + 1);
            }
        });
        Self(sender)
    }
}

impl Call for Bare {
    async fn call(&self, request: u64) -> Result<u64> {
        let (reply, answer) = oneshot::channel();
        self.0.send((request, reply)).await.ok().context("closed")?;
        Ok(answer.await?)
    }
}

#[derive(Clone)]
struct Ours(Worker<u64, u64>);

impl Ours {
    fn new(timeout: Option<Duration>) -> Result<Self> {
        let builder = Worker::builder("bench").mailbox(CAPACITY);
        let builder = timeout.into_iter().fold(builder, raceproof::worker::Builder::timeout);
        Ok(Self(builder.spawn(|| |request: u64| async move { request + 1 })?))
    }
}

impl Call for Ours {
    async fn call(&self, request: u64) -> Result<u64> {
        Ok(self.0.call(request).await?)
    }
}

async fn measure<C: Call>(worker: C, callers: usize, times: usize) -> Result<Sample> {
    for request in 0..100 {
        worker.call(request).await?;
    }
    let watch = Stopwatch::start();
    let mut set = JoinSet::new();
    for _ in 0..callers {
        let worker = worker.clone();
        set.spawn(async move {
            for request in 0..(times / callers) as u64 {
                let answer = worker.call(request).await?;
                ensure!(answer == request + 1, "the answer to another request");
            }
            Ok(())
        });
    }
    while let Some(result) = set.join_next().await {
        result??;
    }
    Ok(watch.stop(times))
}

const ABANDONED: usize = 32;

/// A worker is busy; callers come and give up; how many of their requests are executed?
async fn abandoned_ours() -> Result<String> {
    let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inner, count) = (Arc::clone(&gate), Arc::clone(&begun));
    let worker = Worker::builder("abandoned").mailbox(CAPACITY).spawn(move || {
        let (gate, begun) = (Arc::clone(&inner), Arc::clone(&count));
        move |(): ()| {
            let (gate, begun) = (Arc::clone(&gate), Arc::clone(&begun));
            async move {
                begun.fetch_add(1, Ordering::Relaxed);
                let _ = gate.acquire().await;
            }
        }
    })?;
    let mut callers: JoinSet<Option<()>> = JoinSet::new();
    for _ in 0..=ABANDONED {
        let worker = worker.clone();
        callers.spawn(async move { worker.call(()).await.ok() });
    }
    tokio::time::timeout(SOON, async {
        while worker.stats().accepted <= ABANDONED as u64 || begun.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    callers.shutdown().await;
    gate.close();
    tokio::time::timeout(SOON, worker.stop()).await?;
    Ok(format!("{} of {ABANDONED} executed", begun.load(Ordering::Relaxed) - 1))
}

async fn abandoned_bare() -> Result<String> {
    let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicUsize::new(0)));
    let (inner, count) = (Arc::clone(&gate), Arc::clone(&begun));
    let (sender, mut requests) = mpsc::channel::<oneshot::Sender<()>>(CAPACITY);
    let worker = tokio::spawn(async move {
        while let Some(reply) = requests.recv().await {
            count.fetch_add(1, Ordering::Relaxed);
            let _ = inner.acquire().await;
            let _ = reply.send(());
        }
    });
    let mut callers = JoinSet::new();
    for _ in 0..=ABANDONED {
        let sender = sender.clone();
        callers.spawn(async move {
            let (reply, answer) = oneshot::channel();
            sender.send(reply).await.ok();
            answer.await.ok();
        });
    }
    tokio::time::timeout(SOON, async {
        while sender.capacity() > CAPACITY - ABANDONED || begun.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
    })
    .await?;
    callers.shutdown().await;
    drop(sender);
    gate.close();
    tokio::time::timeout(SOON, worker).await??;
    Ok(format!("{} of {ABANDONED} executed", begun.load(Ordering::Relaxed) - 1))
}
