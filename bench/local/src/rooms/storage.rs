//! The storage of ours, beside others that could have been it: what a hit and an insertion take, and how much of a
//! skewed trace each keeps at hand.
//!
//! All forget after a minute, so all read the clock; quick_cache has none, and reads it as ours does.

use std::sync::Arc;

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::cache::{CAPACITY, KEYS, TTL};
use crate::frame::{Row, Sample, Stopwatch};

pub(super) fn rows() -> [Row; 3] {
    let hit = Row::new("storage-hit", 400_000)
        .system(Quick::NAME, hit::<Quick>)
        .system(Moka::NAME, hit::<Moka>)
        .system(MiniMoka::NAME, hit::<MiniMoka>);
    let insert = Row::new("storage-insert", 100_000)
        .system(Quick::NAME, insert::<Quick>)
        .system(Moka::NAME, insert::<Moka>)
        .system(MiniMoka::NAME, insert::<MiniMoka>);
    let trace = Row::new("storage-trace", 1_000_000)
        .system(Quick::NAME, trace::<Quick>)
        .system(Moka::NAME, trace::<Moka>)
        .system(MiniMoka::NAME, trace::<MiniMoka>);
    [hit, insert, trace]
}

/// What keeps so many entries for a minute.
trait Storage {
    const NAME: &'static str;

    fn new(capacity: usize) -> Self;

    fn get(&self, key: u64) -> Option<Arc<u64>>;

    fn insert(&self, key: u64, value: Arc<u64>);
}

struct Quick(quick_cache::sync::Cache<u64, (Arc<u64>, Instant)>);

impl Storage for Quick {
    const NAME: &'static str = "quick_cache";

    fn new(capacity: usize) -> Self {
        Self(quick_cache::sync::Cache::new(capacity))
    }

    fn get(&self, key: u64) -> Option<Arc<u64>> {
        let (value, until) = self.0.get(&key)?;
        (Instant::now() < until).then_some(value)
    }

    fn insert(&self, key: u64, value: Arc<u64>) {
        self.0.insert(key, (value, Instant::now() + TTL));
    }
}

struct Moka(moka::sync::Cache<u64, Arc<u64>>);

impl Storage for Moka {
    const NAME: &'static str = "moka, sync";

    fn new(capacity: usize) -> Self {
        Self(moka::sync::Cache::builder().max_capacity(capacity as u64).time_to_live(TTL).build())
    }

    fn get(&self, key: u64) -> Option<Arc<u64>> {
        self.0.get(&key)
    }

    fn insert(&self, key: u64, value: Arc<u64>) {
        self.0.insert(key, value);
    }
}

struct MiniMoka(mini_moka::sync::Cache<u64, Arc<u64>>);

impl Storage for MiniMoka {
    const NAME: &'static str = "mini-moka";

    fn new(capacity: usize) -> Self {
        Self(mini_moka::sync::Cache::builder().max_capacity(capacity as u64).time_to_live(TTL).build())
    }

    fn get(&self, key: u64) -> Option<Arc<u64>> {
        self.0.get(&key)
    }

    fn insert(&self, key: u64, value: Arc<u64>) {
        self.0.insert(key, value);
    }
}

async fn hit<S: Storage>(times: usize) -> Result<Sample> {
    let storage = S::new(CAPACITY);
    for key in 0..KEYS {
        storage.insert(key, Arc::new(key));
    }
    let watch = Stopwatch::start();
    for time in 0..times as u64 {
        let key = time % KEYS;
        ensure!(storage.get(key).is_some_and(|value| *value == key), "what was kept is not there");
    }
    Ok(watch.stop(times))
}

/// Keys that were not there, more of them than there is room for.
async fn insert<S: Storage>(times: usize) -> Result<Sample> {
    let storage = S::new(CAPACITY);
    let values: Vec<_> = (0..times as u64).map(Arc::new).collect();
    let watch = Stopwatch::start();
    for (key, value) in (0..).zip(values) {
        storage.insert(key, value);
    }
    Ok(watch.stop(times))
}

const TRACE_CAPACITY: usize = 1_000;
const TRACE_KEYS: u32 = 100_000;

/// How often a scan comes by, and how many keys it reads.
const SCAN_EVERY: usize = 20_000;
const SCAN: usize = 2_000;

/// Reads that prefer some keys, the same ones for all, and now and then each of many keys once. What is missing is put
/// there.
async fn trace<S: Storage>(times: usize) -> Result<Sample> {
    let storage = S::new(TRACE_CAPACITY);
    let mut rng = fastrand::Rng::with_seed(7);
    let mut hits = 0_u32;
    let watch = Stopwatch::start();
    for time in 0..times {
        let key = if time % SCAN_EVERY < SCAN { scanned(time) } else { preferred(&mut rng) };
        match storage.get(key) {
            Some(value) => {
                ensure!(*value == key, "another's value");
                hits += 1;
            }
            None => storage.insert(key, Arc::new(key)),
        }
    }
    let sample = watch.stop(times);
    Ok(sample.and("hits_percent", 100.0 * f64::from(hits) / times as f64))
}

/// Half of the reads are of a sixteenth of the keys.
fn preferred(rng: &mut fastrand::Rng) -> u64 {
    let place = rng.f64().powi(4) * f64::from(TRACE_KEYS);
    place as u64
}

fn scanned(time: usize) -> u64 {
    (time / SCAN_EVERY * SCAN + time % SCAN_EVERY) as u64 % u64::from(TRACE_KEYS)
}
