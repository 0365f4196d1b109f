//! The decisions of Raceproof, without I/O.
pub mod id;
pub mod time;
pub mod wire;
