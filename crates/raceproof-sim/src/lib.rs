//! Proof of Raceproof: an independent checker of histories, and a deterministic simulator that produces them.

pub mod checker;
