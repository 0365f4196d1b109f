//! Raceproof's rooms within one process, beside their peers: the same work, taking turns.
//!
//! `cargo xtask bench local --only lock` measures one room. Nothing is started and nothing is written but the report.

mod frame;
mod rooms;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

#[derive(Debug, Parser)]
#[command(about = "Raceproof's rooms within one process, beside their peers")]
struct Cli {
    /// Only these rooms, or rows of them: `lock`, `lock/alone`.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    /// How often each row is measured; ratios are medians over them.
    #[arg(long, default_value_t = 9)]
    repeats: usize,
    /// Write all measurements as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let wanted = |room: &str, part: &str| {
        cli.only.is_empty() || cli.only.iter().any(|only| only == room || *only == format!("{room}/{part}"))
    };
    let mut rooms = rooms::all();
    for room in &mut rooms {
        room.rows.retain(|row| wanted(room.name, row.name()));
        room.races.retain(|race| wanted(room.name, race.name()));
    }
    // Two threads, whatever the machine has.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("error: no runtime: {error}");
            return ExitCode::FAILURE;
        }
    };
    let report = runtime.block_on(frame::run(rooms, cli.repeats));
    print!("{}", report.text);
    if let Some(path) = &cli.json
        && let Err(error) = std::fs::write(path, format!("{:#}\n", report.json))
    {
        eprintln!("error: write {}: {error}", path.display());
        return ExitCode::FAILURE;
    }
    if report.failures > 0 {
        eprintln!("error: {} measurements or races failed", report.failures);
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
