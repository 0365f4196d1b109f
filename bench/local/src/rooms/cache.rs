//! Values that are loaded once, beside moka's cache for futures; and the storage of ours beside others.
//!
//! All keep 10,000 entries for a minute, so all read the clock. Each stampede checks that as much was loaded as there
//! are keys.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use raceproof::cache::Cache;
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use super::cancelled::{self, Caller, Work};
use crate::frame::{Race, Room, Row, Sample, Stopwatch};

const OURS: &str = "raceproof";
const PEER: &str = "moka";
pub(super) const CAPACITY: usize = 10_000;
pub(super) const KEYS: u64 = 1_000;
const CALLERS: usize = 500;
pub(super) const TTL: Duration = Duration::from_secs(60);

pub(crate) fn room() -> Room {
    let hit = Row::new("hit", 200_000).system(OURS, hit::<Ours>).system(PEER, hit::<Moka>).target(OURS, PEER, 1.1);
    let miss = Row::new("miss", 40_000).system(OURS, miss::<Ours>).system(PEER, miss::<Moka>).target(OURS, PEER, 0.7);
    let stampede = Row::new("stampede-of-500", 50_000)
        .system(OURS, stampede::<Ours>)
        .system(PEER, stampede::<Moka>)
        .target(OURS, PEER, 0.6);
    let wait = Row::new("leader-cancelled", 1)
        .system(OURS, |_| cancelled::wait(leader::<Ours>))
        .system(PEER, |_| cancelled::wait(leader::<Moka>))
        .at_most_ns(OURS, cancelled::IN_TIME_NS);
    let races = vec![
        Race::new("leader-cancelled", OURS, cancelled::ONCE_EACH)
            .system(OURS, || cancelled::count(leader::<Ours>))
            .system(PEER, || cancelled::count(leader::<Moka>)),
        Race::new("invalidated-during-load", OURS, "0 of 10 stale")
            .system(OURS, overtaken::<Ours>)
            .system(PEER, overtaken::<Moka>),
        Race::new("500-readers-for-5-s-of-2-s", OURS, "3 loads")
            .system(OURS, engines::<Ours>)
            .system(PEER, engines::<Moka>),
    ];
    let mut rows = vec![hit, miss, stampede, wait];
    rows.extend(super::storage::rows());
    Room { name: "cache", rows, races }
}

/// What loads by key.
trait Loading: Clone + Send + Sync + 'static {
    fn new(ttl: Duration) -> Self;

    fn load<F>(&self, key: u64, load: F) -> impl Future<Output = Result<Arc<u64>>> + Send
    where
        F: Future<Output = Arc<u64>> + Send + 'static;

    fn invalidate(&self, key: u64) -> impl Future<Output = ()> + Send;
}

#[derive(Clone)]
struct Ours(Cache<u64, Arc<u64>, Infallible>);

impl Loading for Ours {
    fn new(ttl: Duration) -> Self {
        Self(Cache::builder(CAPACITY).ttl(ttl).build())
    }

    async fn load<F>(&self, key: u64, load: F) -> Result<Arc<u64>>
    where
        F: Future<Output = Arc<u64>> + Send + 'static,
    {
        Ok(self.0.get_or_load(&key, || async { Ok(load.await) }).await?)
    }

    async fn invalidate(&self, key: u64) {
        self.0.invalidate(&key);
    }
}

#[derive(Clone)]
struct Moka(moka::future::Cache<u64, Arc<u64>>);

impl Loading for Moka {
    fn new(ttl: Duration) -> Self {
        Self(moka::future::Cache::builder().max_capacity(CAPACITY as u64).time_to_live(ttl).build())
    }

    async fn load<F>(&self, key: u64, load: F) -> Result<Arc<u64>>
    where
        F: Future<Output = Arc<u64>> + Send + 'static,
    {
        Ok(self.0.try_get_with(key, async { Ok::<_, Infallible>(load.await) }).await?)
    }

    async fn invalidate(&self, key: u64) {
        self.0.invalidate(&key).await;
    }
}

async fn hit<C: Loading>(times: usize) -> Result<Sample> {
    let cache = C::new(TTL);
    for key in 0..KEYS {
        cache.load(key, async move { Arc::new(key) }).await?;
    }
    let watch = Stopwatch::start();
    for time in 0..times as u64 {
        let key = time % KEYS;
        let value = cache.load(key, async { Arc::new(u64::MAX) }).await?;
        ensure!(*value == key, "a hit loaded");
    }
    Ok(watch.stop(times))
}

/// Every key for the first time, and a load that need not wait.
async fn miss<C: Loading>(times: usize) -> Result<Sample> {
    let cache = C::new(TTL);
    for key in 0..KEYS {
        cache.load(u64::MAX - key, async move { Arc::new(key) }).await?;
    }
    let watch = Stopwatch::start();
    for key in 0..times as u64 {
        let value = cache.load(key, async move { Arc::new(key) }).await?;
        ensure!(*value == key, "another's value");
    }
    Ok(watch.stop(times))
}

/// 500 tasks ask for the same missing key, key after key, and the load ends when all of them have come; one time is that
/// of one caller.
async fn stampede<C: Loading>(times: usize) -> Result<Sample> {
    let cache = C::new(TTL);
    let loads = Arc::new(AtomicU64::new(0));
    let keys = (times / CALLERS) as u64;
    let watch = Stopwatch::start();
    for key in 0..keys {
        let (come, all) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
        let mut callers = JoinSet::new();
        for _ in 0..CALLERS {
            let (cache, loads) = (cache.clone(), Arc::clone(&loads));
            let (come, all) = (Arc::clone(&come), Arc::clone(&all));
            callers.spawn(async move {
                if come.fetch_add(1, Ordering::Relaxed) + 1 == CALLERS {
                    all.notify_one();
                }
                let load = async move {
                    loads.fetch_add(1, Ordering::Relaxed);
                    all.notified().await;
                    Arc::new(key)
                };
                cache.load(key, load).await
            });
        }
        while let Some(value) = callers.join_next().await {
            ensure!(*value?? == key, "another's value");
        }
    }
    let sample = watch.stop(times);
    let loads = loads.load(Ordering::Relaxed);
    ensure!(loads == keys, "{loads} loads for {keys} keys");
    Ok(sample)
}

/// Two callers of one key that is not there.
fn leader<C: Loading>(work: Work) -> Caller {
    let cache = C::new(TTL);
    Box::new(move || {
        let (cache, work) = (cache.clone(), work.clone());
        Box::pin(async move {
            let load = async move {
                work.run().await;
                Arc::new(7)
            };
            cache.load(1, load).await.map(drop)
        })
    })
}

const LOAD: Duration = Duration::from_millis(50);
const OVERTAKEN: u64 = 10;

/// The source changes and the key is invalidated while a load is under way that has read the old value: how many of
/// those who ask afterwards get it.
async fn overtaken<C: Loading>() -> Result<String> {
    let cache = C::new(TTL);
    let source = Arc::new(AtomicU64::new(1));
    let read = |source: &Arc<AtomicU64>| {
        let source = Arc::clone(source);
        async move {
            let value = source.load(Ordering::SeqCst);
            sleep(LOAD).await;
            Arc::new(value)
        }
    };
    let mut early = JoinSet::new();
    for key in 0..OVERTAKEN {
        let (cache, load) = (cache.clone(), read(&source));
        early.spawn(async move { cache.load(key, load).await });
    }
    sleep(LOAD / 2).await;
    source.store(2, Ordering::SeqCst);
    for key in 0..OVERTAKEN {
        cache.invalidate(key).await;
    }
    while let Some(loaded) = early.join_next().await {
        loaded??;
    }
    let mut stale = 0;
    for key in 0..OVERTAKEN {
        stale += u64::from(*cache.load(key, read(&source)).await? != 2);
    }
    Ok(format!("{stale} of {OVERTAKEN} stale"))
}

async fn engines<C: Loading>() -> Result<String> {
    let cache = C::new(Duration::from_secs(2));
    let loads = Arc::new(AtomicU64::new(0));
    let began = Instant::now();
    let mut readers = JoinSet::new();
    for _ in 0..CALLERS {
        let (cache, loads) = (cache.clone(), Arc::clone(&loads));
        readers.spawn(async move {
            while began.elapsed() < Duration::from_secs(5) {
                let loads = Arc::clone(&loads);
                let load = async move {
                    loads.fetch_add(1, Ordering::SeqCst);
                    sleep(Duration::from_millis(50)).await;
                    Arc::new(1)
                };
                cache.load(1, load).await?;
                sleep(Duration::from_millis(20)).await;
            }
            Ok::<_, anyhow::Error>(())
        });
    }
    while let Some(result) = readers.join_next().await {
        result??;
    }
    Ok(format!("{} loads", loads.load(Ordering::SeqCst)))
}
