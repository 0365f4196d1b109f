//! Why not everything was started.

use raceproof_core::startup::{PlanError, Report};

/// Why [`Startup::start`](super::Startup::start) started nothing that stayed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The services cannot be put in an order. Nothing was started.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A service could not be started. What was started has been stopped.
    #[error("the startup failed: {0}")]
    Failed(Box<Report>),
    /// A shutdown came before everything was started. What was started has been stopped.
    #[error("a shutdown came before everything was started: {0}")]
    ShutDown(Box<Report>),
    /// The runtime was shut down meanwhile.
    #[error("the runtime of the services was shut down")]
    Aborted,
    /// There is no Tokio runtime to start them in.
    #[error("services have to be started from within a Tokio runtime")]
    NoRuntime,
}

impl StartError {
    /// What became of everything, if anything was started.
    #[must_use]
    pub fn report(&self) -> Option<&Report> {
        match self {
            Self::Failed(report) | Self::ShutDown(report) => Some(report),
            _ => None,
        }
    }
}
