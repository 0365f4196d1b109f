//! 500 readers that always want the list of engines, and an orchestrator that is asked for it once every 2 s.
//!
//! ```sh
//! cargo run -p raceproof --example engine_list
//! ```
//!
//! An engine fails half-way. Whoever notices invalidates the list while it is being loaded: the load that began before
//! the failure cannot bring the dead engine back.

use std::convert::Infallible;
use std::error::Error;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use raceproof::cache::Cache;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

type Engines = Arc<[&'static str]>;

/// Answers within 50 ms what is true when it is asked.
#[derive(Clone)]
struct Orchestrator {
    asked: Arc<AtomicU32>,
    second_is_up: Arc<AtomicBool>,
}

impl Orchestrator {
    async fn engines(self) -> Result<Engines, Infallible> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let both = self.second_is_up.load(Ordering::SeqCst);
        sleep(Duration::from_millis(50)).await;
        Ok(if both { ["engine-1", "engine-2"].into() } else { ["engine-1"].into() })
    }
}

async fn engines(
    cache: &Cache<String, Engines, Infallible>,
    orchestrator: &Orchestrator,
) -> Result<Engines, Box<dyn Error + Send + Sync>> {
    let orchestrator = orchestrator.clone();
    Ok(cache.get_or_load("engines", || orchestrator.engines()).await?)
}

#[tokio::main]
pub(crate) async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let orchestrator = Orchestrator { asked: Arc::default(), second_is_up: Arc::new(AtomicBool::new(true)) };
    let cache = Cache::builder(16).ttl(Duration::from_secs(2)).build();

    let began = Instant::now();
    let mut readers = JoinSet::new();
    for _ in 0..500 {
        let (cache, orchestrator) = (cache.clone(), orchestrator.clone());
        readers.spawn(async move {
            let mut reads = 0_u32;
            while began.elapsed() < Duration::from_secs(5) {
                assert_eq!(engines(&cache, &orchestrator).await?.len(), 2);
                reads += 1;
                sleep(Duration::from_millis(20)).await;
            }
            Ok::<_, Box<dyn Error + Send + Sync>>(reads)
        });
    }
    let reads: u32 = readers.join_all().await.into_iter().sum::<Result<u32, _>>()?;
    let asked = orchestrator.asked.load(Ordering::SeqCst);
    println!("{reads} reads in 5 s, {asked} requests to the orchestrator");
    assert_eq!(asked, 3);

    // The list is being loaded when an engine fails.
    sleep(Duration::from_secs(2)).await;
    let loading = tokio::spawn({
        let (cache, orchestrator) = (cache.clone(), orchestrator.clone());
        async move { engines(&cache, &orchestrator).await }
    });
    while cache.stats().loading == 0 {
        tokio::task::yield_now().await;
    }
    sleep(Duration::from_millis(10)).await;
    orchestrator.second_is_up.store(false, Ordering::SeqCst);
    cache.invalidate("engines");
    assert_eq!(engines(&cache, &orchestrator).await?.len(), 1);
    loading.await??;
    assert_eq!(engines(&cache, &orchestrator).await?.len(), 1);
    println!("the failed engine did not come back; {:?}", cache.stats());
    Ok(())
}
