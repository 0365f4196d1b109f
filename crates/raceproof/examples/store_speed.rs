//! What a commit costs: the log store and the redb store beside a bare fdatasync, in one run.
//!
//! ```text
//! cargo run --release -p raceproof --features store --example store_speed [DIRECTORY]
//! ```
//!
//! The directory, by default the current one, must be on a real disk. A repeat measures every row once, beginning
//! with another one each time, so that whatever else the machine does meets all alike. Figures are medians over the
//! repeats; a ratio is taken within each repeat and then the median of these.

use std::error::Error;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use raceproof::store::{LogOptions, LogStore, RedbStore, Storage};

type Failure = Box<dyn Error + Send + Sync>;

const REPEATS: usize = 9;
const COMMITS: usize = 300;
/// About what a grant takes.
const RECORD: [u8; 100] = [7; 100];
const PROBE_BYTES: usize = 512;

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
    /// The median of each repeat.
    medians: Vec<Duration>,
}

fn main() -> Result<(), Failure> {
    let parent = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let dir = tempfile::Builder::new().prefix("raceproof-speed-").tempdir_in(parent)?;
    let mut rows = rows(dir.path())?;
    for repeat in 0..REPEATS {
        let count = rows.len();
        for turn in 0..count {
            let Some(row) = rows.get_mut((turn + repeat) % count) else { continue };
            let median = row.subject.measure(row.records)?;
            row.medians.push(median);
        }
    }
    print(&rows);
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
    let row = |name, records, subject| Row { name, records, subject, medians: Vec::new() };
    Ok(vec![
        row("fdatasync, file written before", 1, Subject::written(&dir.join("written"))?),
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

    /// The median of `COMMITS` commits of so many records.
    fn measure(&mut self, records: usize) -> Result<Duration, Failure> {
        let mut taken = Vec::with_capacity(COMMITS);
        for _ in 0..COMMITS {
            self.keep_house()?;
            let start = Instant::now();
            self.commit(records)?;
            taken.push(start.elapsed());
        }
        Ok(median(&mut taken).unwrap_or_default())
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

fn print(rows: &[Row]) {
    let Some(floor) = rows.first() else { return };
    println!("{:<32} {:>7} {:>12} {:>12} {:>8}", "commit", "records", "p50", "records/s", "ratio");
    for row in rows {
        let p50 = median(&mut row.medians.clone()).unwrap_or_default();
        let rate = row.records as f64 / p50.as_secs_f64();
        let mut ratios: Vec<_> = row
            .medians
            .iter()
            .zip(&floor.medians)
            .map(|(own, floor)| own.as_secs_f64() / floor.as_secs_f64())
            .collect();
        ratios.sort_by(f64::total_cmp);
        let ratio = ratios.get(ratios.len() / 2).copied().unwrap_or_default();
        let micros = p50.as_secs_f64() * 1e6;
        println!("{:<32} {:>7} {micros:>9.0} µs {rate:>12.0} {ratio:>8.2}", row.name, row.records);
    }
    println!(
        "ratio: to the first row, of the same repeat; {REPEATS} repeats of {COMMITS} commits, records of 100 bytes"
    );
}

fn median<T: Ord + Copy>(values: &mut [T]) -> Option<T> {
    values.sort_unstable();
    values.get(values.len() / 2).copied()
}
