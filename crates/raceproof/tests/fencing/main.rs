//! The fencing sinks on the real thing: PostgreSQL, SQLite, Redis, files, processes that are stopped and killed, and a
//! service behind the HTTP layer. Each passes the kit; what the kit cannot see is tested beside it.
//!
//! `cargo xtask test` starts the servers and says where they are.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod file;
#[cfg(feature = "fence-http")]
mod http;
mod postgres;
mod redis;
mod sqlite;

use std::env;

/// Where a server is, or a word on why its test does not run.
fn server(variable: &str) -> Option<String> {
    match env::var(variable) {
        Ok(address) => Some(address),
        Err(_) if env::var_os("RACEPROOF_TEST_REQUIRE").is_some() => panic!("{variable} is not set"),
        Err(_) => {
            eprintln!("not run: {variable} is not set; `cargo xtask test` sets it");
            None
        }
    }
}
