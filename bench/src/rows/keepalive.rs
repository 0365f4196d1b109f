//! 100,000 locks kept alive in 1,000 sessions: what that costs a server. At the end a rival must find them held.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use raceproof_bench_common::book::Metrics;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;

use super::{Meter, connect_many, join};
use crate::kind::Kind;
use crate::server::{Load, Server, Site};
use crate::systems::{self, Client, Options};

const SESSIONS: usize = 1_000;
const LOCKS_EACH: usize = 100;
const TTL: Duration = Duration::from_secs(10);
/// Sessions that take their locks at the same time.
const AT_ONCE: usize = 64;

pub(crate) async fn measure(kind: Kind, site: &Site, window: Duration) -> Result<Metrics> {
    let server = Server::start(site, kind.family(), Load::ManySessions).await?;
    let before = server.usage();
    let options = Options { ttl: TTL, ..Options::default() };
    let started = Instant::now();
    let sessions = connect_many(kind, &server, SESSIONS, &options).await?;
    let (over, is_over) = watch::channel(false);
    let (ready, mut is_ready) = mpsc::unbounded_channel();
    let turns = Arc::new(Semaphore::new(AT_ONCE));
    let mut keepers = JoinSet::new();
    for (index, session) in sessions.into_iter().enumerate() {
        keepers.spawn(keep(index, session, Arc::clone(&turns), ready.clone(), is_over.clone()));
    }
    for _ in 0..SESSIONS {
        tokio::select! {
            _ = is_ready.recv() => {}
            Some(ended) = keepers.join_next() => {
                ended??;
                bail!("a session ended");
            }
        }
    }
    let set_up_s = started.elapsed().as_secs_f64();

    let mut meter = Meter::start(&server);
    tokio::time::sleep(window).await;
    meter.stop(&server);
    let usage = server.usage();
    expect_held(kind, &server, &options).await?;
    over.send_replace(true);
    join(keepers).await?;
    Ok(vec![
        ("server_cpu_pct", 100.0 * meter.server_cpu_s / meter.elapsed_s),
        ("client_cpu_pct", 100.0 * meter.client_cpu_s / meter.elapsed_s),
        ("rss_mib", usage.rss_mib),
        ("grown_mib", usage.rss_mib - before.rss_mib),
        ("set_up_s", set_up_s),
    ])
}

/// Takes a session's locks when its turn comes, and keeps them. Leases that no library renews are renewed here, from
/// the first lock on.
async fn keep(
    index: usize,
    mut session: Box<dyn Client>,
    turns: Arc<Semaphore>,
    ready: mpsc::UnboundedSender<()>,
    mut is_over: watch::Receiver<bool>,
) -> Result<()> {
    let turn = turns.acquire().await?;
    for lock in 0..LOCKS_EACH {
        session.acquire(&name(index, lock)).await?;
    }
    session.renew().await?;
    drop(turn);
    ready.send(())?;
    loop {
        let over = tokio::time::timeout(TTL / 3, async { is_over.wait_for(|over| *over).await.map(drop) }).await;
        match over {
            Ok(over) => return Ok(over?),
            Err(_) => session.renew().await?,
        }
    }
}

fn name(session: usize, lock: usize) -> String {
    format!("kept-{session}-{lock}")
}

/// A rival waits for some of the locks for a while, and must not get one.
async fn expect_held(kind: Kind, server: &Server, options: &Options) -> Result<()> {
    let mut rivals = JoinSet::new();
    for index in 0..20 {
        let (addr, options) = (server.addr, options.clone());
        rivals.spawn(async move {
            let mut rival = systems::connect(kind, addr, &options).await?;
            let lock = name(index * (SESSIONS / 20), index * (LOCKS_EACH / 20));
            let wait = tokio::time::timeout(Duration::from_millis(200), rival.acquire(&lock)).await;
            ensure!(wait.is_err(), "{lock} was not held any more");
            Ok(())
        });
    }
    join(rivals).await?;
    Ok(())
}
