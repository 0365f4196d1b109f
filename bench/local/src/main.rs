//! Raceproof's rooms within one process, beside their peers: see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    raceproof_bench_local::main()
}
