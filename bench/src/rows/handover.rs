//! From the sending of a release to the grant of the one who waits.
//!
//! The waiter has waited for 150 ms, which is in etcd's favour: its watches are only served at once after their
//! first 100 ms. The row of the hot name shows the other side.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use raceproof_bench_common::book::Metrics;
use raceproof_bench_common::stats::Latencies;
use tokio::task::JoinSet;

use super::join;
use crate::kind::Kind;
use crate::server::Server;
use crate::systems::{self, Client, Options};

const WAITED: Duration = Duration::from_millis(150);
const PAIRS: usize = 8;

pub(crate) async fn measure(kind: Kind, server: &Server, duration: Duration) -> Result<Metrics> {
    let mut pairs = JoinSet::new();
    for index in 0..PAIRS {
        let addr = server.addr;
        pairs.spawn(async move {
            let options = Options { contended: true, ..Options::default() };
            let holder = systems::connect(kind, addr, &options).await?;
            let waiter = systems::connect(kind, addr, &options).await?;
            // The pairs release at different times.
            tokio::time::sleep(WAITED * u32::try_from(index)? / u32::try_from(PAIRS)?).await;
            hand_over(&format!("handover-{index}"), holder, waiter, duration).await
        });
    }
    let mut all = Latencies::default();
    for part in join(pairs).await? {
        all.append(part);
    }
    Ok(vec![("p50_us", all.quantile_us(0.5)?), ("p99_us", all.quantile_us(0.99)?)])
}

async fn hand_over(
    name: &str,
    mut holder: Box<dyn Client>,
    mut waiter: Box<dyn Client>,
    duration: Duration,
) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    let until = Instant::now() + duration;
    let mut token = holder.acquire(name).await?;
    while Instant::now() < until {
        let lock = name.to_owned();
        let wait = tokio::spawn(async move {
            let granted = waiter.acquire(&lock).await;
            (granted, Instant::now(), waiter)
        });
        tokio::time::sleep(WAITED).await;
        let released = Instant::now();
        holder.release(name).await?;
        let (granted, at, new_holder) = wait.await?;
        let next = granted?;
        ensure!(next > token || token == 0, "token {next} after {token}");
        ensure!(at >= released, "granted before it was released");
        latencies.push(at - released);
        token = next;
        waiter = std::mem::replace(&mut holder, new_holder);
    }
    holder.release(name).await?;
    holder.close().await?;
    waiter.close().await?;
    Ok(latencies)
}
