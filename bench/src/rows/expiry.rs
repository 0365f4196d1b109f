//! How late the next grant is after the end of the lease of a holder that fell silent: counted from the moment
//! before it asked for its lease, so that nothing can hide. A grant before the lease's end fails the row.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use raceproof_bench_common::book::Metrics;
use raceproof_bench_common::stats::Latencies;
use tokio::task::JoinSet;

use super::join;
use crate::kind::Kind;
use crate::server::Server;
use crate::systems::{self, Options};

/// Whole seconds, and none shorter than etcd's least.
const TTL: Duration = Duration::from_secs(2);
const HOLDERS: u64 = 20;

pub(crate) async fn measure(kind: Kind, server: &Server) -> Result<Metrics> {
    let mut leases = JoinSet::new();
    for index in 0..HOLDERS {
        let addr = server.addr;
        leases.spawn(async move {
            // Spread over half a second, so that a server that looks at leases now and then is met at all phases.
            tokio::time::sleep(Duration::from_millis(25 * index)).await;
            outlive(kind, addr, &format!("expiry-{index}")).await
        });
    }
    let mut late: Latencies = join(leases).await?.into_iter().collect();
    Ok(vec![("late_p50_ms", late.quantile_ms(0.5)?), ("late_max_ms", late.quantile_ms(1.0)?)])
}

async fn outlive(kind: Kind, addr: std::net::SocketAddr, name: &str) -> Result<Duration> {
    let mut waiter = systems::connect(kind, addr, &Options { contended: true, ..Options::default() }).await?;
    let silent = Options { ttl: TTL, renew: false, contended: true, end_on_disconnect: false };
    let mut holder = systems::connect(kind, addr, &silent).await?;
    holder.acquire(name).await?;
    let end = holder.lease_started() + TTL;
    waiter.acquire(name).await?;
    let at = Instant::now();
    waiter.release(name).await?;
    waiter.close().await?;
    ensure!(at >= end, "granted {:?} before the lease's end", end - at);
    Ok(at - end)
}
