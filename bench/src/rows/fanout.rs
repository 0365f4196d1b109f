//! From the start of a change to the last of 1,000 observers that knows of it, each with a connection of its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use raceproof_bench_common::book::Metrics;
use raceproof_bench_common::stats::Latencies;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::join;
use crate::kind::Family;
use crate::server::{Load, Server, Site};
use crate::systems;

const OBSERVERS: usize = 1_000;
const CHANGES: u64 = 10;
const AT_ONCE: usize = 32;

pub(crate) async fn measure(family: Family, site: &Site) -> Result<Metrics> {
    let server = Server::start(site, family, Load::ManySessions).await?;
    let mut publisher = systems::publisher(family, server.addr).await?;
    publisher.publish(0).await?;
    let mut followers = Followers::connect(family, &server).await?;
    let (mut first, mut last) = (Latencies::default(), Latencies::default());
    for number in 1..=CHANGES {
        publisher.prepare().await?;
        tokio::time::sleep(Duration::from_millis(100)).await;
        let started = Instant::now();
        publisher.publish(number).await?;
        let (earliest, latest) = followers.all_know(number).await?;
        first.push(earliest.saturating_duration_since(started));
        last.push(latest - started);
    }
    Ok(vec![
        ("last_p50_ms", last.quantile_ms(0.5)?),
        ("last_max_ms", last.quantile_ms(1.0)?),
        ("first_p50_ms", first.quantile_ms(0.5)?),
        ("rss_mib", server.usage().rss_mib),
    ])
}

/// Observers, each in a task that reports what it saw and when.
struct Followers {
    seen: mpsc::UnboundedReceiver<Result<(u64, Instant)>>,
    _tasks: JoinSet<()>,
}

impl Followers {
    async fn connect(family: Family, server: &Server) -> Result<Self> {
        let (tell, seen) = mpsc::unbounded_channel();
        let tell = Arc::new(tell);
        let mut tasks = JoinSet::new();
        for _ in 0..OBSERVERS.div_ceil(AT_ONCE) {
            let mut connecting = JoinSet::new();
            for _ in 0..AT_ONCE.min(OBSERVERS - tasks.len()) {
                let addr = server.addr;
                connecting.spawn(async move { systems::observer(family, addr).await });
            }
            for mut observer in join(connecting).await? {
                let tell = Arc::clone(&tell);
                tasks.spawn(async move {
                    loop {
                        let change = observer.change().await.map(|number| (number, Instant::now()));
                        let over = change.is_err();
                        if tell.send(change).is_err() || over {
                            return;
                        }
                    }
                });
            }
        }
        Ok(Self { seen, _tasks: tasks })
    }

    /// Waits until everybody has seen a change, and says when the first and the last did.
    async fn all_know(&mut self, number: u64) -> Result<(Instant, Instant)> {
        let mut times = Vec::with_capacity(OBSERVERS);
        while times.len() < OBSERVERS {
            let (seen, at) = self.seen.recv().await.context("no observer is left")??;
            ensure!(seen <= number, "change {seen} seen before it was made");
            if seen == number {
                times.push(at);
            }
        }
        let earliest = times.iter().min().copied().context("observers")?;
        let latest = times.iter().max().copied().context("observers")?;
        Ok((earliest, latest))
    }
}
