//! How a guarded command ended, and the exit code that says so.

use serde::{Deserialize, Serialize};

use crate::wire::LostReason;

/// Exit codes of the program: one table for `--help`, the manual and the documents.
pub mod code {
    /// The operation failed.
    pub const FAILED: u8 = 1;
    /// The command line is wrong.
    pub const USAGE: u8 = 2;
    /// No server answers.
    pub const UNREACHABLE: u8 = 69;
    /// The lease was lost, or something went wrong inside.
    pub const LOST: u8 = 70;
    /// The lock was not got.
    pub const NOT_ACQUIRED: u8 = 75;
    /// The configuration is wrong.
    pub const CONFIG: u8 = 78;
    /// The command exists and cannot be executed.
    pub const NOT_EXECUTABLE: u8 = 126;
    /// There is no such command.
    pub const NOT_FOUND: u8 = 127;
    /// Added to the number of the signal that ended the command.
    pub const SIGNAL_BASE: u8 = 128;
}

/// How a process ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Exit {
    /// By itself, with this code.
    Code(u8),
    /// By this signal.
    Signal(u8),
}

/// Why a command ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Cause {
    /// By itself, or by a signal that its user sent.
    Command,
    /// Its user asked twice.
    Forced,
    /// The end of its lease came near and no renewal did.
    Lease,
    /// The lock was lost.
    Lost(LostReason),
    /// The process that renewed the lease is gone.
    Orphaned,
    /// The watchdog is gone.
    Unwatched,
}

/// The end of a command and of everything below it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Ending {
    /// How the command itself ended; none if it was never started.
    pub exit: Option<Exit>,
    /// Why.
    pub cause: Cause,
}

impl Ending {
    /// The exit code to pass on: the command's own, or 70 if the lease decided.
    #[must_use]
    pub const fn exit_code(&self) -> u8 {
        match (self.cause, self.exit) {
            (Cause::Command | Cause::Forced, Some(Exit::Code(code))) => code,
            (Cause::Command | Cause::Forced, Some(Exit::Signal(signal))) => code::SIGNAL_BASE.saturating_add(signal),
            _ => code::LOST,
        }
    }
}
