//! `cargo xtask`: set-up, the full test run, simulation and benches, with nothing but Rust and the system's package
//! manager to begin with.
//!
//! Owns: what is installed for the tests, the servers that they need, and which commands a check consists of. A
//! component that is missing fails the run in CI (`CI` is set); elsewhere it is said plainly and counted.

mod cargo;
mod components;
mod futures;
mod lint;
mod packages;
mod run;
mod servers;
mod suite;
mod targets;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::cargo::Cargo;
use crate::run::Run;

/// Set-up, the full test run, simulation and benches of Raceproof.
#[derive(Parser)]
#[command(bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Install what the tests need, start their servers, and run every test.
    Test(suite::Options),
    /// Run the simulator, in release: `cargo xtask sim --seeds 10000`.
    Sim {
        /// Passed to raceproof-sim as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Run the tests of shared state in every order that shuttle finds: `cargo xtask shuttle locks`.
    Shuttle {
        /// Passed to the test program as they are.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        args: Vec<String>,
    },
    /// Measure beside other systems: `cargo xtask bench locks`, `idle` over a server; `local`, `races`,
    /// `instructions` within one process.
    Bench {
        /// Passed to the bench program as they are: which bench, then its flags.
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        args: Vec<String>,
    },
    /// Build raceproof-core for WebAssembly, which proves that it needs no operating system.
    Wasm,
    /// Formatting, clippy, docs, futures and dependencies, each with warnings denied.
    Lint,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    let outcome = Run::begin().and_then(|run| match cli.command {
        Command::Test(options) => suite::test(&run, &options),
        Command::Sim { args } => Cargo::simulator(&args).run(&run),
        Command::Shuttle { args } => suite::shuttle(&run, &args).and_then(|count| suite::conclude(&run, count, &[])),
        Command::Bench { args } => Cargo::bench(&args).into_iter().try_for_each(|cargo| cargo.run(&run)),
        Command::Wasm => components::wasm_target(&run).and_then(|()| Cargo::wasm_core().run(&run)),
        Command::Lint => lint::lint(&run),
    });
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
