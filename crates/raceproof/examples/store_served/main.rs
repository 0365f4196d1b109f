//! What is left on disk of ten million operations on a thousand names, and how long the next start takes to read it.
//!
//! ```text
//! cargo run --release -p raceproof --features store --example store_served [OPERATIONS] [NAMES] [DIRECTORY]
//! ```
//!
//! An operation is an acquire with its release. Fails if a limit is missed.

mod served;

use std::error::Error;
use std::path::Path;

use raceproof::store::LogOptions;

/// What a store may take after this, whatever it has served.
const BYTES_MAX: u64 = 64 << 20;
/// What opening it may take.
const OPEN_MS_MAX: u128 = 1_000;

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut args = std::env::args().skip(1);
    let operations = args.next().map_or(Ok(10_000_000), |text| text.parse())?;
    let names = args.next().map_or(Ok(1_000), |text| text.parse())?;
    let parent = args.next().unwrap_or_else(|| ".".to_owned());
    let dir = tempfile::Builder::new().prefix("raceproof-served-").tempdir_in(parent)?;

    let seen = served::serve(dir.path(), LogOptions::default(), names, operations)?;
    let rate = seen.released as f64 / seen.took.as_secs_f64();
    println!(
        "{} acquires, {} releases on {names} names in {:.1?} ({rate:.0} per second)",
        seen.acquired, seen.released, seen.took
    );
    println!("{} records, {} flushes, {} snapshots", seen.records, seen.flushes, seen.snapshots);
    println!("snapshot {}, log behind it {}", mib(seen.snapshot_bytes), mib(seen.log_bytes));
    println!("directory: {} at most, {} at the end", mib(seen.bytes_max), mib(served::bytes_in(dir.path())?));
    open_again(dir.path(), &seen)?;
    if seen.bytes_max >= BYTES_MAX {
        return Err(format!("more than {} on disk", mib(BYTES_MAX)).into());
    }
    Ok(())
}

fn open_again(dir: &Path, seen: &served::Served) -> Result<(), Box<dyn Error + Send + Sync>> {
    let opened = served::reopen(dir, LogOptions::default())?;
    println!(
        "opened in {:.0?}: {:.0?} to read and verify, the rest to replay {} records into {} sessions",
        opened.restored, opened.read, opened.records, opened.sessions
    );
    println!("last token before {}, first after {}", seen.token_last, opened.token);
    if opened.token <= seen.token_last || opened.restored.as_millis() >= OPEN_MS_MAX {
        return Err("the start took too long, or went back".into());
    }
    Ok(())
}

fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
