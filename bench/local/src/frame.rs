//! Rows of times, beside peers, and races as counts.
//!
//! A row is the same work done by several systems. They take turns: each repeat measures every system once, and a
//! ratio is the median of the ratios within the repeats, so that a machine that slows down slows both sides. A row that
//! checks its work (loads = keys, lost = 0) fails instead of printing a time when the check fails.

use std::alloc::System as SystemAlloc;
use std::fmt::Write;
use std::pin::Pin;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<SystemAlloc> = &INSTRUMENTED_SYSTEM;

type Run = Box<dyn Fn(usize) -> Pin<Box<dyn Future<Output = Result<Sample>> + Send>> + Send>;

/// What one measurement came to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    pub(crate) elapsed: Duration,
    pub(crate) operations: usize,
    pub(crate) allocations: usize,
}

/// Starts counting time and allocations; what was set up before does not count.
#[derive(Debug)]
pub(crate) struct Stopwatch {
    region: Region<'static, SystemAlloc>,
    started: Instant,
}

impl Stopwatch {
    pub(crate) fn start() -> Self {
        let region = Region::new(ALLOCATOR);
        Self { region, started: Instant::now() }
    }

    pub(crate) fn stop(self, operations: usize) -> Sample {
        let elapsed = self.started.elapsed();
        Sample { elapsed, operations, allocations: self.region.change().allocations }
    }
}

/// How many bytes are allocated at this moment.
pub(crate) fn live_bytes() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated.saturating_sub(stats.bytes_deallocated)
}

/// Runs `body` so often, after a tenth of it as warm-up.
pub(crate) async fn repeat<F: Future<Output = Result<()>>>(
    times: usize,
    mut body: impl FnMut() -> F,
) -> Result<Sample> {
    for _ in 0..times / 10 {
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
    for _ in 0..times / 10 {
        body();
    }
    let watch = Stopwatch::start();
    for _ in 0..times {
        body();
    }
    watch.stop(times)
}

#[derive(Clone, Copy, Debug)]
struct Target {
    ours: &'static str,
    peer: &'static str,
    at_most: f64,
}

#[derive(Clone, Copy, Debug)]
struct Bound {
    ours: &'static str,
    ns_at_most: f64,
}

/// The same work, done by several systems.
pub(crate) struct Row {
    name: &'static str,
    times: usize,
    systems: Vec<(&'static str, Run)>,
    targets: Vec<Target>,
    bounds: Vec<Bound>,
}

impl Row {
    /// `times` operations make one measurement; choose it so that one takes 20 to 200 ms.
    pub(crate) const fn new(name: &'static str, times: usize) -> Self {
        Self { name, times, systems: Vec::new(), targets: Vec::new(), bounds: Vec::new() }
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    /// `run` does so many operations and says how long they took. It runs as a task on two worker threads.
    pub(crate) fn system<F>(mut self, name: &'static str, run: impl Fn(usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Sample>> + Send + 'static,
    {
        self.systems.push((name, Box::new(move |times| Box::pin(run(times)))));
        self
    }

    /// `ours` is to take at most this many times what `peer` takes.
    pub(crate) fn target(mut self, ours: &'static str, peer: &'static str, at_most: f64) -> Self {
        self.targets.push(Target { ours, peer, at_most });
        self
    }

    /// `ours` is to take at most so many nanoseconds.
    pub(crate) fn at_most_ns(mut self, ours: &'static str, ns_at_most: f64) -> Self {
        self.bounds.push(Bound { ours, ns_at_most });
        self
    }
}

/// A situation in which something can go wrong, and what each system made of it.
pub(crate) struct Race {
    name: &'static str,
    wanted: &'static str,
    ours: &'static str,
    systems: Vec<(&'static str, Outcome)>,
}

type Outcome = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<String>> + Send>> + Send>;

impl Race {
    /// `ours` fails the run unless its outcome is `wanted`.
    pub(crate) fn new(name: &'static str, ours: &'static str, wanted: &'static str) -> Self {
        Self { name, wanted, ours, systems: Vec::new() }
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn system<F>(mut self, name: &'static str, run: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<String>> + Send + 'static,
    {
        self.systems.push((name, Box::new(move || Box::pin(run()))));
        self
    }
}

/// What a room brings.
#[derive(Default)]
pub(crate) struct Room {
    pub(crate) name: &'static str,
    pub(crate) rows: Vec<Row>,
    pub(crate) races: Vec<Race>,
}

/// All that was measured, as text and as JSON, and whether all checks held.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) text: String,
    pub(crate) json: serde_json::Value,
    pub(crate) failures: usize,
}

pub(crate) async fn run(rooms: Vec<Room>, repeats: usize) -> Report {
    let mut report = Report { text: String::new(), json: json!({}), failures: 0 };
    let (mut targets, mut rows, mut races) = (String::new(), Vec::new(), Vec::new());
    for room in rooms {
        for row in room.rows {
            let row_json = measure(room.name, &row, repeats, &mut report, &mut targets).await;
            rows.push(row_json);
        }
        for race in room.races {
            let race_json = settle(room.name, &race, &mut report).await;
            races.push(race_json);
        }
    }
    if !targets.is_empty() {
        let _ = write!(
            report.text,
            "\n### Targets\n\n| row | target | wanted | measured (least–greatest) | |\n|---|---|--:|--:|---|\n{targets}"
        );
    }
    report.json = json!({ "v": 1, "rows": rows, "races": races });
    report
}

async fn measure(
    room: &str,
    row: &Row,
    repeats: usize,
    report: &mut Report,
    targets: &mut String,
) -> serde_json::Value {
    let mut taken: Vec<Vec<Sample>> = row.systems.iter().map(|_| Vec::new()).collect();
    for repeat in 0..repeats {
        // Every other repeat goes the other way round, so that no system always runs behind the same one.
        let mut order: Vec<_> = row.systems.iter().zip(&mut taken).collect();
        if repeat % 2 == 1 {
            order.reverse();
        }
        for ((name, run), samples) in order {
            let sample = match tokio::spawn(run(row.times)).await.context("a bench must not panic") {
                Ok(Ok(sample)) => sample,
                Ok(Err(error)) | Err(error) => {
                    report.failures += 1;
                    let _ = writeln!(report.text, "\nFailed: {room}/{}, {name}, repeat {repeat}: {error:#}", row.name);
                    continue;
                }
            };
            samples.push(sample);
        }
    }
    let column =
        |name: &str| row.systems.iter().zip(&taken).find(|((system, _), _)| *system == name).map(|(_, taken)| taken);
    let _ = writeln!(report.text, "\n### {room}/{}\n\n| system | ns (least–greatest) | allocations |", row.name);
    let _ = writeln!(report.text, "|---|--:|--:|");
    for ((name, _), samples) in row.systems.iter().zip(&taken) {
        let _ =
            writeln!(report.text, "| {name} | {} | {:.2} |", spread(samples.iter().map(nanos)), allocations(samples));
    }
    for Target { ours, peer, at_most } in &row.targets {
        let (Some(us), Some(them)) = (column(ours), column(peer)) else { continue };
        let ratios: Vec<f64> = us.iter().zip(them).map(|(us, them)| nanos(us) / nanos(them)).collect();
        let met = median(&ratios) <= *at_most;
        let _ = writeln!(
            targets,
            "| {room}/{} | {ours} ÷ {peer} | ≤ {at_most} | {} | {} |",
            row.name,
            spread(ratios.into_iter()),
            verdict(met)
        );
    }
    for Bound { ours, ns_at_most } in &row.bounds {
        let Some(us) = column(ours) else { continue };
        let times: Vec<f64> = us.iter().map(nanos).collect();
        let met = median(&times) <= *ns_at_most;
        let _ = writeln!(
            targets,
            "| {room}/{} | {ours}, ns | ≤ {ns_at_most} | {} | {} |",
            row.name,
            spread(times.into_iter()),
            verdict(met)
        );
    }
    json!({
        "room": room,
        "row": row.name,
        "systems": row.systems.iter().zip(&taken).map(|((name, _), samples)| json!({
            "system": name,
            "ns": samples.iter().map(nanos).collect::<Vec<_>>(),
            "allocations": allocations(samples),
        })).collect::<Vec<_>>(),
    })
}

async fn settle(room: &str, race: &Race, report: &mut Report) -> serde_json::Value {
    let _ =
        writeln!(report.text, "\n### {room}/{} (a race; wanted: {})\n\n| system | outcome |", race.name, race.wanted);
    let _ = writeln!(report.text, "|---|---|");
    let mut outcomes = Vec::new();
    for (name, run) in &race.systems {
        let outcome = match tokio::spawn(run()).await.context("a bench must not panic") {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(error)) | Err(error) => format!("failed: {error:#}"),
        };
        report.failures += usize::from(*name == race.ours && outcome != race.wanted);
        let _ = writeln!(report.text, "| {name} | {outcome} |");
        outcomes.push(json!({ "system": name, "outcome": outcome }));
    }
    json!({ "room": room, "race": race.name, "wanted": race.wanted, "systems": outcomes })
}

const fn verdict(met: bool) -> &'static str {
    if met { "pass" } else { "**MISS**" }
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn nanos(sample: &Sample) -> f64 {
    sample.elapsed.as_secs_f64() * 1e9 / sample.operations.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
fn allocations(samples: &[Sample]) -> f64 {
    median(
        &samples.iter().map(|sample| sample.allocations as f64 / sample.operations.max(1) as f64).collect::<Vec<_>>(),
    )
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    let upper = sorted.get(middle).copied().unwrap_or(f64::NAN);
    if sorted.len() % 2 == 1 {
        upper
    } else {
        f64::midpoint(upper, sorted.get(middle.wrapping_sub(1)).copied().unwrap_or(upper))
    }
}

fn spread(values: impl Iterator<Item = f64>) -> String {
    let values: Vec<f64> = values.collect();
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let greatest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let digits = if least < 10.0 { 2 } else { 0 };
    format!("{:.digits$} ({least:.digits$}–{greatest:.digits$})", median(&values))
}
