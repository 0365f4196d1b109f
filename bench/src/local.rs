//! A keyed lock within one process, beside `tokio::sync::Mutex`, which has no keys, and a map of such mutexes.
//!
//! `raceproof` keeps its handle of the lock, `raceproof-by-name` makes one for each cycle.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;
use clap::Args;
use tokio::task::JoinSet;

use crate::book::{Book, Metrics};

#[derive(Debug, Args)]
pub(crate) struct Local {
    /// Write all measurements as JSON.
    #[arg(long)]
    pub(crate) json: Option<PathBuf>,
    #[arg(long, default_value_t = 9)]
    repeats: usize,
    /// Cycles of one measurement.
    #[arg(long, default_value_t = 400_000)]
    cycles: usize,
}

/// What can be locked by name, within this process.
trait Lockable: Clone + Send + Sync + 'static {
    const NAME: &'static str;

    fn new() -> Self;

    fn cycle(&self, name: &str, body: impl FnOnce() + Send) -> impl Future<Output = Result<()>> + Send;
}

#[derive(Clone)]
struct TokioMutex(Arc<tokio::sync::Mutex<()>>);

impl Lockable for TokioMutex {
    const NAME: &'static str = "tokio-mutex";

    fn new() -> Self {
        Self(Arc::default())
    }

    async fn cycle(&self, _: &str, body: impl FnOnce() + Send) -> Result<()> {
        let guard = self.0.lock().await;
        body();
        drop(guard);
        Ok(())
    }
}

/// What people write when they need names: an entry is made by the first who wants it and dropped by the last.
#[derive(Clone)]
struct MutexMap(Arc<Mutex<HashMap<String, Arc<tokio::sync::Mutex<()>>>>>);

impl Lockable for MutexMap {
    const NAME: &'static str = "mutex-map";

    fn new() -> Self {
        Self(Arc::default())
    }

    async fn cycle(&self, name: &str, body: impl FnOnce() + Send) -> Result<()> {
        let mutex =
            Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_owned()).or_default());
        let guard = mutex.lock().await;
        body();
        drop(guard);
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(mutex);
        if map.get(name).is_some_and(|mutex| Arc::strong_count(mutex) == 1) {
            map.remove(name);
        }
        Ok(())
    }
}

/// A handle that is made once; the name is looked up in every cycle.
#[derive(Clone)]
struct Kept(raceproof::Lock);

impl Lockable for Kept {
    const NAME: &'static str = "raceproof";

    fn new() -> Self {
        Self(raceproof::Raceproof::local().lock("key"))
    }

    async fn cycle(&self, _: &str, body: impl FnOnce() + Send) -> Result<()> {
        let guard = self.0.acquire().await?;
        body();
        drop(guard);
        Ok(())
    }
}

#[derive(Clone)]
struct ByName(raceproof::Raceproof);

impl Lockable for ByName {
    const NAME: &'static str = "raceproof-by-name";

    fn new() -> Self {
        Self(raceproof::Raceproof::local())
    }

    async fn cycle(&self, name: &str, body: impl FnOnce() + Send) -> Result<()> {
        let guard = self.0.lock(name).acquire().await?;
        body();
        drop(guard);
        Ok(())
    }
}

pub(crate) async fn run(local: &Local, book: &mut Book) {
    for (row, tasks) in [("local@1", 1), ("local@2", 2), ("local@16", 16)] {
        for repeat in 0..local.repeats {
            measure::<TokioMutex>(row, tasks, repeat, local.cycles, book).await;
            measure::<MutexMap>(row, tasks, repeat, local.cycles, book).await;
            measure::<Kept>(row, tasks, repeat, local.cycles, book).await;
            measure::<ByName>(row, tasks, repeat, local.cycles, book).await;
        }
    }
}

async fn measure<L: Lockable>(row: &'static str, tasks: usize, repeat: usize, cycles: usize, book: &mut Book) {
    let lock = L::new();
    let result = if tasks == 1 { uncontended(&lock, cycles).await } else { contended(&lock, tasks, cycles).await };
    book.record(row, L::NAME, repeat, result);
}

/// One task and one name, after a warm-up.
async fn uncontended<L: Lockable>(lock: &L, cycles: usize) -> Result<Metrics> {
    let lock = lock.clone();
    tokio::spawn(async move {
        for _ in 0..cycles / 10 {
            lock.cycle("key", || {}).await?;
        }
        let started = Instant::now();
        for _ in 0..cycles {
            lock.cycle("key", || {}).await?;
        }
        Ok(vec![("ns", nanos_each(started, cycles))])
    })
    .await?
}

/// Several tasks that want the same name all the time. What they count is only right if no two were inside at once.
async fn contended<L: Lockable>(lock: &L, tasks: usize, cycles: usize) -> Result<Metrics> {
    let inside = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let started = Instant::now();
    let mut set = JoinSet::new();
    for _ in 0..tasks {
        let (lock, inside) = (lock.clone(), Arc::clone(&inside));
        set.spawn(async move {
            use std::sync::atomic::Ordering::Relaxed;
            let mut overlaps = 0;
            for _ in 0..cycles / tasks {
                lock.cycle("key", || {
                    overlaps += usize::from(inside.fetch_add(1, Relaxed) != 0);
                    inside.fetch_sub(1, Relaxed);
                })
                .await?;
            }
            anyhow::ensure!(overlaps == 0, "{overlaps} overlaps");
            Ok(())
        });
    }
    while let Some(result) = set.join_next().await {
        result??;
    }
    Ok(vec![("ns", nanos_each(started, cycles))])
}

fn nanos_each(started: Instant, cycles: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    let cycles = cycles as f64;
    started.elapsed().as_secs_f64() * 1e9 / cycles
}
