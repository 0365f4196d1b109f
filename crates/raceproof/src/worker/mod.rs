//! Workers that answer requests: a bounded mailbox, and a stated answer for every request, whatever happens to it. A
//! caller that finds it full is refused ([`Worker::call`]) or waits for room ([`Worker::call_patiently`]).
//!
//! Owns the handles; what is decided is decided by [`raceproof_core::worker`].
//!
//! - T1: a worker that panics fails the request in its hand, and goes on with those that wait.
//! - T2: nothing outlives its scope: the workers end with their last [`Worker`], and [`Worker::stop_within`] says what
//!   could not be finished.
//! - T3: a request whose caller has gone, or whose time is over, is not started and holds no place.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use raceproof::worker::Worker;
//!
//! let squares = Worker::builder("squares").spawn(|| |n: u64| async move { n * n })?;
//! assert_eq!(squares.call(7).await?, 49);
//! # Ok(()) }
//! ```

mod call;
mod error;
mod handle;
mod handler;
mod run;
mod shared;
mod stats;

pub use error::{CallError, SpawnError, StopError};
pub use handle::{Builder, Worker};
pub use handler::Handler;
pub use stats::Stats;

#[cfg(test)]
mod tests;
