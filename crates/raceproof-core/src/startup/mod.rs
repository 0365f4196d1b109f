//! Services that depend on each other: in which order they start, what a failure stops, and the way back.
//!
//! Owns: the graph, the state of each service, retries, time limits, health, and who is named as failed, blocked or
//! stuck. Refuses: the code that starts and stops them; the shell runs what [`Output::Run`] names and reports with
//! [`Startup::done`].
//!
//! - V4: a service starts when everything it depends on was started, at the same time as whatever it does not depend on.
//!   A failure begins no further start and stops what was started, each after its dependents. All are ready while every
//!   one was started and its checks succeed.
//! - Y4: the way back has phases with deadlines, and names what is stuck. A service that is stuck does not keep those
//!   below it from being stopped.
//! - A duplicate, an unknown dependency and a cycle are refused before anything starts.

mod config;
mod error;
mod graph;
mod health;
mod left;
mod machine;
mod report;
#[cfg(test)]
mod tests;

pub use config::{Check, Config, Spec};
pub use error::PlanError;
pub use machine::{Output, Startup, StepId, UnitId, What};
pub use report::{Fault, Outcome, Phase, Report, State, Status};
