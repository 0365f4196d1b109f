//! Proof of Raceproof: an independent checker of histories, and a deterministic simulator that produces them.
//!
//! [`world::run`] runs one seed; [`invariants`] judge it, and so does the [`checker`], which shares no code with the
//! core. [`mutation`] puts known bugs back, to prove that they would be noticed.

pub mod checker;
pub mod invariants;
pub mod mutation;
pub mod report;
pub mod runner;
pub mod world;

mod histories;
mod judge;

pub use judge::Violated;
