//! One measurement: how long so many operations took, and how often they allocated.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::Result;
use raceproof_bench_common::book::Metrics;

/// What an allocator has counted so far.
#[derive(Clone, Copy, Debug)]
pub struct Counts {
    /// How often memory was asked for.
    pub allocations: usize,
    /// How much is in use.
    pub live_bytes: usize,
}

static COUNTS: OnceLock<fn() -> Counts> = OnceLock::new();

/// Says where to ask, in the program whose allocator counts.
pub fn count_by(counts: fn() -> Counts) {
    COUNTS.get_or_init(|| counts);
}

fn counts() -> Option<Counts> {
    COUNTS.get().map(|counts| counts())
}

/// What one measurement came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    elapsed: Duration,
    pub(crate) operations: usize,
    /// Whether another process did the work.
    pub(crate) elsewhere: bool,
    /// None if nobody counted.
    pub(crate) allocations: Option<usize>,
    /// What else there is to say of it.
    besides: Option<(&'static str, f64)>,
}

impl Sample {
    /// What another process measured of itself.
    pub(crate) const fn elsewhere(elapsed: Duration, operations: usize) -> Self {
        Self { elapsed, operations, elsewhere: true, allocations: None, besides: None }
    }

    /// One wait, of which only the time is looked at.
    pub(crate) const fn of_one(elapsed: Duration) -> Self {
        Self::elsewhere(elapsed, 1)
    }

    /// With a metric of its own.
    pub(crate) const fn and(mut self, metric: &'static str, value: f64) -> Self {
        self.besides = Some((metric, value));
        self
    }

    /// Time and allocations of one operation, and what there is besides.
    #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
    pub(super) fn metrics(&self) -> Metrics {
        let operations = self.operations.max(1) as f64;
        let mut metrics = vec![("ns", self.elapsed.as_secs_f64() * 1e9 / operations)];
        metrics.extend(self.allocations.map(|allocations| ("allocations", allocations as f64 / operations)));
        metrics.extend(self.besides);
        metrics
    }
}

/// Starts counting time and allocations; what was set up before does not count.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    before: Option<Counts>,
    started: Instant,
}

impl Stopwatch {
    // Never inlined: callgrind counts from here on.
    #[inline(never)]
    pub(crate) fn start() -> Self {
        Self { before: counts(), started: Instant::now() }
    }

    // Never inlined: callgrind counts up to here.
    #[inline(never)]
    pub(crate) fn stop(self, operations: usize) -> Sample {
        let elapsed = self.started.elapsed();
        let allocations = counts().zip(self.before).map(|(after, before)| after.allocations - before.allocations);
        Sample { elapsed, operations, elsewhere: false, allocations, besides: None }
    }
}

/// How many bytes are allocated at this moment, where that is counted.
pub(crate) fn live_bytes() -> Option<usize> {
    counts().map(|counts| counts.live_bytes)
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
