//! What happened, counted without making callers share a cache line where it is hot.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

const STRIPES: usize = 16;

#[derive(Debug, Default)]
#[repr(align(128))]
struct Stripe(AtomicU64);

/// Counters since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    hits: [Stripe; STRIPES],
    stale: AtomicU64,
    misses: AtomicU64,
    coalesced: AtomicU64,
    loads: AtomicU64,
    failed: AtomicU64,
    overtaken: AtomicU64,
}

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static STRIPE: usize = THREADS.fetch_add(1, Ordering::Relaxed) % STRIPES;
}

impl Counters {
    #[inline]
    pub(super) fn hit(&self) {
        let stripe = STRIPE.try_with(|stripe| *stripe).unwrap_or(0);
        if let Some(Stripe(hits)) = self.hits.get(stripe) {
            hits.fetch_add(1, Ordering::Relaxed);
        }
    }

    pub(super) fn stale(&self) {
        self.stale.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn miss(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn coalesced(&self) {
        self.coalesced.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn load(&self) {
        self.loads.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn failed(&self) {
        self.failed.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn overtaken(&self, loads: u64) {
        self.overtaken.fetch_add(loads, Ordering::Relaxed);
    }

    pub(super) fn fill(&self, stats: &mut super::Stats) {
        stats.hits = self.hits.iter().map(|Stripe(hits)| hits.load(Ordering::Relaxed)).sum();
        stats.stale_hits = self.stale.load(Ordering::Relaxed);
        stats.misses = self.misses.load(Ordering::Relaxed);
        stats.coalesced = self.coalesced.load(Ordering::Relaxed);
        stats.loads = self.loads.load(Ordering::Relaxed);
        stats.failed = self.failed.load(Ordering::Relaxed);
        stats.overtaken = self.overtaken.load(Ordering::Relaxed);
    }
}
