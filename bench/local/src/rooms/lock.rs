//! A keyed lock, beside `tokio::sync::Mutex`, which has no keys, and a map of such mutexes.
//!
//! `raceproof` keeps its handle of the lock, `raceproof-by-name` makes one for each cycle.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use anyhow::Result;
use dashmap::DashMap;
use tokio::task::JoinSet;

use crate::frame::{Room, Row, Sample, Stopwatch, live_bytes, repeat};

pub(crate) fn room() -> Room {
    let mut rows: Vec<_> = [("alone", 1), ("contended-2", 2), ("contended-16", 16)]
        .into_iter()
        .map(|(name, tasks)| {
            let row = Row::new(name, 400_000)
                .system(TokioMutex::NAME, move |times| measure::<TokioMutex>(tasks, times))
                .system(MutexMap::NAME, move |times| measure::<MutexMap>(tasks, times))
                .system(Kept::NAME, move |times| measure::<Kept>(tasks, times))
                .system(ByName::NAME, move |times| measure::<ByName>(tasks, times));
            if tasks == 1 { row.target(Kept::NAME, TokioMutex::NAME, 1.5) } else { row }
        })
        .collect();
    rows.push(
        Row::new("keys-1000000", KEYS)
            .system(DashMutexes::NAME, many_keys::<DashMutexes>)
            .system(DashCleaned::NAME, many_keys::<DashCleaned>)
            .system(Keyed::NAME, many_keys::<Keyed>)
            .system(ByName::NAME, many_keys::<ByName>)
            .target(Keyed::NAME, DashMutexes::NAME, 0.5),
    );
    rows.extend(super::values::rows());
    Room { name: "lock", rows, races: Vec::new() }
}

const KEYS: usize = 1_000_000;

/// What may be left of a million names: the tables of the shards, which are a few kilobytes.
const KEPT_AT_MOST: usize = 1 << 20;

/// What can be locked by name, within this process.
trait Lockable: Clone + Send + Sync + 'static {
    const NAME: &'static str;

    /// Whether it keeps memory for names that are not in use.
    const KEEPS: bool = false;

    fn new() -> Self;

    fn cycle(&self, name: &Arc<str>, body: impl FnOnce() + Send) -> impl Future<Output = Result<()>> + Send;
}

#[derive(Clone)]
struct TokioMutex(Arc<tokio::sync::Mutex<()>>);

impl Lockable for TokioMutex {
    const NAME: &'static str = "tokio-mutex";

    fn new() -> Self {
        Self(Arc::default())
    }

    async fn cycle(&self, _: &Arc<str>, body: impl FnOnce() + Send) -> Result<()> {
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

    async fn cycle(&self, name: &Arc<str>, body: impl FnOnce() + Send) -> Result<()> {
        let mutex =
            Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(name.to_string()).or_default());
        let guard = mutex.lock().await;
        body();
        drop(guard);
        let mut map = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(mutex);
        if map.get(&**name).is_some_and(|mutex| Arc::strong_count(mutex) == 1) {
            map.remove(&**name);
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

    async fn cycle(&self, _: &Arc<str>, body: impl FnOnce() + Send) -> Result<()> {
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

    async fn cycle(&self, name: &Arc<str>, body: impl FnOnce() + Send) -> Result<()> {
        let guard = self.0.lock(&**name).acquire().await?;
        body();
        drop(guard);
        Ok(())
    }
}

/// A handle for each cycle, of a name that is shared, not copied.
#[derive(Clone)]
struct Keyed(raceproof::Raceproof);

impl Lockable for Keyed {
    const NAME: &'static str = "raceproof";

    fn new() -> Self {
        Self(raceproof::Raceproof::local())
    }

    async fn cycle(&self, name: &Arc<str>, body: impl FnOnce() + Send) -> Result<()> {
        let guard = self.0.lock(Arc::clone(name)).acquire().await?;
        body();
        drop(guard);
        Ok(())
    }
}

/// A map that many threads use at one time; an entry stays once its name was locked.
#[derive(Clone)]
struct DashMutexes(Arc<DashMap<Arc<str>, Arc<tokio::sync::Mutex<()>>>>);

impl Lockable for DashMutexes {
    const NAME: &'static str = "dashmap";
    const KEEPS: bool = true;

    fn new() -> Self {
        Self(Arc::default())
    }

    async fn cycle(&self, name: &Arc<str>, body: impl FnOnce() + Send) -> Result<()> {
        let mutex = Arc::clone(&self.0.entry(Arc::clone(name)).or_default());
        let guard = mutex.lock().await;
        body();
        drop(guard);
        Ok(())
    }
}

/// The same, where the last to use a name drops its entry.
#[derive(Clone)]
struct DashCleaned(DashMutexes);

impl Lockable for DashCleaned {
    const NAME: &'static str = "dashmap-cleaned";

    fn new() -> Self {
        Self(DashMutexes::new())
    }

    async fn cycle(&self, name: &Arc<str>, body: impl FnOnce() + Send) -> Result<()> {
        self.0.cycle(name, body).await?;
        self.0.0.remove_if(name, |_, mutex| Arc::strong_count(mutex) == 1);
        Ok(())
    }
}

/// A million names, each locked once before the time counts and once after, in random order. Whatever lets go of names
/// has to have its memory back then.
async fn many_keys<L: Lockable>(times: usize) -> Result<Sample> {
    static NAMES: OnceLock<Vec<Arc<str>>> = OnceLock::new();
    let names = NAMES.get_or_init(|| {
        let mut names: Vec<Arc<str>> = (0..KEYS).map(|key| format!("tenant/{}/order/{key}", key % 97).into()).collect();
        fastrand::Rng::with_seed(1).shuffle(&mut names);
        names
    });
    let lock = L::new();
    let before = live_bytes();
    for name in names {
        lock.cycle(name, || {}).await?;
    }
    let watch = Stopwatch::start();
    for name in names.iter().cycle().take(times) {
        lock.cycle(name, || {}).await?;
    }
    let sample = watch.stop(times);
    let kept = live_bytes().zip(before).map_or(0, |(after, before)| after.saturating_sub(before));
    anyhow::ensure!(L::KEEPS || kept < KEPT_AT_MOST, "{kept} bytes are kept of names that nobody uses");
    Ok(sample)
}

async fn measure<L: Lockable>(tasks: usize, times: usize) -> Result<Sample> {
    let (lock, name) = (L::new(), "key".into());
    if tasks == 1 { repeat(times, || lock.cycle(&name, || {})).await } else { contended(&lock, tasks, times).await }
}

/// Several tasks that want the same name all the time. What they count is only right if no two were inside at once.
async fn contended<L: Lockable>(lock: &L, tasks: usize, times: usize) -> Result<Sample> {
    let inside = Arc::new(AtomicUsize::new(0));
    let watch = Stopwatch::start();
    let mut set = JoinSet::new();
    for _ in 0..tasks {
        let (lock, inside) = (lock.clone(), Arc::clone(&inside));
        set.spawn(async move {
            let (mut overlaps, name) = (0, "key".into());
            for _ in 0..times / tasks {
                lock.cycle(&name, || {
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
