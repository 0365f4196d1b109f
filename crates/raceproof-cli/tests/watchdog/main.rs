//! The watchdog with real processes under it, and a wrapper that the test plays: it renews, falls silent, or dies.
#![expect(clippy::indexing_slicing, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;
mod dog;

mod ends;
mod leases;
mod trees;
