//! Runs many seeds on several threads, and says what came of them.

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::judge::Violated;
use crate::mutation::Mutation;
use crate::report::Report;
use crate::world::{Options, run};

/// What to run.
#[derive(Clone, Debug)]
pub struct Task {
    /// The first seed.
    pub from: u64,
    /// How many seeds at most.
    pub seeds: u64,
    /// How long at most.
    pub length: Option<Duration>,
    /// On how many threads.
    pub jobs: usize,
    /// What each run is like.
    pub options: Options,
}

/// What came of it.
#[derive(Debug)]
pub struct Summary {
    /// How many seeds were run.
    pub seeds: u64,
    /// How long it took.
    pub took: Duration,
    /// How many events there were.
    pub events: u64,
    /// Everything that happened.
    pub report: Report,
    /// The least seed that failed among those that were run, and what it violated.
    pub failed: Option<(u64, Violated)>,
}

#[derive(Debug, Default)]
struct Shared {
    events: u64,
    seeds: u64,
    report: Report,
    failed: Option<(u64, Violated)>,
}

/// Seeds are handed out in chunks of this many.
const CHUNK: u64 = 32;

/// Runs seeds until one fails, all are run, or the time is up.
#[must_use]
pub fn run_many(task: &Task) -> Summary {
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let stop = AtomicBool::new(false);
    let shared = Mutex::new(Shared::default());
    std::thread::scope(|scope| {
        for _ in 0..task.jobs.max(1) {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) && task.length.is_none_or(|length| began.elapsed() < length) {
                    let first = next.fetch_add(CHUNK, Ordering::Relaxed);
                    if first >= task.seeds {
                        break;
                    }
                    let done = run_chunk(task, first, (first + CHUNK).min(task.seeds));
                    if done.failed.is_some() {
                        stop.store(true, Ordering::Relaxed);
                    }
                    let mut shared = shared.lock().expect("no thread panics while it holds the lock");
                    shared.add(done);
                }
            });
        }
    });
    let shared = shared.into_inner().expect("no thread panicked while it held the lock");
    Summary {
        seeds: shared.seeds,
        took: began.elapsed(),
        events: shared.events,
        report: shared.report,
        failed: shared.failed,
    }
}

impl Shared {
    fn add(&mut self, other: Self) {
        self.events += other.events;
        self.seeds += other.seeds;
        self.report.add(&other.report);
        let failures = self.failed.take().into_iter().chain(other.failed);
        self.failed = failures.min_by_key(|(seed, _)| *seed);
    }
}

fn run_chunk(task: &Task, first: u64, end: u64) -> Shared {
    let mut done = Shared::default();
    for seed in first..end {
        let seed = task.from.wrapping_add(seed);
        let outcome = run(seed, task.options);
        done.seeds += 1;
        done.events += outcome.events;
        done.report.add(&outcome.report);
        if let Some(violated) = outcome.violated {
            done.failed = Some((seed, violated));
            break;
        }
    }
    done
}

/// Puts each known bug back in turn. Gives for each the seed that noticed it, or none.
#[must_use]
pub fn hunt(task: &Task, mutations: &[Mutation]) -> Vec<(Mutation, Summary)> {
    let with = |mutation: &Mutation| {
        let options = Options { mutation: Some(*mutation), ..task.options };
        (*mutation, run_many(&Task { options, ..task.clone() }))
    };
    mutations.iter().map(with).collect()
}
