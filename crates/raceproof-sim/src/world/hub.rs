//! The hub's process: its clock, its disk, its timers; what it is given and what it says.

use std::rc::Rc;

use raceproof_core::hub::{Caller, Config, Hub, Output};
use raceproof_core::id::{Lsn, SessionKey};
use raceproof_core::time::Time;
use raceproof_core::wire::{ClientFrame, Code, LockPage, Request, ServerFrame};

use super::clock::{Clock, Instant, MS};
use super::disk::Disk;
use super::fact::Fact;
use super::net::{Link, LinkId, Message};
use super::plan::Plan;
use super::rng::Rng;
use super::{Event, World};
use crate::report::Happening;

/// How often the hub ticks while sessions are open.
const TICK: u64 = 20 * MS;

/// The process.
#[derive(Debug)]
pub(super) struct HubNode {
    hub: Option<Hub>,
    /// Counts its starts.
    pub(super) run: u32,
    pub(super) clock: Clock,
    disk: Disk,
    /// Since when it is stopped.
    pub(super) stalled: Option<Instant>,
    /// What happened to it while it was stopped.
    pub(super) waiting: Vec<Event>,
    turn: u64,
    tick_at: Instant,
    flush_wished: bool,
    lazy: bool,
    disk_operations: u32,
    appends: u32,
    /// Links that are done once the present input is handled.
    done: Vec<LinkId>,
    frames: u32,
}

/// What an input is, for the invariants that count what follows from it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Input {
    Release,
    Other,
}

impl HubNode {
    pub(super) fn new(plan: &Plan, rng: &mut Rng) -> Self {
        Self {
            hub: None,
            run: 0,
            clock: Clock::new(0, rng.range(0, 1 << 40), plan.hub_drift_ppm),
            disk: Disk::default(),
            stalled: None,
            waiting: Vec::new(),
            turn: 0,
            tick_at: 0,
            flush_wished: false,
            lazy: false,
            disk_operations: 0,
            appends: 0,
            done: Vec::new(),
            frames: 0,
        }
    }

    pub(super) const fn is_up(&self) -> bool {
        self.hub.is_some()
    }

    pub(super) const fn is_stalled(&self) -> bool {
        self.stalled.is_some()
    }

    pub(super) fn stats(&self) -> Option<raceproof_core::hub::Stats> {
        self.hub.as_ref().map(Hub::stats)
    }

    /// Whether answers are held back though all that the hub wrote is on disk, and it was told so.
    pub(super) fn waits_for_nothing(&self) -> bool {
        self.disk.is_clean() && !self.disk.is_flushing() && self.stats().is_some_and(|stats| stats.held > 0)
    }

    pub(super) fn snapshot_bytes(&self) -> usize {
        self.hub.as_ref().map_or(0, |hub| hub.snapshot().to_bytes().len())
    }
}

impl World {
    fn hub_config(&self) -> Config {
        let mut config = Config::default();
        config.token_block = self.plan.token_block;
        // A busy task would push a retry out of the hub's memory, and what is forgotten may be granted afresh.
        config.answers_remembered_max = 4_096;
        config.mutation = self.options.mutation.and_then(crate::mutation::Mutation::of_hub);
        config
    }

    /// Starts the hub on whatever is on its disk.
    pub(super) fn start_hub(&mut self) {
        // The machine may have been started again: its clock begins anywhere.
        let origin = self.rng.range(0, 1 << 40);
        self.hub.clock = Clock::new(self.now, origin, self.plan.hub_drift_ppm);
        let now = self.hub.clock.read(self.now);
        self.hub.run += 1;
        let config = self.hub_config();
        let (snapshot, records) = self.hub.disk.load();
        let hub = if snapshot.is_none() && records.is_empty() {
            Ok(Hub::new(config, now))
        } else {
            Hub::restore(config, snapshot, records, now)
        };
        match hub {
            Ok(mut hub) => {
                hub.set_wall_clock(now, 1_700_000_000_000 + self.now / MS);
                self.hub.hub = Some(hub);
            }
            Err(error) => {
                self.judge.complain("restore", format!("the hub does not start: {error}"));
                return;
            }
        }
        let table = self.table();
        self.judge.see(&Fact::HubUp { run: self.hub.run, table: &table });
        self.trace.line(self.now, format_args!("hub: run {} starts with {:?}", self.hub.run, table.locks));
        self.hub_input(Input::Other, Hub::tick);
    }

    pub(super) fn hub_starts(&mut self, run: u32) {
        if !self.hub.is_up() && run == self.hub.run {
            self.start_hub();
        }
    }

    /// Kills the hub. Of the records that are not flushed, `kept` of 255 survive.
    pub(super) fn kill_hub(&mut self, down: u64, kept: u8) {
        if self.hub.hub.take().is_none() {
            return;
        }
        self.trace.line(self.now, format_args!("hub: run {} is killed", self.hub.run));
        self.judge.see(&Fact::HubDown);
        self.count(Happening::HubKilled);
        self.hub.disk.crash(kept);
        self.hub.stalled = None;
        self.hub.waiting.clear();
        self.hub.done.clear();
        self.hub.flush_wished = false;
        self.hub.lazy = false;
        for link in self.open_links(None) {
            if self.links.get(link).is_some_and(|link| link.hub_open) {
                self.cut(link);
            }
        }
        let run = self.hub.run;
        self.after(down, Event::HubStart { run });
    }

    pub(super) fn hub_goes_on(&mut self, run: u32) {
        if run != self.hub.run {
            return;
        }
        let Some(since) = self.hub.stalled.take() else { return };
        self.trace.line(self.now, format_args!("hub: goes on"));
        self.judge.see(&Fact::HubResumed { since });
        let mut waiting = std::mem::take(&mut self.hub.waiting);
        self.rng.shuffle(&mut waiting);
        for event in waiting {
            let delay = self.rng.range(0, 300);
            self.after(delay, event);
        }
    }

    /// Gives the hub an input and passes on what it says.
    pub(super) fn hub_input(&mut self, input: Input, act: impl FnOnce(&mut Hub, Time)) {
        let now = self.hub.clock.read(self.now);
        let Some(hub) = &mut self.hub.hub else { return };
        act(hub, now);
        self.after_hub(input);
        while let Some(link) = self.hub.done.pop() {
            self.judge.see(&Fact::Disconnected { link });
            if let Some(hub) = &mut self.hub.hub {
                hub.disconnect(now, Link::conn(link));
                self.after_hub(Input::Other);
            }
        }
        self.plan_hub_tick();
    }

    fn after_hub(&mut self, input: Input) {
        self.hub.appends = 0;
        self.drain_hub();
        self.judge.see(&Fact::Handled { appends: self.hub.appends, release: input == Input::Release });
    }

    fn drain_hub(&mut self) {
        while let Some(output) = self.hub.hub.as_mut().and_then(Hub::poll_output) {
            match output {
                Output::Append { lsn, record } => {
                    self.hub.appends += 1;
                    if self.trace.is_text() {
                        self.trace.line(self.now, format_args!("hub: record {lsn} {}", record.describe()));
                    }
                    self.hub.disk.append(lsn, &record);
                    if self.disk_operation(Happening::KilledAtAppend) {
                        return;
                    }
                    if !std::mem::replace(&mut self.hub.lazy, true) {
                        let run = self.hub.run;
                        self.after(self.plan.lazy, Event::FlushLazily { run });
                    }
                }
                Output::Flush { .. } => {
                    self.hub.flush_wished = true;
                    self.begin_flush();
                }
                Output::Answer { conn, seq, result } => {
                    let link = usize::try_from(conn.as_u64()).unwrap_or(usize::MAX);
                    self.hub_answers(link, seq, result);
                }
                Output::Push { conn, event } => {
                    let link = usize::try_from(conn.as_u64()).unwrap_or(usize::MAX);
                    self.trace.line(self.now, format_args!("hub: link {link} push {event:?}"));
                    self.judge.see(&Fact::Pushed { link, event: &event });
                    self.send(link, false, Message::Push(event));
                }
                Output::Close { conn } => {
                    let link = usize::try_from(conn.as_u64()).unwrap_or(usize::MAX);
                    self.judge.see(&Fact::Closed { link });
                    self.send(link, false, Message::Close);
                    if let Some(open) = self.links.get_mut(link)
                        && std::mem::take(&mut open.hub_open)
                    {
                        open.up.cut = true;
                        self.hub.done.push(link);
                    }
                }
            }
        }
    }

    fn hub_answers(
        &mut self,
        link: LinkId,
        seq: u64,
        result: Result<Box<raceproof_core::wire::Response>, Box<raceproof_core::wire::Problem>>,
    ) {
        self.trace.line(self.now, format_args!("hub: link {link} answer {seq} {result:?}"));
        self.trace.mix(self.now, &[link as u64, seq, u64::from(result.is_ok())]);
        if let Err(problem) = &result
            && problem.code == Code::Deadlock
            && let Some((session, request)) = self.judge.request(link, seq)
        {
            let table = self.table();
            self.judge.see(&Fact::Deadlocked { session, problem, request: &request, table: &table });
        }
        self.judge.see(&Fact::Answered { link, seq, result: &result });
        let result = if self.is_json_due() { through_json(result) } else { result };
        self.send(link, false, Message::Answer { re: seq, result });
        let Some(open) = self.links.get_mut(link) else { return };
        if open.http && std::mem::take(&mut open.hub_open) {
            open.up.cut = true;
            self.send(link, false, Message::Close);
            self.hub.done.push(link);
        }
    }

    fn is_json_due(&mut self) -> bool {
        self.hub.frames += 1;
        self.plan.json_every > 0 && self.hub.frames.is_multiple_of(self.plan.json_every)
    }

    /// A request reaches the hub.
    pub(super) fn hub_asked(&mut self, link: LinkId, seq: u64, session: Option<SessionKey>, request: &Rc<Request>) {
        self.trace.line(self.now, format_args!("hub: link {link} asks {seq} {request:?}"));
        self.judge.see(&Fact::Asked { link, seq, session, request });
        let caller = Caller { conn: Link::conn(link), seq, session, entropy: self.rng.bits() };
        let input = match **request {
            Request::Release(_) | Request::Resign(_) => Input::Release,
            _ => Input::Other,
        };
        let mut request = Request::clone(request);
        if self.is_json_due() {
            let frame = ClientFrame { seq, request };
            request = ClientFrame::from_json(&frame.to_json()).expect("a frame reads back").request;
        }
        self.hub_input(input, |hub, now| hub.request(now, caller, request));
    }

    /// One more operation of the disk. Says whether the hub was killed at it.
    fn disk_operation(&mut self, killed: Happening) -> bool {
        self.hub.disk_operations += 1;
        let operations = self.hub.disk_operations;
        let due = self.plan.disk_crashes.iter().find(|(at, _)| *at == operations).copied();
        let snapshots = matches!(killed, Happening::KilledAtSnapshot | Happening::KilledAtSnapshotWritten);
        let kept = match due {
            Some((_, kept)) => kept,
            None if snapshots && self.rng.chance(self.plan.snapshot_crash) => self.rng.pick(&[0, 128, 255]),
            None => return false,
        };
        if self.calm {
            return false;
        }
        let down = self.rng.range(0, 100 * MS);
        self.kill_hub(down, kept);
        self.count(killed);
        true
    }

    fn begin_flush(&mut self) {
        if self.hub.disk.is_flushing()
            || self.hub.disk.is_writing_snapshot()
            || self.disk_operation(Happening::KilledAtFlush)
        {
            return;
        }
        self.hub.flush_wished = false;
        self.hub.disk.begin_flush();
        let time = self.rng.range(self.plan.flush / 4, self.plan.flush);
        let run = self.hub.run;
        self.after(time, Event::Flushed { run });
    }

    pub(super) fn flush_lazily(&mut self, run: u32) {
        if run == self.hub.run && self.hub.is_up() {
            self.hub.lazy = false;
            if !self.hub.disk.is_clean() {
                self.begin_flush();
            }
        }
    }

    pub(super) fn disk_flushed(&mut self, run: u32) {
        if run != self.hub.run || !self.hub.is_up() {
            return;
        }
        let flushed = self.hub.disk.end_flush();
        // A crash may come between the end of the flush and what follows from it.
        if self.disk_operation(Happening::KilledAtFlushed) {
            return;
        }
        if let Some(lsn) = flushed {
            self.hub_input(Input::Other, |hub, now| hub.flushed(now, lsn));
        }
        if self.hub.is_up() && self.hub.flush_wished && !self.hub.disk.is_clean() {
            self.begin_flush();
        }
    }

    pub(super) fn begin_snapshot(&mut self) {
        let Some(hub) = &self.hub.hub else { return };
        if self.hub.disk.is_flushing() || self.hub.disk.is_writing_snapshot() {
            return;
        }
        self.hub.disk.begin_snapshot(hub.lsn(), &hub.snapshot());
        self.trace.line(self.now, format_args!("hub: begins a snapshot at {}", hub.lsn()));
        if self.disk_operation(Happening::KilledAtSnapshot) {
            return;
        }
        let time = self.rng.range(self.plan.flush, self.plan.flush * 3);
        let run = self.hub.run;
        self.after(time, Event::SnapshotWritten { run });
    }

    pub(super) fn snapshot_written(&mut self, run: u32) {
        if run != self.hub.run || !self.hub.is_up() {
            return;
        }
        let lsn: Option<Lsn> = self.hub.disk.end_snapshot();
        self.count(Happening::SnapshotWritten);
        if self.disk_operation(Happening::KilledAtSnapshotWritten) {
            return;
        }
        if let Some(lsn) = lsn {
            self.hub_input(Input::Other, |hub, now| hub.flushed(now, lsn));
        }
        if self.hub.is_up() && !self.hub.disk.is_clean() {
            self.begin_flush();
        }
    }

    fn plan_hub_tick(&mut self) {
        let Some(hub) = &self.hub.hub else { return };
        let deadline = hub.next_deadline().map(|at| self.hub.clock.when(at));
        let regular = (hub.sessions_count() > 0).then(|| self.now + self.hub.clock.true_micros(TICK));
        let Some(at) = [deadline, regular].into_iter().flatten().min() else { return };
        let at = at.max(self.now);
        // One that is planned and comes no later will do.
        if self.hub.tick_at > self.now && self.hub.tick_at <= at {
            return;
        }
        self.hub.turn += 1;
        self.hub.tick_at = at.max(self.now + 1);
        let turn = self.hub.turn;
        let late = self.rng.range(0, 500);
        self.at(self.hub.tick_at + late, Event::HubTick { turn });
    }

    pub(super) fn hub_tick(&mut self, turn: u64) {
        if turn == self.hub.turn && self.hub.is_up() {
            self.hub.tick_at = 0;
            self.hub_input(Input::Other, Hub::tick);
        }
    }

    /// Every lock, as the hub lists it.
    pub(super) fn table(&mut self) -> LockPage {
        self.ask_aside(Request::Locks(raceproof_core::wire::Page { limit: 1_000, ..Default::default() }))
            .and_then(|response| match response {
                raceproof_core::wire::Response::Locks(page) => Some(page),
                _ => None,
            })
            .unwrap_or(LockPage { locks: Vec::new(), next: None })
    }

    /// Stops what is running on the hub's disk for good.
    pub(super) fn fail_disk(&mut self, down: u64) {
        if !self.hub.is_up() || self.hub.is_stalled() {
            return;
        }
        self.count(Happening::DiskFailed);
        self.hub_input(Input::Other, |hub, now| hub.store_failed(now, "the disk is on fire"));
        let kept = self.rng.pick(&[0, 128, 255]);
        self.hub.disk.crash(kept);
        self.kill_hub(down, kept);
    }

    /// The hub of this moment, to be looked at.
    pub(super) const fn hub_mut(&mut self) -> Option<&mut Hub> {
        self.hub.hub.as_mut()
    }
}

fn through_json(
    result: Result<Box<raceproof_core::wire::Response>, Box<raceproof_core::wire::Problem>>,
) -> Result<Box<raceproof_core::wire::Response>, Box<raceproof_core::wire::Problem>> {
    let frame = ServerFrame::Answer { seq: 1, re: 1, result };
    let read = ServerFrame::from_json(&frame.to_json()).expect("a frame reads back");
    assert!(read == frame, "a frame changed on its way through JSON: {frame:?}");
    match read {
        ServerFrame::Answer { result, .. } => result,
        ServerFrame::Push { .. } => unreachable!("an answer reads back as an answer"),
    }
}
