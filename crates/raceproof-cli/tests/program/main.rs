//! The program as people run it: real processes, a real server, real signals.
#![expect(clippy::indexing_slicing, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;

mod crashes;
mod docs;
mod elections;
mod exits;
mod looks;
mod serving;
mod turns;
