//! One value that many callers want and one initialiser makes.
//!
//! Owns: who starts an initialisation, whose result counts, when a failed one may be tried again, and when a value is
//! cleaned up. Refuses: the value, the tasks, the wakers; they are the shell's.
//!
//! - V1: at most one initialisation or clean-up is under way, and every caller gets the result of the one it waits for.
//! - V2: a caller that leaves changes nothing for the others; a failure is not kept, unless a [`Backoff`] asks for it.
//! - A result is accepted only for the generation that is still wanted: one that was reset or closed while it was made
//!   is cleaned up and never seen.

mod config;
mod machine;
#[cfg(test)]
mod tests;

pub use config::{Backoff, Config};
pub use machine::{Close, Generation, Get, Next, Phase, Reset, Service, Stats, Verdict};
