//! Raceproof's rooms within one process, beside their peers: the same work, taking turns.
//!
//! `cargo xtask bench local --only lock` measures one room, `cargo xtask bench races` runs the races alone, and
//! `cargo xtask bench instructions` counts instructions instead of time. Nothing is written but the report; breakers of
//! Node are measured in processes of their own.

mod frame;
mod node;
mod rooms;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Parser;
use raceproof_bench_common::{host, report};
use serde_json::json;

use crate::frame::{Absent, Outcome, Room};
pub use crate::frame::{Counts, count_by};

#[derive(Debug, Parser)]
#[command(about = "Raceproof's rooms within one process, beside their peers")]
struct Cli {
    /// Only these rooms, or rows of them: `lock`, `lock/alone`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How often each row is measured; ratios are medians over them.
    #[arg(long, default_value_t = 9)]
    repeats: usize,
    /// Only the races.
    #[arg(long)]
    races: bool,
    /// Count instructions instead of time: one count for each row and system, under valgrind.
    #[arg(long, conflicts_with = "races")]
    instructions: bool,
    /// Write all measurements as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// What is counted: one row's work by one system, so often.
    #[arg(long, hide = true, num_args = 3, value_names = ["ROW", "SYSTEM", "TIMES"])]
    once: Option<Vec<String>>,
}

/// What the command line asks for.
pub fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    // Two threads, whatever the machine has.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    if let Some([row, system, times]) = cli.once.as_deref() {
        return runtime.block_on(once(row, system, times.parse()?));
    }
    if !frame::can_count() {
        eprintln!("allocations are not counted: `cargo build` the whole package for the program that does");
    }
    let rooms = wanted(cli);
    let (host, load) = (host::Host::look(), host::load_average());
    let outcome = runtime.block_on(async {
        if cli.instructions { frame::count_instructions(&rooms).await } else { frame::run(&rooms, cli.repeats).await }
    });
    let Outcome { book, verdicts, races } = &outcome;
    println!("load average at the start {load}; {host}");
    print!("{}{}", report::tables(book, |system| system.starts_with("raceproof")), report::targets(verdicts));
    print!("{}", frame::table(races));
    if let Some(path) = &cli.json {
        let mut json = report::json(&host, &load, book, verdicts);
        if let Some(fields) = json.as_object_mut() {
            fields.insert("races".into(), json!(races));
        }
        std::fs::write(path, format!("{json:#}\n")).with_context(|| format!("write {}", path.display()))?;
    }
    let failures = book.failures().count() + races.iter().filter(|race| !race.held).count();
    if failures > 0 {
        bail!("{failures} measurements or races failed");
    }
    Ok(())
}

/// The rooms, with what was asked for.
fn wanted(cli: &Cli) -> Vec<Room> {
    let wants = |room: &str, part: &str| {
        cli.only.is_empty() || cli.only.iter().any(|only| only == room || *only == format!("{room}/{part}"))
    };
    let mut rooms = rooms::all();
    for room in &mut rooms {
        room.rows.retain(|row| !cli.races && wants(room.name, row.name()));
        room.races.retain(|race| wants(room.name, race.name()));
    }
    rooms
}

/// Says what was done, for whoever counts.
async fn once(row: &str, system: &str, times: usize) -> Result<()> {
    let said = match frame::once(&rooms::all(), row, system, times).await {
        Ok(sample) if sample.elsewhere => json!({ "absent": "it works in a process of its own" }),
        Ok(sample) => json!({ "operations": sample.operations, "allocations": sample.allocations }),
        Err(error) if error.is::<Absent>() => json!({ "absent": error.to_string() }),
        Err(error) => return Err(error),
    };
    println!("{said}");
    Ok(())
}
