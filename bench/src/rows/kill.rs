//! From the kill -9 of a holder's process to the grant of the one who waits.

use std::process::Stdio;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use raceproof_bench_common::book::Metrics;
use raceproof_bench_common::stats::Latencies;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinSet;

use super::{connect_many, join};
use crate::kind::Kind;
use crate::server::Server;
use crate::systems::{self, Options};

/// The lease of holders, for systems that only notice by its end. etcd knows no shorter one.
const TTL: Duration = Duration::from_secs(2);
const HOLDERS: usize = 6;

/// What the holder's process is told.
#[derive(Debug, Args)]
pub(crate) struct Holder {
    kind: Kind,
    addr: std::net::SocketAddr,
    name: String,
}

fn options() -> Options {
    Options { ttl: TTL, contended: true, end_on_disconnect: true, ..Options::default() }
}

/// The holder's process: takes the lock, says so, and keeps it until it is killed or its input ends.
pub(crate) async fn hold(holder: Holder) -> Result<()> {
    let mut client = systems::connect(holder.kind, holder.addr, &options()).await?;
    client.acquire(&holder.name).await?;
    let mut stdout = tokio::io::stdout();
    stdout.write_all(b"held\n").await?;
    stdout.flush().await?;
    // It lives no longer than the one who started it.
    let mut line = String::new();
    BufReader::new(tokio::io::stdin()).read_line(&mut line).await?;
    Ok(())
}

pub(crate) async fn measure(kind: Kind, server: &Server) -> Result<Metrics> {
    let names: Vec<String> = (0..HOLDERS).map(|index| format!("kill-{index}")).collect();
    let waiters = connect_many(kind, server, HOLDERS, &Options { contended: true, ..Options::default() }).await?;
    let mut kills = JoinSet::new();
    for (index, (name, mut waiter)) in names.into_iter().zip(waiters).enumerate() {
        let mut holder = spawn(kind, server, &name).await?;
        kills.spawn(async move {
            let wait = tokio::spawn(async move {
                waiter.acquire(&name).await?;
                let at = Instant::now();
                waiter.release(&name).await?;
                waiter.close().await?;
                anyhow::Ok(at)
            });
            tokio::time::sleep(Duration::from_millis(200 + 50 * u64::try_from(index)?)).await;
            ensure!(!wait.is_finished(), "the waiter did not wait");
            let killed = Instant::now();
            holder.start_kill()?;
            let at = wait.await??;
            holder.wait().await?;
            ensure!(at >= killed, "granted while its holder lived");
            Ok(at - killed)
        });
    }
    let mut latencies: Latencies = join(kills).await?.into_iter().collect();
    Ok(vec![("p50_ms", latencies.quantile_ms(0.5)?), ("max_ms", latencies.quantile_ms(1.0)?)])
}

async fn spawn(kind: Kind, server: &Server, name: &str) -> Result<Child> {
    let mut child = Command::new(std::env::current_exe()?)
        .args(["hold", kind.name(), &server.addr.to_string(), name])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().context("piped")?).read_line(&mut line).await?;
    ensure!(line == "held\n", "the holder's process did not get the lock");
    Ok(child)
}
