//! Starting services that depend on each other, and stopping them again.
//!
//! Owns: the tasks that start, check, drain and stop, and whoever follows them. Decides nothing: see
//! [`raceproof_core::startup`].
//!
//! - V4: a service starts when everything it depends on was started, at the same time as whatever it does not depend
//!   on. A failure begins no further start, and stops what was started, each service after its dependents. All are ready
//!   while every one was started and its checks succeed.
//! - Y4: a shutdown goes the same way back, in phases with deadlines, and names what is stuck.

mod driver;
mod error;
mod running;
#[cfg(feature = "signal")]
mod signal;
#[cfg(test)]
mod tests;
mod unit;

use std::time::Duration;

pub use error::StartError;
pub use raceproof_core::startup::{Fault, Phase, PlanError, Report, State, Status};
pub use running::{Running, Stats};
#[cfg(feature = "signal")]
pub use signal::RunError;
pub use unit::Unit;

use self::driver::Driver;
use crate::rt::Runtime;

/// A set of services to start.
///
/// ```
/// use raceproof::startup::{Startup, Unit};
///
/// # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), raceproof::startup::StartError> {
/// let app = Startup::new()
///     .unit(Unit::new("http", || async { Ok::<_, std::io::Error>(()) }).after(["database"]))
///     .unit(Unit::new("database", || async { Ok::<_, std::io::Error>(()) }))
///     .start()
///     .await?;
/// assert!(app.is_ready());
/// let report = app.shutdown().await;
/// assert_eq!(report.to_string(), "stopped: http, database");
/// # Ok(()) }
/// ```
#[derive(Debug, Default)]
#[must_use]
pub struct Startup {
    units: Vec<Unit>,
    config: raceproof_core::startup::Config,
}

impl Startup {
    /// No services.
    pub fn new() -> Self {
        Self::default()
    }

    /// One more service. The order in which they are named means nothing.
    pub fn unit(mut self, unit: Unit) -> Self {
        self.units.push(unit);
        self
    }

    /// How long the first phase of a shutdown may take, in which starts that are under way end and services drain.
    /// Default: 10 s.
    pub const fn drain_timeout(mut self, limit: Duration) -> Self {
        self.config.drain_timeout = limit;
        self
    }

    /// How long the second phase may take, in which services stop. Default: 30 s.
    pub const fn stop_timeout(mut self, limit: Duration) -> Self {
        self.config.stop_timeout = limit;
        self
    }

    /// Begins to start everything, in tasks of its own, and does not wait.
    ///
    /// # Errors
    /// [`StartError::Plan`] if two services have one name, one depends on what is not there, or some depend on each
    /// other in a circle: nothing is started then. [`StartError::NoRuntime`] outside of a Tokio runtime.
    pub fn launch(self) -> Result<Running, StartError> {
        let runtime = Runtime::current().ok_or(StartError::NoRuntime)?;
        let Self { units, config } = self;
        let (driver, running) = Driver::new(runtime.clone(), units, config)?;
        runtime.spawn(driver.run());
        Ok(running)
    }

    /// Starts everything, and waits until it has.
    ///
    /// # Errors
    /// As [`launch`](Self::launch), and [`StartError::Failed`] if a service could not be started; whatever was started
    /// has been stopped again by then.
    ///
    /// # Cancel safety
    /// If the future is dropped before everything was started, what was started is shut down in the background.
    pub async fn start(self) -> Result<Running, StartError> {
        let running = self.launch()?;
        let guard = running::ShutdownOnDrop::new(&running);
        running.started().await?;
        guard.disarm();
        Ok(running)
    }
}
