//! What a watchdog decides about the command that runs under a lock: when it is told to stop, when it is killed, when
//! the session ends, and which exit code follows.
//!
//! Owns: the order of those decisions. The command is stopped before the lease can end (L8), also when whoever renews
//! the lease is frozen or dead (L9); a session is ended only after everything below the command is gone, so that the
//! lock is never free before its holder is (L1, L11).
//!
//! Refuses: processes, signals, sockets, the clock. The shell tells [`Guard`] what happened and does what it says:
//! call [`Guard::poll_output`] until it is empty after every input, then wait until [`Guard::next_deadline`].

mod config;
mod ending;
mod machine;
mod output;

pub use config::{Config, OnLost};
pub use ending::{Cause, Ending, Exit, code};
pub use machine::Guard;
pub use output::{Notice, Output, Reach, Signal};

#[cfg(test)]
mod tests;
