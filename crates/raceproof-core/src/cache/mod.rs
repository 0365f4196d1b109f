//! What a cache may answer, who loads what is missing, and which loads still count when they end.
//!
//! Owns: the age of an entry, which entry is looked at next for its age, which keys are being loaded for whom, and what
//! is kept of a load. Refuses: values, storage, tasks; they are the shell's.
//!
//! - K1: one load of a key at a time. Who leads it may leave; the load goes on.
//! - K2: a key that is written or invalidated while it is loaded keeps nothing of that load. Whoever asked before may
//!   still be given its result; whoever asks afterwards waits for a load that began afterwards.

mod ages;
mod config;
mod flights;
#[cfg(test)]
mod tests;

pub use ages::Ages;
pub use config::{Config, Freshness, Keep, Loaded, Times};
pub use flights::{Ended, FlightId, Flights, Join, Limit};
