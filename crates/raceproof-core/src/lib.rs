//! The decisions of Raceproof, without I/O.
pub mod guard;
pub mod id;
pub mod time;
pub mod wire;
