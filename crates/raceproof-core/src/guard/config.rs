//! How much time a command gets to stop, and what is done to it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// What is done to the command when its lease is lost or about to end.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnLost {
    /// SIGTERM, the grace, SIGKILL.
    #[default]
    Term,
    /// SIGKILL, as late as is safe.
    Kill,
    /// SIGSTOP, as late as is safe: an operator decides.
    Stop,
    /// SIGUSR1, and it is left running: only a resource that checks tokens is safe then.
    Notify,
}

/// What a [`Guard`](super::Guard) is told at the start.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Config {
    /// The session's lease.
    pub ttl: Duration,
    /// How long the command may take to stop after SIGTERM, where the lease allows it.
    pub grace: Duration,
    /// What is done when the lease is lost.
    pub on_lost: OnLost,
}

impl Config {
    /// How long before the end of the lease SIGTERM is sent: the grace, but at most a quarter of the lease: a client
    /// leaves a connection that fell silent when two thirds are over, and has to come back on another one before that.
    #[must_use]
    pub fn stop_budget(&self) -> Duration {
        self.grace.min(self.ttl / 4).max(self.kill_margin())
    }

    /// How long before the end of the lease SIGKILL is sent: a twentieth of the lease, 10 ms to 500 ms. It covers the
    /// time in which the watchdog is woken up and the kernel takes the processes down.
    #[must_use]
    pub fn kill_margin(&self) -> Duration {
        (self.ttl / 20).clamp(Duration::from_millis(10), Duration::from_millis(500))
    }
}
