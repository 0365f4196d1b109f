//! The hub machine with everything its outputs go to. Whoever has an input hands it over here, under a lock, and finds
//! the answer in its outbox afterwards; nothing in here waits for anything.

use std::sync::{Arc, LockResult, Mutex, MutexGuard};
use std::time::Duration;

use raceproof_core::hub::{Caller, ConnKind, Hub, Output};
use raceproof_core::id::{ConnId, Lsn};
use raceproof_core::time::Time;
use raceproof_core::wire::{Problem, Request};
use tokio::sync::Notify;

use super::link::{Figures, Input, Taker};
use super::route::{self, Routes};
use super::{GATHER, IDLE, TICK};
use crate::alert::Alert;
use crate::calm;
use crate::clock::{Clock, unix_ms};
use crate::journal::{Journal, Progress};
use crate::metrics::Metrics;
use crate::outbox::Ending;

/// The state, as its users share it.
#[derive(Debug)]
pub(super) struct Shared {
    state: Mutex<State>,
    /// Wakes the sequencer's task.
    pub(super) due: Notify,
    /// Wakes who watches.
    stirred: Arc<Notify>,
}

impl Shared {
    pub(super) fn new(state: State) -> Self {
        Self { stirred: Arc::clone(&state.stirred), state: Mutex::new(state), due: Notify::new() }
    }

    /// Keeps the thread from sleeping while more is likely to come at once. For a runtime of one thread.
    pub(super) async fn watch(&self) {
        loop {
            self.stirred.notified().await;
            // The runtime looks at its sockets whenever all that is left to run are tasks that yielded.
            while self.lock().is_ok_and(|mut state| state.looks_again()) {
                tokio::task::yield_now().await;
            }
        }
    }

    /// An error means that the machine broke off half way through a change: nothing can be asked of it any more.
    pub(super) fn lock(&self) -> LockResult<MutexGuard<'_, State>> {
        self.state.lock()
    }
}

impl Taker for Shared {
    /// Wakes the sequencer if it has something to do before it would wake by itself.
    fn take(&self, input: Input) -> bool {
        // Once the sequencer has stopped, or has broken off, an input goes nowhere; so does whoever sent it, soon.
        let Ok(mut state) = self.lock() else { return false };
        if state.stopped {
            refuse(input);
            return false;
        }
        let now = state.clock.now();
        match input {
            Input::Frame { request: Request::Keepalive {}, .. }
            | Input::Call { request: Request::Keepalive {}, .. } => {
                calm::renewed();
            }
            _ => {
                calm::asked();
                state.stir(now);
            }
        }
        state.take(now, input);
        let wanted = state.wants_attention();
        drop(state);
        if wanted {
            self.due.notify_one();
        }
        wanted
    }
}

/// What comes once nothing is taken any more. Dropping the other inputs tells whoever waits for their answers.
fn refuse(input: Input) {
    if let Input::Connect { outbox, .. } = input {
        outbox.end(Ending::GoingAway);
    }
}

pub(super) struct State {
    pub(super) hub: Hub,
    pub(super) clock: Clock,
    pub(super) journal: Journal,
    pub(super) routes: Routes,
    /// No more inputs are taken.
    pub(super) stopped: bool,
    metrics: Arc<Metrics>,
    ticked: Time,
    /// When the sequencer's task wakes by itself.
    armed: Time,
    wall_clock_set: Time,
    flushed: Lsn,
    alert: Alert,
    /// Somebody is to watch.
    stirred: Arc<Notify>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

impl State {
    pub(super) fn new(mut hub: Hub, clock: Clock, journal: Journal, metrics: Arc<Metrics>) -> Self {
        let now = clock.now();
        hub.set_wall_clock(now, unix_ms());
        Self {
            hub,
            clock,
            journal,
            routes: Routes::new(Arc::clone(&metrics)),
            stopped: false,
            metrics,
            ticked: now,
            armed: now,
            wall_clock_set: now,
            flushed: Lsn::default(),
            alert: Alert::new(now),
            stirred: Arc::new(Notify::new()),
        }
    }

    /// Something came that others are likely to follow.
    fn stir(&mut self, now: Time) {
        if self.alert.came(now) {
            self.stirred.notify_one();
        }
    }

    fn looks_again(&mut self) -> bool {
        let now = self.clock.now();
        self.alert.looks_again(now)
    }

    /// Takes what the store has to say, lets time pass, then starts the store on what was decided.
    pub(super) fn turn(&mut self) {
        self.take_progress();
        self.tick();
        self.commit();
    }

    pub(super) fn commit(&mut self) {
        self.journal.commit(&self.hub);
    }

    pub(super) fn take_progress(&mut self) {
        if let Progress::Flushed(lsn) = self.journal.progress()
            && lsn > self.flushed
        {
            self.flushed = lsn;
            let now = self.clock.now();
            self.stir(now);
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

    /// Whether more is due than one tick ends.
    pub(super) fn is_behind(&self) -> bool {
        self.hub.next_deadline().is_some_and(|due| due <= self.ticked)
    }

    /// When the sequencer's task is to wake; it is taken at its word.
    pub(super) fn arm(&mut self) -> Time {
        self.armed = self.due();
        self.armed
    }

    fn due(&self) -> Time {
        let pause = if self.hub.sessions_count() > 0 { TICK } else { IDLE };
        let regular = self.ticked + pause;
        self.hub.next_deadline().map_or(regular, |due| due.max(self.ticked + GATHER).min(regular))
    }

    fn wants_attention(&self) -> bool {
        self.journal.is_wanted() || self.due() < self.armed
    }

    /// Hands one input to the machine, and passes on what comes of it.
    pub(super) fn take(&mut self, now: Time, input: Input) {
        self.input(now, input);
        self.pump(now);
        self.routes.nobody_listens();
    }

    fn input(&mut self, now: Time, input: Input) {
        match input {
            Input::Frame { conn, outbox, seq, request } => {
                self.routes.listens(conn, outbox);
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
    pub(super) fn pump(&mut self, now: Time) {
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

    /// Answers every HTTP request that still waits.
    pub(super) fn refuse_calls(&mut self, problem: &Problem) {
        let now = self.clock.now();
        let refused: Vec<ConnId> = self.routes.refuse_calls(problem);
        for conn in refused {
            self.hub.disconnect(now, conn);
            self.pump(now);
        }
    }
}

/// Sixteen bytes from the operating system: the secret half of a session key.
fn entropy() -> u128 {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).expect("the operating system has randomness once it has booted");
    u128::from_ne_bytes(bytes)
}
