//! What a server has grown to after many cycles on 10,000 names: memory, and data on disk.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Result;
use raceproof_bench_common::book::Metrics;
use tokio::task::JoinSet;

use super::{connect_many, count, join};
use crate::kind::Kind;
use crate::server::{Load, Server, Site};
use crate::systems::Options;

const NAMES: usize = 10_000;
const CLIENTS: usize = 64;

pub(crate) async fn measure(kind: Kind, site: &Site, cycles: usize) -> Result<Metrics> {
    let server = Server::start(site, kind.family(), Load::Long).await?;
    let clients = connect_many(kind, &server, CLIENTS, &Options::default()).await?;
    let started = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for (index, mut client) in clients.into_iter().enumerate() {
        let next = Arc::clone(&next);
        // Every client has names of its own, so that nobody waits.
        let names: Vec<String> = (index..NAMES).step_by(CLIENTS).map(|name| format!("name-{name}")).collect();
        tasks.spawn(async move {
            for name in names.iter().cycle() {
                if next.fetch_add(1, Ordering::Relaxed) >= cycles {
                    break;
                }
                client.acquire(name).await?;
                client.release(name).await?;
            }
            client.close().await
        });
    }
    join(tasks).await?;
    let elapsed = started.elapsed();
    let usage = server.usage();
    Ok(vec![
        ("rss_mib", usage.rss_mib),
        ("peak_mib", usage.peak_mib),
        ("data_mib", server.data_mib()),
        ("cycles_per_s", count(cycles) / elapsed.as_secs_f64()),
        ("server_cpu_s", usage.cpu_s),
    ])
}
