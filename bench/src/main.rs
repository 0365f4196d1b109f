//! Raceproof beside its peers: one driver, the same closed loop for every system.
//!
//! Servers are started on free loopback ports with their data on one disk, and stopped whatever happens: by drop, by
//! Ctrl-C, and by a parent-death signal should this process be killed.

mod kind;
mod machine;
mod own;
mod plan;
mod process;
mod rows;
mod server;
mod systems;
mod targets;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::{Args, Parser, Subcommand};
use raceproof_bench_common::book::Book;
use raceproof_bench_common::{host, report};
use rustix::process::{Resource, Rlimit};

use crate::kind::{Family, Kind};
use crate::machine::Machine;
use crate::plan::Plan;
use crate::server::Site;

#[derive(Debug, Parser)]
#[command(about = "Raceproof beside its peers")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Locks over a server, beside etcd, Redis, PostgreSQL and ZooKeeper.
    Locks(Locks),
    /// Idle sessions with one lock each: what they cost Raceproof's server.
    Idle(Idle),
    /// A holder to be killed; started by the row `kill`.
    #[command(hide = true)]
    Hold(rows::kill::Holder),
}

#[derive(Debug, Args)]
struct Place {
    /// The program `raceproof`; built in release if it is not named.
    #[arg(long)]
    raceproof: Option<PathBuf>,
    /// Where the servers keep their data; a directory of its own below this is made and removed.
    #[arg(long, default_value_os_t = std::env::temp_dir())]
    data: PathBuf,
    /// Write all measurements as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Locks {
    #[command(flatten)]
    place: Place,
    #[arg(long, value_delimiter = ',', default_values_t = Kind::DEFAULT)]
    systems: Vec<Kind>,
    /// Only these rows: probe, private, hot, handover, kill, expiry, startup, fanout, keepalive, memory; `hot@16` for
    /// one number of clients.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Repeats of the rows that wait for leases or set up a thousand sessions.
    #[arg(long, default_value_t = 3)]
    slow_repeats: usize,
    /// How long one measurement of a closed loop takes.
    #[arg(long, default_value_t = 800)]
    duration_ms: u64,
    /// Cycles of the row `memory`.
    #[arg(long, default_value_t = 100_000)]
    cycles: usize,
}

#[derive(Debug, Args)]
struct Idle {
    #[command(flatten)]
    place: Place,
    #[arg(long, default_value_t = 20_000)]
    sessions: usize,
    #[arg(long, default_value_t = 10)]
    ttl_s: u64,
    #[arg(long, default_value_t = 30)]
    window_s: u64,
    #[arg(long, default_value = "reclaim")]
    system: Kind,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    raise_file_limit();
    // Two threads for the clients of every system, whatever the machine has.
    let runtime = match tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    let result = runtime.block_on(async {
        let interrupted = async {
            let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
            tokio::select! {
                signal = tokio::signal::ctrl_c() => signal,
                _ = terminate.recv() => Ok(()),
            }
        };
        tokio::select! {
            result = run(cli.command) => result,
            signal = interrupted => {
                signal?;
                bail!("interrupted; the servers are stopped")
            }
        }
    });
    runtime.shutdown_background();
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("error: {error:#}");
    ExitCode::FAILURE
}

async fn run(command: Command) -> Result<()> {
    match command {
        Command::Hold(holder) => rows::kill::hold(holder).await,
        Command::Locks(locks) => {
            let Locks { place, systems, only, repeats, slow_repeats, duration_ms, cycles } = locks;
            let ours = systems.iter().any(|kind| kind.family() == Family::Raceproof);
            measure(&place, ours, async |site, book| {
                let duration = Duration::from_millis(duration_ms);
                Plan { site, systems, repeats, slow_repeats, duration, cycles, only }.run(book).await;
            })
            .await
        }
        Command::Idle(idle) => {
            let Idle { place, sessions, ttl_s, window_s, system } = idle;
            measure(&place, true, async |site, book| {
                let (ttl, window) = (Duration::from_secs(ttl_s), Duration::from_secs(window_s));
                let result = rows::idle::measure(system, &site, sessions, ttl, window).await;
                book.record("idle", system.name(), 0, result);
            })
            .await
        }
    }
}

/// Measures within a directory that goes afterwards, and reports.
async fn measure(place: &Place, ours: bool, body: impl AsyncFnOnce(Site, &mut Book)) -> Result<()> {
    let dir = tempfile::Builder::new().prefix("raceproof-bench-").tempdir_in(&place.data)?;
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
    std::fs::set_permissions(dir.path(), mode)?;
    let raceproof = match &place.raceproof {
        // Servers are started in directories of their own.
        Some(program) => {
            program.canonicalize().with_context(|| format!("the program to measure: {}", program.display()))?
        }
        None if ours => own::build()?,
        None => PathBuf::new(),
    };
    let site = Site { data: dir.path().to_owned(), raceproof };
    let machine = Machine::look(&site);
    let load = host::load_average();
    if machine.is_in_memory() {
        eprintln!("{} is kept in memory: a sync reaches no disk there; choose --data", place.data.display());
    }
    let mut book = Book::default();
    body(site, &mut book).await;
    let verdicts = targets::verdicts(&book);
    print!("load average at the start {load}; {machine}");
    print!("{}{}", report::tables(&book, is_ours), report::targets(&verdicts));
    if let Some(path) = &place.json {
        let json = report::json(&machine, &load, &book, &verdicts);
        std::fs::write(path, format!("{json:#}\n")).with_context(|| format!("write {}", path.display()))?;
    }
    let failures = book.failures().count();
    if failures > 0 {
        bail!("{failures} measurements failed");
    }
    Ok(())
}

fn is_ours(system: &str) -> bool {
    matches!(system, "durable" | "reclaim" | "raceproof")
}

/// Servers inherit the limit; 20,000 sessions need more than the usual one.
fn raise_file_limit() {
    let limit = rustix::process::getrlimit(Resource::Nofile);
    let wanted = 100_000;
    let beyond = Rlimit { current: Some(wanted), maximum: limit.maximum.map(|maximum| maximum.max(wanted)) };
    // Only root may go beyond the hard limit.
    if rustix::process::setrlimit(Resource::Nofile, beyond).is_err() {
        let _ = rustix::process::setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}
