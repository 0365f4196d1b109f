//! A keyed lock, beside `tokio::sync::Mutex`, which has no keys, and a map of such mutexes.
//!
//! `raceproof` keeps its handle of the lock, `raceproof-by-name` makes one for each cycle.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Result;
use tokio::task::JoinSet;

use crate::frame::{Room, Row, Sample, Stopwatch, repeat};

pub(crate) fn room() -> Room {
    let rows = [("alone", 1), ("contended-2", 2), ("contended-16", 16)]
        .into_iter()
        .map(|(name, tasks)| {
            let row = Row::new(name, 400_000)
                .system(TokioMutex::NAME, move |times| measure::<TokioMutex>(tasks, times))
                .system(MutexMap::NAME, move |times| measure::<MutexMap>(tasks, times))
                .system(Kept::NAME, move |times| measure::<Kept>(tasks, times))
                .system(ByName::NAME, move |times| measure::<ByName>(tasks, times));
            if tasks == 1 { row.target(Kept::NAME, TokioMutex::NAME, 2.0) } else { row }
        })
        .collect();
    Room { name: "lock", rows, races: Vec::new() }
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

async fn measure<L: Lockable>(tasks: usize, times: usize) -> Result<Sample> {
    let lock = L::new();
    if tasks == 1 { repeat(times, || lock.cycle("key", || {})).await } else { contended(&lock, tasks, times).await }
}

/// Several tasks that want the same name all the time. What they count is only right if no two were inside at once.
async fn contended<L: Lockable>(lock: &L, tasks: usize, times: usize) -> Result<Sample> {
    let inside = Arc::new(AtomicUsize::new(0));
    let watch = Stopwatch::start();
    let mut set = JoinSet::new();
    for _ in 0..tasks {
        let (lock, inside) = (lock.clone(), Arc::clone(&inside));
        set.spawn(async move {
            let mut overlaps = 0;
            for _ in 0..times / tasks {
                lock.cycle("key", || {
                    overlaps += usize::from(inside.fetch_add(1, Ordering::Relaxed) != 0);
                    inside.fetch_sub(1, Ordering::Relaxed);
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
    Ok(watch.stop(times))
}
