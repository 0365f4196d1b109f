//! A handle of what was started.

use std::sync::Arc;

use raceproof_core::startup::{Outcome, Phase, Report, Startup as Machine, Status, StepId};
use tokio::sync::{mpsc, watch};

use super::StartError;

/// What the driver is told.
#[derive(Debug)]
pub(super) enum Input {
    Shutdown,
    GiveUp,
    /// A step was run to its end.
    Ended(StepId, Result<(), Arc<str>>),
    /// A step was dropped before its end.
    Dropped(StepId),
}

/// What can be seen from outside.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) struct View {
    phase: Phase,
    outcome: Outcome,
    pub(super) ready: bool,
    statuses: Arc<[Status]>,
    report: Report,
}

impl View {
    pub(super) fn of(machine: &Machine) -> Self {
        Self {
            phase: machine.phase(),
            outcome: machine.outcome(),
            ready: machine.is_ready(),
            statuses: machine.statuses().collect(),
            report: machine.report(),
        }
    }
}

/// Services that were started, or are about to be.
///
/// Clones are handles of the same services. Dropping them changes nothing: services run until a
/// [`shutdown`](Self::shutdown), or until their runtime is dropped.
#[derive(Clone, Debug)]
pub struct Running {
    inputs: mpsc::UnboundedSender<Input>,
    view: watch::Receiver<View>,
    ready: watch::Receiver<bool>,
}

impl Running {
    pub(super) const fn new(
        inputs: mpsc::UnboundedSender<Input>,
        view: watch::Receiver<View>,
        ready: watch::Receiver<bool>,
    ) -> Self {
        Self { inputs, view, ready }
    }

    /// Waits until everything was started.
    ///
    /// # Errors
    /// [`StartError::Failed`] if a service could not be started, once what was started has been stopped again;
    /// [`StartError::ShutDown`] if a shutdown came first; [`StartError::Aborted`] if the runtime went.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing.
    pub async fn started(&self) -> Result<(), StartError> {
        let mut view = self.view.clone();
        let ended = |view: &View| view.outcome == Outcome::Started || view.phase == Phase::Over;
        let Ok(view) = view.wait_for(ended).await else { return Err(StartError::Aborted) };
        let report = || Box::new(view.report.clone());
        match view.outcome {
            Outcome::Started => Ok(()),
            Outcome::Failed => Err(StartError::Failed(report())),
            Outcome::ShutDown => Err(StartError::ShutDown(report())),
            Outcome::Starting => Err(StartError::Aborted),
        }
    }

    /// Whether every service was started, is well, and none is on its way down.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.view.borrow().ready
    }

    /// Follows whether everything [is ready](Self::is_ready), for a readiness probe. It closes when all is over.
    #[must_use]
    pub fn ready(&self) -> watch::Receiver<bool> {
        self.ready.clone()
    }

    /// What all services are doing together.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let view = self.view.borrow();
        Stats { phase: view.phase, ready: view.ready, services: view.statuses.to_vec() }
    }

    /// Waits for the next change of any service.
    ///
    /// # Cancel safety
    /// Cancel safe. A change that comes while nobody waits is given by the next call on this handle.
    pub async fn changed(&mut self) -> Stats {
        // Closed: nothing changes any more.
        if self.view.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
        self.view.mark_unchanged();
        self.stats()
    }

    /// Stops everything: first all drain, then all stop, each service after those that depend on it. Starts that are
    /// under way may end first. The report names what is stuck.
    ///
    /// # Cancel safety
    /// Cancel safe: the shutdown goes on. A further call waits for the same one.
    pub async fn shutdown(&self) -> Report {
        self.order(Input::Shutdown);
        self.over().await
    }

    /// Ends a shutdown at once: what is running is dropped, and the report names what was not stopped.
    pub fn give_up(&self) {
        self.order(Input::GiveUp);
    }

    /// Waits until everything is stopped, by a shutdown or because a service could not be started. Begins no shutdown.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping it changes nothing.
    pub async fn over(&self) -> Report {
        let mut view = self.view.clone();
        match view.wait_for(|view| view.phase == Phase::Over).await {
            Ok(view) => view.report.clone(),
            // The runtime went first: this is how far it came.
            Err(_) => self.view.borrow().report.clone(),
        }
    }

    fn order(&self, input: Input) {
        // Nobody takes it when all is over, and then there is nothing to do.
        let _ = self.inputs.send(input);
    }
}

/// Shuts down if the startup is not waited for to its end.
pub(super) struct ShutdownOnDrop<'a> {
    running: Option<&'a Running>,
}

impl<'a> ShutdownOnDrop<'a> {
    pub(super) const fn new(running: &'a Running) -> Self {
        Self { running: Some(running) }
    }

    pub(super) fn disarm(mut self) {
        self.running = None;
    }
}

impl Drop for ShutdownOnDrop<'_> {
    fn drop(&mut self) {
        if let Some(running) = self.running {
            running.order(Input::Shutdown);
        }
    }
}

/// What all services are doing.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Where they are together.
    pub phase: Phase,
    /// Whether everything was started and is well.
    pub ready: bool,
    /// Each, in the order in which they were named.
    pub services: Vec<Status>,
}
