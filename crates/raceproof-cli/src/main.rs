//! The program `raceproof`: a server, commands that run under its locks, and ways to look at it.
//!
//! Owns: the command line, settings, messages, and the processes around a guarded command. Refuses: decisions; those
//! are the core's.

mod args;
mod commands;
mod config;
mod failure;
mod http;
mod say;
mod supervise;
mod version;

use std::process::ExitCode;

fn main() -> ExitCode {
    // The helpers of `lock` come before everything else: they are started often and must be quick.
    let mut args = std::env::args_os().skip(1);
    match args.next() {
        Some(first) if first == supervise::WATCHDOG => supervise::watchdog::run(args.collect()),
        Some(first) if first == supervise::STUB => supervise::stub::run(args),
        _ => commands::run(),
    }
}
