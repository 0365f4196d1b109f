//! Idle sessions with one lock each: what they cost Raceproof's server.

use std::time::{Duration, Instant};

use anyhow::Result;
use raceproof_bench_common::book::Metrics;
use tokio::task::JoinSet;

use super::{Meter, connect_many, count, join};
use crate::kind::{Family, Kind};
use crate::server::{Load, Server, Site};
use crate::systems::Options;

pub(crate) async fn measure(
    kind: Kind,
    site: &Site,
    sessions: usize,
    ttl: Duration,
    window: Duration,
) -> Result<Metrics> {
    let server = Server::start(site, Family::Raceproof, Load::ManySessions).await?;
    let before = server.usage();
    let options = Options { ttl, ..Options::default() };
    let started = Instant::now();
    let connected = connect_many(kind, &server, sessions, &options).await?;
    let mut tasks = JoinSet::new();
    for (index, mut session) in connected.into_iter().enumerate() {
        tasks.spawn(async move {
            session.acquire(&format!("idle-{index}")).await?;
            Ok(session)
        });
    }
    let held = join(tasks).await?;
    let set_up_s = started.elapsed().as_secs_f64();
    // Renewals have fallen into their rhythm after the first interval.
    tokio::time::sleep(ttl / 2).await;
    let mut meter = Meter::start(&server);
    tokio::time::sleep(window).await;
    meter.stop(&server);
    let usage = server.usage();
    drop(held);
    Ok(vec![
        ("rss_mib", usage.rss_mib),
        ("peak_mib", usage.peak_mib),
        ("kib_each", (usage.rss_mib - before.rss_mib) * 1024.0 / count(sessions)),
        ("server_cpu_pct", 100.0 * meter.server_cpu_s / meter.elapsed_s),
        ("client_cpu_pct", 100.0 * meter.client_cpu_s / meter.elapsed_s),
        ("set_up_s", set_up_s),
    ])
}
