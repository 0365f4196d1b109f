//! Acquire and release of a name that nobody else wants.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Result;
use raceproof_bench_common::book::Metrics;
use raceproof_bench_common::stats::Latencies;

use super::{Phase, closed_loop, connect_many, count};
use crate::kind::Kind;
use crate::server::Server;
use crate::systems::{Client, Options};

#[derive(Debug, Default)]
struct Seen {
    acquires: Latencies,
    cycles: Latencies,
}

pub(crate) async fn measure(kind: Kind, server: &Server, clients: usize, duration: Duration) -> Result<Metrics> {
    let connected = connect_many(kind, server, clients, &Options::default()).await?;
    let (meter, seen) = closed_loop(server, connected, duration, cycle).await?;
    let mut all = Seen::default();
    for part in seen {
        all.acquires.append(part.acquires);
        all.cycles.append(part.cycles);
    }
    let cycles = count(all.cycles.len());
    let rate = ("cycles_per_s", cycles / meter.elapsed_s);
    let mut metrics = vec![
        ("cycle_p50_us", all.cycles.quantile_us(0.5)?),
        ("cycle_p99_us", all.cycles.quantile_us(0.99)?),
        ("acquire_p50_us", all.acquires.quantile_us(0.5)?),
        ("acquire_p99_us", all.acquires.quantile_us(0.99)?),
    ];
    // One client is about latency, many are about throughput.
    metrics.insert(if clients == 1 { metrics.len() } else { 0 }, rate);
    metrics.push(("server_cpu_us", meter.server_cpu_s * 1e6 / cycles));
    metrics.push(("client_cpu_us", meter.client_cpu_s * 1e6 / cycles));
    Ok(metrics)
}

async fn cycle(index: usize, mut client: Box<dyn Client>, phase: Arc<Phase>) -> Result<Seen> {
    let name = format!("private-{index}");
    let mut seen = Seen::default();
    while !phase.is_over() {
        let counts = phase.is_measuring();
        let started = Instant::now();
        client.acquire(&name).await?;
        let acquired = started.elapsed();
        client.release(&name).await?;
        if counts {
            seen.acquires.push(acquired);
            seen.cycles.push(started.elapsed());
        }
    }
    client.close().await?;
    Ok(seen)
}
