//! Background tasks with names: which of them runs, which waits, when one is started again, and when one is stopped.
//!
//! Owns: the overlap of tasks with one name, restarts with their pauses, stopping (asked first, by force when the time
//! is over), and the order of what happened.
//!
//! - T1: a task that panics has ended: its name is free, or its restart policy applies, and it is an [`Event`].
//! - T2: nothing outlives its scope: shutting down stops everything, and names what did not end in time.
//!
//! Refuses: futures, threads, the clock. The shell gives each input the time, does what [`Supervisor::poll_output`]
//! says until there is nothing left, and calls [`Supervisor::tick`] at [`Supervisor::next_deadline`].

mod config;
mod error;
mod run;
mod stop;
mod supervisor;

pub use config::{Backoff, Config, Restart, Spec};
pub use error::{Refused, RefusedBecause};
pub use run::{End, Event, EventKind, Outcome, RunId};
pub use supervisor::{Accepted, Counters, Output, Running, Submitted, Supervisor};

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
