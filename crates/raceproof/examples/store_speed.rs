//! What a commit costs: the log store and the redb store beside a bare fdatasync, in one run.
//!
//! ```text
//! cargo run --release -p raceproof --features store --example store_speed [DIRECTORY]
//! ```
//!
//! The directory, by default the current one, must be on a real disk. The rows take turns, one commit each, beginning
//! with another row each time, so that whatever else the machine does meets all alike. Figures are medians, ratios
//! those of medians.

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use raceproof::store::{LogOptions, LogStore, RedbStore, Storage};

type Failure = Box<dyn Error + Send + Sync>;

const COMMITS: usize = 3_000;
/// About what a grant takes.
const RECORD: [u8; 100] = [7; 100];
const PROBE_BYTES: usize = 512;
const FLOOR: &str = "fdatasync, file written before";

/// Something that can make records durable.
enum Subject {
    /// fdatasync after writing to the end of a file.
    Growing {
        file: File,
        at: u64,
    },
    /// fdatasync after writing within a file whose blocks exist.
    Written {
        file: File,
        at: u64,
        bytes: u64,
    },
    Store(Box<dyn Storage>),
}

struct Row {
    name: &'static str,
    records: usize,
    subject: Subject,
    taken: Vec<Duration>,
}

fn main() -> Result<(), Failure> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let dir = tempfile::Builder::new().prefix("raceproof-speed-").tempdir_in(parent)?;
    let mut rows = rows(dir.path())?;
    for _ in 0..COMMITS {
        for row in &mut rows {
            row.subject.keep_house()?;
            let start = Instant::now();
            row.subject.commit(row.records)?;
            row.taken.push(start.elapsed());
        }
        rows.rotate_left(1);
    }
    print(rows);
    Ok(())
}

fn rows(dir: &Path) -> Result<Vec<Row>, Failure> {
    let log = || -> Result<Subject, Failure> {
        let mut store = LogStore::open(&tempfile::tempdir_in(dir)?.keep(), LogOptions::default())?;
        store.load()?;
        Ok(Subject::Store(Box::new(store)))
    };
    let redb = || -> Result<Subject, Failure> {
        let mut store = RedbStore::open(&tempfile::tempdir_in(dir)?.keep())?;
        store.load()?;
        Ok(Subject::Store(Box::new(store)))
    };
    let row = |name, records, subject| Row { name, records, subject, taken: Vec::new() };
    Ok(vec![
        row(FLOOR, 1, Subject::written(&dir.join("written"))?),
        row("fdatasync, growing file", 1, Subject::Growing { file: File::create(dir.join("growing"))?, at: 0 }),
        row("log", 1, log()?),
        row("redb", 1, redb()?),
        row("log", 64, log()?),
        row("redb", 64, redb()?),
    ])
}

impl Subject {
    fn written(path: &Path) -> Result<Self, Failure> {
        let file = File::create(path)?;
        let bytes = 4 << 20;
        file.write_all_at(&vec![0; bytes], 0)?;
        file.sync_all()?;
        Ok(Self::Written { file, at: 0, bytes: bytes as u64 })
    }

    fn commit(&mut self, records: usize) -> Result<(), Failure> {
        match self {
            Self::Growing { file, at } => {
                file.write_all_at(&[1; PROBE_BYTES], *at)?;
                *at += PROBE_BYTES as u64;
                file.sync_data()?;
            }
            Self::Written { file, at, bytes } => {
                file.write_all_at(&[1; PROBE_BYTES], *at)?;
                *at = (*at + PROBE_BYTES as u64) % *bytes;
                file.sync_data()?;
            }
            Self::Store(store) => {
                for _ in 0..records {
                    store.append(store.stats().last_lsn.next(), &RECORD)?;
                }
                store.flush()?;
            }
        }
        Ok(())
    }

    /// What the writer's other thread does in a server, so it is not timed.
    fn keep_house(&mut self) -> Result<(), Failure> {
        if let Self::Store(store) = self {
            if store.stats().snapshot_wanted {
                store.install_snapshot(store.stats().last_lsn, &[9; 100_000])?;
            }
            while let Some(job) = store.take_job() {
                job.run()?;
            }
        }
        Ok(())
    }
}

fn print(mut rows: Vec<Row>) {
    rows.sort_by_key(|row| (row.records, row.name != FLOOR, row.name));
    let mut floor = None;
    println!("{:<32} {:>7} {:>12} {:>12} {:>12} {:>8}", "commit", "records", "p50", "p90", "records/s", "ratio");
    for Row { name, records, mut taken, .. } in rows {
        taken.sort_unstable();
        let at = |share: usize| taken.get(taken.len() * share / 100).map_or(0.0, Duration::as_secs_f64);
        let (p50, p90) = (at(50), at(90));
        let ratio = p50 / *floor.get_or_insert(p50);
        let rate = records as f64 / p50;
        println!("{name:<32} {records:>7} {:>9.0} µs {:>9.0} µs {rate:>12.0} {ratio:>8.2}", p50 * 1e6, p90 * 1e6);
    }
    println!("ratio: to the first row; {COMMITS} commits each, in turns; records of 100 bytes");
}
