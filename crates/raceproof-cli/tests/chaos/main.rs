//! Eight `raceproof lock` processes increment a counter file without any other protection, while the server and they
//! themselves are killed and frozen at random: L1, L2, L5, L8, L9, L11.
//!
//! `CHAOS_SEED` repeats a run's choices; what real processes make of them differs from run to run.
#![expect(clippy::indexing_slicing, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod clients;
mod havoc;
mod increment;
mod resource;
mod runs;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    // The command under the lock is this same file.
    let mut args = std::env::args().skip(1);
    if args.next().as_deref() == Some(increment::ARGUMENT) {
        return increment::run(args);
    }
    let trials = vec![
        Trial::test("l9_a_resource_that_checks_tokens_takes_no_stale_write_and_loses_nothing", || {
            runs::a_resource_that_checks_tokens();
            Ok(())
        }),
        Trial::test("l9_a_resource_that_checks_no_tokens_is_spoilt_by_a_frozen_watchdog", || {
            runs::a_resource_that_checks_no_tokens();
            Ok(())
        }),
        Trial::test("l8_as_long_as_watchdogs_run_no_resource_needs_to_check", || {
            runs::watchdogs_alone();
            Ok(())
        }),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
