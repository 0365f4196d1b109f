//! The one task that owns the hub machine. It linearises everything: takes inputs in the order they came, drains the
//! machine's outputs after each, hands records to the store and answers to connections. It decides nothing.
//!
//! L5: what waits in the queue is handed to the machine before leases are expired, so a renewal that reached this
//! server in time counts, however late it is taken. "Durable before visible" is the machine's: an answer comes out of
//! it only after [`Hub::flushed`] has reached what the answer rests on.

mod link;
mod route;

use std::sync::Arc;
use std::time::Duration;

use raceproof_core::hub::{Caller, ConnKind, Hub, Output};
use raceproof_core::time::Time;
use raceproof_core::wire::{Code, Problem, Request};
use tokio::sync::{mpsc, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

pub(crate) use link::{Answer, Figures, Input, Link};
use route::Routes;

use crate::clock::{Clock, unix_ms};
use crate::journal::{Journal, Progress};
use crate::metrics::Metrics;
use crate::outbox::Ending;

/// The machine takes a longer silence for a stall of the server, and leases must end within this of their time.
const TICK: Duration = Duration::from_millis(10);
/// Deadlines that come closer together than this share one wake-up: with many sessions there are thousands a second.
const GATHER: Duration = Duration::from_millis(4);
/// With no session there is nothing to expire; the machine's own deadlines still count.
const IDLE: Duration = Duration::from_secs(5);
/// Inputs taken in one turn.
const BATCH: usize = 1_024;

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

/// The sequencer before it runs.
pub(crate) struct Sequencer {
    hub: Hub,
    clock: Clock,
    inputs: mpsc::UnboundedReceiver<Input>,
    journal: Journal,
    routes: Routes,
    metrics: Arc<Metrics>,
    phase: watch::Sender<Phase>,
    batch: Vec<Input>,
    ticked: Time,
    wall_clock_set: Time,
}

impl std::fmt::Debug for Sequencer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sequencer").finish_non_exhaustive()
    }
}

impl Sequencer {
    pub(crate) fn new(
        mut hub: Hub,
        clock: Clock,
        inputs: mpsc::UnboundedReceiver<Input>,
        journal: Journal,
        metrics: Arc<Metrics>,
        phase: watch::Sender<Phase>,
    ) -> Self {
        let now = clock.now();
        hub.set_wall_clock(now, unix_ms());
        Self {
            hub,
            clock,
            inputs,
            journal,
            routes: Routes::new(Arc::clone(&metrics)),
            metrics,
            phase,
            batch: Vec::with_capacity(BATCH),
            ticked: now,
            wall_clock_set: now,
        }
    }

    /// Runs until `stop` says so, or the store fails.
    pub(crate) async fn run(mut self, stop: CancellationToken) -> Outcome {
        let timer = tokio::time::sleep_until(Instant::now());
        tokio::pin!(timer);
        loop {
            self.turn();
            if let Progress::Failed(detail) = self.journal.progress() {
                return self.fail(detail).await;
            }
            if self.hub.next_deadline().is_some_and(|due| due <= self.ticked) && !stop.is_cancelled() {
                // More is due than one tick ends. An elapsed timer would keep this task running, and sockets unread.
                tokio::task::yield_now().await;
                continue;
            }
            let due = self.due();
            // An armed timer that comes early costs one idle turn; arming it anew for each turn costs more.
            if timer.is_elapsed() || due < timer.deadline() {
                timer.as_mut().reset(due);
            }
            tokio::select! {
                biased;
                () = self.journal.changes() => {}
                _ = self.inputs.recv_many(&mut self.batch, BATCH) => {}
                () = timer.as_mut() => {}
                () = stop.cancelled() => return self.drain().await,
            }
        }
    }

    /// Hands over what has come, then lets time pass, then starts the store on what was decided.
    fn turn(&mut self) {
        self.take_progress();
        let mut batch = std::mem::take(&mut self.batch);
        // L5: nothing expires before what has waited in the queue until now.
        let mut left = self.inputs.len();
        loop {
            for input in batch.drain(..) {
                let now = self.clock.now();
                self.input(now, input);
                self.pump(now);
            }
            while batch.len() < BATCH.min(left)
                && let Ok(input) = self.inputs.try_recv()
            {
                batch.push(input);
            }
            left -= batch.len();
            if batch.is_empty() {
                break;
            }
        }
        self.batch = batch;
        self.tick();
        self.journal.commit(&self.hub);
    }

    fn take_progress(&mut self) {
        if let Progress::Flushed(lsn) = self.journal.progress() {
            let now = self.clock.now();
            self.hub.flushed(now, lsn);
            self.pump(now);
        }
    }

    fn tick(&mut self) {
        let now = self.clock.now();
        if now.since(self.wall_clock_set) >= Duration::from_secs(1) {
            self.hub.set_wall_clock(now, unix_ms());
            self.wall_clock_set = now;
        }
        if now.since(self.ticked) >= TICK || self.hub.next_deadline().is_some_and(|due| due <= now) {
            self.hub.tick(now);
            self.ticked = now;
            self.pump(now);
        }
    }

    fn due(&self) -> Instant {
        let pause = if self.hub.sessions_count() > 0 { TICK } else { IDLE };
        let regular = self.ticked + pause;
        let due = self.hub.next_deadline().map_or(regular, |due| due.max(self.ticked + GATHER).min(regular));
        self.clock.instant(due)
    }

    fn input(&mut self, now: Time, input: Input) {
        match input {
            Input::Frame { conn, seq, request } => {
                self.routes.sequenced(conn);
                self.request(now, Caller { conn, seq, session: None, entropy: 0 }, request);
            }
            Input::Call { conn, session, request, reply } => {
                let call = route::Call::new(reply, session, &request);
                self.routes.add_call(conn, call);
                self.hub.connect(now, conn, ConnKind::Request);
                self.request(now, Caller { conn, seq: 0, session, entropy: 0 }, request);
            }
            Input::Connect { conn, outbox } => {
                self.routes.add_socket(conn, outbox);
                self.hub.connect(now, conn, ConnKind::Socket);
            }
            Input::Disconnect { conn } => {
                // An answered call has already gone.
                if self.routes.remove(conn) {
                    self.hub.disconnect(now, conn);
                }
            }
            Input::Stats { reply } => {
                let _gone = reply.send(Figures { hub: self.hub.stats(), store: self.journal.stats() });
            }
        }
    }

    fn request(&mut self, now: Time, mut caller: Caller, request: Request) {
        if matches!(request, Request::Open(_)) {
            caller.entropy = entropy();
        }
        self.metrics.requested(&request);
        self.hub.request(now, caller, request);
    }

    /// Drains the machine's outputs, and those of what they bring about.
    fn pump(&mut self, now: Time) {
        loop {
            while let Some(output) = self.hub.poll_output() {
                match output {
                    Output::Append { lsn, record } => self.journal.append(lsn, &record),
                    Output::Flush { lsn } => self.journal.want(lsn),
                    Output::Answer { conn, seq, result } => self.routes.answer(conn, seq, result),
                    Output::Push { conn, event } => self.routes.push(conn, event),
                    Output::Close { conn } => self.routes.end(conn, Ending::Superseded),
                }
            }
            let Some(done) = self.routes.take_done() else { break };
            self.finish(now, done);
        }
    }

    /// An HTTP request was answered: its connection is gone. What was granted to nobody goes back.
    fn finish(&mut self, now: Time, done: route::Done) {
        if let Some((session, undo)) = done.undo {
            self.hub.request(now, Caller { conn: done.conn, seq: 0, session: Some(session), entropy: 0 }, undo);
        }
        self.hub.disconnect(now, done.conn);
    }

    /// Tells everybody, waits for what was decided to be on disk, and refuses what still waits.
    async fn drain(mut self) -> Outcome {
        let _no_listener = self.phase.send(Phase::Draining);
        let now = self.clock.now();
        self.hub.drain(now);
        self.pump(now);
        self.journal.want(self.hub.lsn());
        self.journal.commit(&self.hub);
        while !self.journal.is_flushed(self.hub.lsn()) {
            self.journal.changes().await;
            if let Progress::Failed(detail) = self.journal.progress() {
                return self.fail(detail).await;
            }
        }
        self.take_progress();
        // No waiting: whoever is told that the server stops need not be granted anything by it.
        for conn in self.routes.refuse_calls(&link::stopping()) {
            let now = self.clock.now();
            self.hub.disconnect(now, conn);
            self.pump(now);
        }
        self.routes.end_all(Ending::GoingAway);
        match self.journal.close().await {
            Ok(()) => Outcome::Stopped,
            Err(error) => Outcome::StoreFailed(error.to_string()),
        }
    }

    /// Fail-stop: what was not on disk is answered with `store_failed`, then everything ends.
    async fn fail(mut self, detail: String) -> Outcome {
        tracing::error!(detail, "the store failed; nothing is promised from here on");
        let _no_listener = self.phase.send(Phase::StoreFailed);
        let now = self.clock.now();
        self.hub.store_failed(now, &detail);
        // What is on its way is answered, too.
        let until = Instant::now() + Duration::from_millis(250);
        while Instant::now() < until {
            self.pump(self.clock.now());
            match tokio::time::timeout_at(until, self.inputs.recv()).await {
                Ok(Some(input)) => self.input(self.clock.now(), input),
                Ok(None) | Err(_) => break,
            }
        }
        self.pump(self.clock.now());
        // Whoever waits for a turn waits for a grant that will not come.
        self.routes.refuse_calls(&Problem::new(Code::StoreFailed, &*detail));
        self.routes.end_all(Ending::StoreFailed);
        Outcome::StoreFailed(detail)
    }
}

/// Sixteen bytes from the operating system: the secret half of a session key.
fn entropy() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has randomness once it has booted");
    u128::from_ne_bytes(bytes)
}
