//! One measurement: how long so many operations took, and how often they allocated.

use std::alloc::System as SystemAlloc;
use std::time::{Duration, Instant};

use anyhow::Result;
use raceproof_bench_common::book::Metrics;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<SystemAlloc> = &INSTRUMENTED_SYSTEM;

/// What one measurement came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    elapsed: Duration,
    pub(crate) operations: usize,
    /// None if it was in another process.
    pub(crate) allocations: Option<usize>,
}

impl Sample {
    /// What another process measured of itself.
    pub(crate) const fn elsewhere(elapsed: Duration, operations: usize) -> Self {
        Self { elapsed, operations, allocations: None }
    }

    /// One wait, of which only the time is looked at.
    pub(crate) const fn of_one(elapsed: Duration) -> Self {
        Self::elsewhere(elapsed, 1)
    }

    /// Time and allocations of one operation.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub(super) fn metrics(&self) -> Metrics {
        let operations = self.operations.max(1) as f64;
        let mut metrics = vec![("ns", self.elapsed.as_secs_f64() * 1e9 / operations)];
        metrics.extend(self.allocations.map(|allocations| ("allocations", allocations as f64 / operations)));
        metrics
    }
}

/// Starts counting time and allocations; what was set up before does not count.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    region: Region<'static, SystemAlloc>,
    started: Instant,
}

impl Stopwatch {
    // Never inlined: callgrind counts from here on.
    #[inline(never)]
    pub(crate) fn start() -> Self {
        let region = Region::new(ALLOCATOR);
        Self { region, started: Instant::now() }
    }

    // Never inlined: callgrind counts up to here.
    #[inline(never)]
    pub(crate) fn stop(self, operations: usize) -> Sample {
        let elapsed = self.started.elapsed();
        Sample { elapsed, operations, allocations: Some(self.region.change().allocations) }
    }
}

/// How many bytes are allocated at this moment.
pub(crate) fn live_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}

/// How many of so many operations are done before the time counts.
pub(crate) const fn warm_up(times: usize) -> usize {
    times / 10
}

/// Runs `body` so often, after a tenth of it as warm-up.
pub(crate) async fn repeat<F: Future<Output = Result<()>>>(
    times: usize,
    mut body: impl FnMut() -> F,
) -> Result<Sample> {
    for _ in 0..warm_up(times) {
        body().await?;
    }
    let watch = Stopwatch::start();
    for _ in 0..times {
        body().await?;
    }
    Ok(watch.stop(times))
}

/// [`repeat`] for what does not wait.
pub(crate) fn repeat_sync(times: usize, mut body: impl FnMut()) -> Sample {
    for _ in 0..warm_up(times) {
        body();
    }
    let watch = Stopwatch::start();
    for _ in 0..times {
        body();
    }
    watch.stop(times)
}
