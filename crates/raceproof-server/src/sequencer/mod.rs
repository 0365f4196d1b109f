//! The hub machine and its keeper. Connections hand their requests to the machine one by one, in the order in which they
//! take its lock, and that order is the only one there is. Its keeper is one task: lets time pass, starts the store on
//! what was decided, and releases what is on disk. Neither decides anything.
//!
//! L5: a request is handed over as soon as it has been read, so a renewal that was read in time counts, however late
//! leases are looked at. "Durable before visible" is the machine's: an answer comes out of it only after
//! [`Hub::flushed`] has reached what the answer rests on.

mod link;
mod route;
mod state;
#[cfg(test)]
mod tests;

use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use raceproof_core::hub::Hub;
use raceproof_core::wire::{Code, Problem};
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use link::{Answer, Figures, Input, Link};
use state::{Shared, State};

use crate::clock::Clock;
use crate::journal::{Journal, Progress};
use crate::metrics::Metrics;
use crate::outbox::Ending;

/// The machine takes a longer silence for a stall of the server, and leases must end within this of their time.
const TICK: Duration = Duration::from_millis(10);
/// Deadlines that come closer together than this share one wake-up: with many sessions there are thousands a second.
const GATHER: Duration = Duration::from_millis(4);
/// With no session there is nothing to expire; the machine's own deadlines still count.
const IDLE: Duration = Duration::from_secs(5);
/// After a failure of the store, what is on its way is refused for so long before connections are closed.
const REFUSING: Duration = Duration::from_millis(250);

/// What a run of the sequencer comes to.
#[derive(Debug)]
pub(crate) enum Outcome {
    Stopped,
    StoreFailed(String),
}

/// What others may know of the sequencer's state.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Phase {
    Ready,
    Draining,
    StoreFailed,
}

/// The keeper before it runs.
#[derive(Debug)]
pub(crate) struct Sequencer {
    shared: Arc<Shared>,
    clock: Clock,
    phase: watch::Sender<Phase>,
}

impl Sequencer {
    pub(crate) fn new(
        hub: Hub,
        clock: Clock,
        journal: Journal,
        metrics: Arc<Metrics>,
        phase: watch::Sender<Phase>,
    ) -> Self {
        Self { shared: Arc::new(Shared::new(State::new(hub, clock, journal, metrics))), clock, phase }
    }

    /// The way in.
    pub(crate) fn link(&self) -> Link {
        Link::new(Arc::<Shared>::clone(&self.shared), self.clock)
    }

    /// Keeps a runtime of one thread from sleeping while more is likely to come at once. Never ends.
    pub(crate) fn watch(&self) -> impl Future<Output = ()> + Send + 'static {
        let shared = Arc::clone(&self.shared);
        async move { shared.watch().await }
    }

    /// Runs until `stop` says so, or the store fails.
    pub(crate) async fn run(self, stop: CancellationToken) -> Outcome {
        let changes = self.state().journal.changes();
        let timer = tokio::time::sleep_until(Instant::now());
        tokio::pin!(timer);
        loop {
            let (progress, behind, due) = {
                let mut state = self.state();
                state.turn();
                (state.journal.progress(), state.is_behind(), state.arm())
            };
            if let Progress::Failed(detail) = progress {
                return self.fail(detail).await;
            }
            if behind && !stop.is_cancelled() {
                // An elapsed timer would keep this task running, and sockets unread.
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.clock.instant(due);
            // An armed timer that comes early costs one idle turn; arming it anew for each turn costs more.
            if timer.is_elapsed() || due < timer.deadline() {
                timer.as_mut().reset(due);
            }
            tokio::select! {
                biased;
                () = changes.wait() => {}
                () = self.shared.due.notified() => {}
                () = timer.as_mut() => {}
                () = stop.cancelled() => return self.drain().await,
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.shared.lock().expect("the machine broke off half way, and nothing can be promised any more")
    }

    /// Tells everybody, waits for what was decided to be on disk, and refuses what still waits.
    async fn drain(self) -> Outcome {
        let _no_listener = self.phase.send(Phase::Draining);
        let (lsn, changes) = {
            let mut state = self.state();
            state.stopped = true;
            let now = self.clock.now();
            state.hub.drain(now);
            state.pump(now);
            let lsn = state.hub.lsn();
            state.journal.want(lsn);
            state.commit();
            (lsn, state.journal.changes())
        };
        while !changes.is_flushed(lsn) {
            changes.wait().await;
            if let Progress::Failed(detail) = changes.progress() {
                return self.fail(detail).await;
            }
        }
        let closed = {
            let mut state = self.state();
            state.take_progress();
            // No waiting: whoever is told that the server stops need not be granted anything by it.
            state.refuse_calls(&link::stopping());
            state.routes.end_all(Ending::GoingAway);
            state.journal.close()
        };
        match closed.await {
            Ok(()) => Outcome::Stopped,
            Err(error) => Outcome::StoreFailed(error.to_string()),
        }
    }

    /// Fail-stop: what was not on disk is answered with `store_failed`, then everything ends.
    async fn fail(self, detail: String) -> Outcome {
        tracing::error!(detail, "the store failed; nothing is promised from here on");
        let _no_listener = self.phase.send(Phase::StoreFailed);
        {
            let mut state = self.state();
            let now = self.clock.now();
            state.hub.store_failed(now, &detail);
            state.pump(now);
        }
        // What is on its way is answered, too.
        tokio::time::sleep(REFUSING).await;
        let mut state = self.state();
        state.stopped = true;
        // Whoever waits for a turn waits for a grant that will not come.
        state.refuse_calls(&Problem::new(Code::StoreFailed, &*detail));
        state.routes.end_all(Ending::StoreFailed);
        Outcome::StoreFailed(detail)
    }
}
