//! What a guard tells its shell to do.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::{Cause, Ending};

/// The signals that a guard knows, without their numbers: those are the system's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "named as everywhere")]
pub enum Signal {
    Hup,
    Int,
    Quit,
    Usr1,
    Usr2,
    Term,
    Stop,
    Tstp,
    Cont,
    Winch,
}

impl Signal {
    /// Whether it asks a process to end.
    #[must_use]
    pub const fn ends(self) -> bool {
        matches!(self, Self::Hup | Self::Int | Self::Quit | Self::Term)
    }
}

/// Who gets a signal.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Reach {
    /// The command's process group.
    Group,
    /// The group, and everything below the command that left it.
    Tree,
}

/// What the shell has to do, in order.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Output {
    /// Start the command.
    Spawn,
    /// Send a signal.
    Send {
        /// To whom.
        to: Reach,
        /// Which.
        signal: Signal,
    },
    /// SIGKILL to everything below, then report what is left.
    Kill,
    /// Say it: to the wrapper, or to people if that is gone.
    Tell(Notice),
    /// End the session, then report whether that worked.
    EndSession,
    /// There is nothing left to guard.
    Quit,
}

/// What is worth telling.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Notice {
    /// The command was told to stop and is killed after `kill_in`.
    Stopping {
        /// Why.
        cause: Cause,
        /// How long it has.
        kill_in: Duration,
    },
    /// The command and everything below it gets SIGKILL.
    Killing {
        /// Why.
        cause: Cause,
    },
    /// The command and everything below it got SIGSTOP.
    Frozen {
        /// Why.
        cause: Cause,
    },
    /// The command got SIGUSR1 and goes on.
    Notified {
        /// Why.
        cause: Cause,
    },
    /// The command ended and left processes behind, which are told to stop.
    LeftBehind {
        /// How many.
        count: u32,
    },
    /// SIGKILL does not end them.
    Unkillable {
        /// How many.
        count: u32,
    },
    /// A signal that asks to end was passed on; the next one kills.
    PassedOn {
        /// Which.
        signal: Signal,
    },
    /// The command was stopped by job control.
    Paused,
    /// The command goes on.
    Continued,
    /// Everything below is gone.
    Ended(Ending),
    /// The session could not be ended; its lease runs out by itself.
    SessionLeft,
}
