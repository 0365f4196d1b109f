//! Hand-offs of one name that everybody wants, with no hold. The row fails if two ever held it at once, or if a
//! token did not grow.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Result, ensure};
use raceproof_bench_common::book::Metrics;

use super::{Phase, closed_loop, connect_many, count};
use crate::kind::Kind;
use crate::server::Server;
use crate::systems::{Client, Options};

/// What everybody looks at while holding.
#[derive(Debug, Default)]
struct Referee {
    inside: AtomicUsize,
    overlaps: AtomicUsize,
    stale_tokens: AtomicUsize,
    last_token: AtomicU64,
    /// The last holder's index, from 1.
    last_holder: AtomicUsize,
    handoffs: AtomicUsize,
}

impl Referee {
    fn enter(&self, holder: usize, token: u64, counts: bool) {
        if self.inside.fetch_add(1, Ordering::SeqCst) != 0 {
            self.overlaps.fetch_add(1, Ordering::SeqCst);
        }
        // A system without tokens says 0.
        if token != 0 && self.last_token.swap(token, Ordering::SeqCst) >= token {
            self.stale_tokens.fetch_add(1, Ordering::SeqCst);
        }
        if self.last_holder.swap(holder, Ordering::SeqCst) != holder && counts {
            self.handoffs.fetch_add(1, Ordering::SeqCst);
        }
    }

    fn leave(&self) {
        self.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) async fn measure(kind: Kind, server: &Server, clients: usize, duration: Duration) -> Result<Metrics> {
    let options = Options { contended: true, ..Options::default() };
    let connected = connect_many(kind, server, clients, &options).await?;
    let referee = Arc::new(Referee::default());
    let (meter, grants) = closed_loop(server, connected, duration, |index, client, phase| {
        contend(index, client, phase, Arc::clone(&referee))
    })
    .await?;
    let overlaps = referee.overlaps.load(Ordering::SeqCst);
    let stale = referee.stale_tokens.load(Ordering::SeqCst);
    ensure!(overlaps == 0, "{overlaps} grants while another held the lock");
    ensure!(stale == 0, "{stale} tokens that did not grow");
    let total = count(grants.iter().sum());
    let handoffs = count(referee.handoffs.load(Ordering::SeqCst));
    let least = count(grants.iter().copied().min().unwrap_or_default());
    Ok(vec![
        ("handoffs_per_s", handoffs / meter.elapsed_s),
        ("grants_per_s", total / meter.elapsed_s),
        // 1 when all had the same number of turns.
        ("least_share", if total > 0.0 { least * count(clients) / total } else { 0.0 }),
        ("server_cpu_us", meter.server_cpu_s * 1e6 / total),
        ("client_cpu_us", meter.client_cpu_s * 1e6 / total),
    ])
}

async fn contend(index: usize, mut client: Box<dyn Client>, phase: Arc<Phase>, referee: Arc<Referee>) -> Result<usize> {
    let mut grants = 0;
    while !phase.is_over() {
        let token = client.acquire("hot").await?;
        let counts = phase.is_measuring();
        referee.enter(index + 1, token, counts);
        grants += usize::from(counts);
        referee.leave();
        client.release("hot").await?;
    }
    client.close().await?;
    Ok(grants)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_referee_sees_overlaps_and_tokens_that_do_not_grow() {
        let referee = Referee::default();
        referee.enter(1, 5, true);
        referee.enter(2, 6, true);
        assert_eq!(referee.overlaps.load(Ordering::SeqCst), 1);
        referee.leave();
        referee.leave();
        referee.enter(2, 6, true);
        assert_eq!(referee.stale_tokens.load(Ordering::SeqCst), 1);
        assert_eq!(referee.handoffs.load(Ordering::SeqCst), 2, "the third had it before");
        assert_eq!(referee.overlaps.load(Ordering::SeqCst), 1);
    }
}
