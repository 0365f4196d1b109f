//! The processes around a command that runs under a lock.
//!
//! Three of them: the *wrapper* (`raceproof lock`, which holds the session and renews it), the *watchdog* (which is the
//! command's parent and outlives the wrapper), and the *stub* (which makes itself safe to leave alone and then becomes
//! the command). The wrapper and the watchdog talk over one socket pair; its end on either side is that side's death.
//!
//! Owns: processes, signals, the terminal. Refuses: decisions; `raceproof_core::guard` has those (L8, L9, L11).

pub(crate) mod clock;
mod ears;
pub(crate) mod link;
pub(crate) mod session;
pub(crate) mod signals;
pub(crate) mod stub;
pub(crate) mod terminal;
pub(crate) mod tree;
pub(crate) mod watchdog;
pub(crate) mod wrapper;

/// The hidden argument that makes this program a watchdog.
pub(crate) const WATCHDOG: &str = "__watchdog";
/// The hidden argument that makes this program the stub before a command.
pub(crate) const STUB: &str = "__exec";
/// This program, also after its file was replaced.
pub(crate) const SELF: &str = "/proc/self/exe";
