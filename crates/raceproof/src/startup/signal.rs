//! Shutting down when the process is told to end.

use raceproof_core::startup::Report;

use super::{Running, StartError, Startup};

/// Why [`Startup::run`] ended other than by a shutdown.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// Not everything was started.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The process cannot be told of signals.
    #[error("signals cannot be received: {0}")]
    Signal(#[from] std::io::Error),
}

impl Startup {
    /// Starts everything, and shuts it down at SIGINT or SIGTERM, also while it still starts. A second signal ends the
    /// wait for what is stuck.
    ///
    /// # Errors
    /// [`RunError`].
    ///
    /// # Cancel safety
    /// Cancel safe in that services go on without it; nobody shuts them down at a signal then.
    pub async fn run(self) -> Result<Report, RunError> {
        let mut signals = Signals::new()?;
        let running = self.launch()?;
        let report = running.until(&mut signals).await;
        match running.started().await {
            Err(StartError::ShutDown(_)) | Ok(()) => Ok(report),
            Err(error) => Err(error.into()),
        }
    }
}

impl Running {
    /// Waits for SIGINT or SIGTERM, then shuts everything down. A second signal ends the wait for what is stuck.
    /// Returns also when everything was stopped by another.
    ///
    /// # Errors
    /// If the process cannot be told of signals.
    ///
    /// # Cancel safety
    /// Cancel safe. Once it was called, the signals do not end the process by themselves any more, as is Tokio's way.
    pub async fn shutdown_on_signal(&self) -> std::io::Result<Report> {
        Ok(self.until(&mut Signals::new()?).await)
    }

    async fn until(&self, signals: &mut Signals) -> Report {
        tokio::select! {
            report = self.over() => return report,
            name = signals.next() => tracing::info!(signal = name, "shutting down"),
        }
        tokio::select! {
            report = self.shutdown() => report,
            name = signals.next() => {
                tracing::warn!(signal = name, "not waiting for the rest of the shutdown");
                self.give_up();
                self.over().await
            }
        }
    }
}

#[cfg(unix)]
struct Signals {
    interrupt: tokio::signal::unix::Signal,
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.interrupt.recv() => "SIGINT",
            _ = self.terminate.recv() => "SIGTERM",
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "as on Unix")]
    const fn new() -> std::io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) -> &'static str {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
        "Ctrl-C"
    }
}
