//! Background tasks with names: one of each unless you say otherwise, started again if you ask for it, and none left
//! when their [`Supervisor`] is gone.
//!
//! Owns the handles; what is decided is decided by [`raceproof_core::task`].
//!
//! - T1: a task that panics has ended: its name is free or its restart policy applies, and it is an [`Event`].
//! - T2: nothing outlives its scope: [`Supervisor::shutdown`] asks, stops by force at the deadline, and names what did
//!   not end; dropping the supervisor stops everything.
//!
//! Refuses: blocking code. A task can only be stopped where it awaits; one that never does is named as stuck.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use std::time::Duration;
//! use raceproof::task::{Overlap, Supervisor};
//!
//! let supervisor = Supervisor::new();
//! let sync = supervisor.task("sync").overlap(Overlap::QueueOne).spawn(|cancel| async move {
//!     // … work, until it is done or `cancel.cancelled().await` returns.
//!     # let _ = cancel;
//! })?;
//! println!("{:?}", sync.outcome().await);
//! assert!(supervisor.shutdown(Duration::from_secs(5)).await.is_clean());
//! # Ok(()) }
//! ```

mod body;
mod error;
mod handle;
mod macros;
mod shared;
mod stats;
mod submit;
mod supervisor;
mod token;

pub use body::Finish;
pub use error::SpawnError;
pub use handle::TaskHandle;
pub use raceproof_core::overlap::Overlap;
pub use raceproof_core::task::{Accepted, Event, EventKind, Outcome, Restart, RunId};
pub use stats::{RunningTask, ShutdownReport, Stats};
pub use submit::Submit;
pub use supervisor::{Builder, Supervisor};
pub use token::CancelToken;

pub use crate::background_task;

#[cfg(test)]
mod tests;
