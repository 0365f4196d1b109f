//! The owner of tasks.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use raceproof_core::task::{Backoff, Config, Event, Supervisor as Machine};

use super::shared::Shared;
use super::stats::{RunningTask, ShutdownReport, Stats};
use super::submit::Submit;
use crate::events::{Policy, SubscribeError, Subscriber};
use crate::waiting::until;

/// How long a task that is stopped by force may take to reach its next `.await` before it is called stuck.
const LAST_WAIT: Duration = Duration::from_millis(100);

/// Owns background tasks, by name.
///
/// Clones are the same supervisor. When the last one is dropped, every task is stopped at its next `.await`, and none
/// is started (T2). A task that holds a clone therefore keeps its supervisor alive: hand it what it needs instead.
#[derive(Clone)]
pub struct Supervisor {
    owner: Arc<Owner>,
}

struct Owner {
    shared: Arc<Shared>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.shared.end();
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").field("stats", &self.stats()).finish()
    }
}

impl Default for Supervisor {
    fn default() -> Self {
        Self::new()
    }
}

impl Supervisor {
    /// A supervisor without tasks.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// A supervisor with limits of its own.
    #[must_use]
    pub fn builder() -> Builder {
        Builder { config: Config::default(), backoff: Backoff::default() }
    }

    fn shared(&self) -> &Arc<Shared> {
        &self.owner.shared
    }

    /// Begins a task.
    pub fn task(&self, name: impl Into<Arc<str>>) -> Submit {
        Submit::new(Arc::clone(self.shared()), name.into())
    }

    /// Stops all tasks of a name; those that wait never start. How many there were.
    pub fn cancel(&self, name: &str) -> usize {
        self.shared().input(|machine, now| machine.cancel_all(now, name))
    }

    /// Watches all tasks from here on. A watcher that is more than 1,024 events behind loses the oldest and is given a
    /// gap; it slows no task.
    ///
    /// # Errors
    /// If there are too many watchers.
    pub fn events(&self) -> Result<Subscriber<Event>, SubscribeError> {
        self.shared().events.subscribe("watcher").policy(Policy::DropOldest).receiver()
    }

    /// Takes no more tasks, asks all to stop, stops by force what has not ended `within` this time, and says which tasks
    /// those were (T2).
    ///
    /// # Cancel safety
    /// The shutdown goes on if the future is dropped, until its deadline. Call it again to hear how it ended.
    pub async fn shutdown(&self, within: Duration) -> ShutdownReport {
        let shared = self.shared();
        shared.input(|machine, now| machine.shutdown(now, now + within));
        if shared.clock.timeout(within, self.idle()).await.is_none() {
            // Whoever comes first stops them: this or the clock of the supervisor.
            shared.input(Machine::tick);
            // Who reaches no `.await` by then is named; there is nothing more to do about it.
            let _ = shared.clock.timeout(LAST_WAIT, self.idle()).await;
        }
        let stuck = self.running();
        if !stuck.is_empty() {
            tracing::error!(tasks = ?stuck, "tasks did not end when they were stopped by force");
        }
        let forced = shared.look(|machine| machine.forced().map(str::to_owned).collect::<Vec<_>>());
        ShutdownReport { aborted: forced.into_iter().filter(|name| !stuck.contains(name)).collect(), stuck }
    }

    /// Waits until no task runs, waits or pauses.
    ///
    /// # Cancel safety
    /// Nothing changes if the future is dropped.
    pub async fn idle(&self) {
        let shared = self.shared();
        until(&shared.idle, || shared.look(Machine::is_idle)).await;
    }

    fn running(&self) -> Vec<String> {
        self.shared().look(|machine| machine.running().map(|running| running.name.to_string()).collect())
    }

    /// The supervisor at this moment.
    #[must_use]
    pub fn stats(&self) -> Stats {
        let now = self.shared().clock.now();
        self.shared().look(|machine| {
            let counters = machine.counters();
            let running = machine.running().map(|running| RunningTask {
                name: running.name.to_string(),
                running_for: now - running.since,
                stopping: running.stopping,
            });
            Stats {
                running: running.collect(),
                queued: machine.queued(),
                pausing: machine.pausing(),
                started: counters.started,
                failed: counters.failed,
                panicked: counters.panicked,
                aborted: counters.aborted,
                refused: counters.refused,
                coalesced: counters.coalesced,
            }
        })
    }
}

/// The limits of a supervisor, and how its tasks restart unless they say otherwise.
#[derive(Clone, Debug)]
pub struct Builder {
    config: Config,
    backoff: Backoff,
}

impl Builder {
    /// How many tasks there may be, those that wait included. Default 1,024.
    #[must_use]
    pub const fn tasks_max(mut self, max: usize) -> Self {
        self.config.tasks_max = max;
        self
    }

    /// How many tasks of one name may wait. Default 64.
    #[must_use]
    pub const fn queue_max(mut self, max: usize) -> Self {
        self.config.queue_max = max;
        self
    }

    /// How long a task that is cancelled or replaced may take to end before it is stopped by force. Default 5 s.
    #[must_use]
    pub const fn grace(mut self, grace: Duration) -> Self {
        self.config.grace = grace;
        self
    }

    /// [`Submit::backoff`] of every task that does not say it. Default 100 ms and 30 s.
    #[must_use]
    pub const fn backoff(mut self, first: Duration, cap: Duration) -> Self {
        self.backoff.first = first;
        self.backoff.cap = cap;
        self
    }

    /// [`Submit::restarts_max`] of every task that does not say it. Default 10.
    #[must_use]
    pub const fn restarts_max(mut self, restarts: u32) -> Self {
        self.backoff.restarts_max = restarts;
        self
    }

    /// [`Submit::healthy_after`] of every task that does not say it. Default 60 s.
    #[must_use]
    pub const fn healthy_after(mut self, ran: Duration) -> Self {
        self.backoff.healthy_after = ran;
        self
    }

    /// The supervisor.
    #[must_use]
    pub fn build(self) -> Supervisor {
        Supervisor { owner: Arc::new(Owner { shared: Arc::new(Shared::new(self.config, self.backoff)) }) }
    }
}
