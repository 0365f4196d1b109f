//! A world of one hub, its disk, several clients and the network between them, run by one seeded source of chance.
//!
//! Everything that happens is an event in one queue in true time. The hub and the client machines are the core's own;
//! all else (network, disk, clocks, programs, resources) is here and behaves as badly as the plan says. Equal seeds
//! give equal traces.

mod apply;
mod asks;
mod faults;
mod flows;
mod http;
mod hub;
mod machine;
mod network;
mod node;
mod settle;

pub mod clock;
pub mod disk;
pub mod fact;
pub mod net;
pub mod plan;
pub mod resource;
pub mod rng;
pub mod trace;

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use self::clock::Instant;
use self::hub::HubNode;
use self::net::{Link, LinkId};
use self::node::Node;
use self::plan::Plan;
use self::resource::{Resources, Write};
use self::rng::Rng;
use self::trace::Trace;
use crate::judge::{Judge, Violated};
use crate::report::{Happening, Report};

/// Something that will happen.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Event {
    /// A connection attempt reaches the hub's machine.
    Dialled(LinkId),
    /// What is first in a pipe may arrive.
    Arrive { link: LinkId, up: bool },
    /// One end of a broken connection learns of it.
    CutSeen { link: LinkId, by_hub: bool },
    /// The hub's timers are due.
    HubTick { turn: u64 },
    /// A flush has ended.
    Flushed { run: u32 },
    /// Records that nobody waits for are flushed.
    FlushLazily { run: u32 },
    /// A snapshot is written.
    SnapshotWritten { run: u32 },
    /// The hub starts.
    HubStart { run: u32 },
    /// The hub goes on after a stall.
    HubGoesOn { run: u32 },
    /// A client's timers are due.
    ClientTick { client: usize, turn: u64 },
    /// A client goes on after a freeze.
    ClientGoesOn { client: usize, life: u32 },
    /// A client starts.
    ClientStart { client: usize, life: u32 },
    /// Packets pass between a client and the hub again.
    Healed { client: usize, up: bool, down: bool },
    /// An HTTP call is tried, or tried again.
    HttpTry { client: usize, life: u32, call: u64 },
    /// A task does its next step.
    FlowStep { client: usize, life: u32, flow: usize, turn: u64 },
    /// A read or a write reaches a resource.
    ResourceReached { index: usize },
    /// A fault of the plan.
    Fault { index: usize },
    /// The hub's lists are looked at.
    Look,
    /// Nothing fails any more.
    Calm,
    /// Everything should have ended.
    Overdue,
}

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// What was violated, if anything.
    pub violated: Option<Violated>,
    /// The hash of the trace.
    pub hash: u64,
    /// How many events there were.
    pub events: u64,
    /// Counts of what happened, to see that a run exercises what it should.
    pub report: Report,
    /// The trace as text, if it was asked for.
    pub lines: Vec<String>,
}

/// Options of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Keeps the trace as text.
    pub text: bool,
    /// A known bug that is put back.
    pub mutation: Option<crate::mutation::Mutation>,
    /// Listens to this invariant alone, to prove that each notices something by itself.
    pub only: Option<&'static str>,
}

/// The world.
#[derive(Debug)]
pub(crate) struct World {
    plan: Plan,
    options: Options,
    now: Instant,
    rng: Rng,
    queue: BinaryHeap<Reverse<(Instant, u64, Event)>>,
    queued: u64,
    links: Vec<Link>,
    hub: HubNode,
    nodes: Vec<Node>,
    writes: Vec<Write>,
    resources: Resources,
    judge: Judge,
    trace: Trace,
    calm: bool,
    over: bool,
}

/// Runs a seed.
#[must_use]
pub fn run(seed: u64, options: Options) -> Outcome {
    let mut world = World::new(Plan::new(seed), options);
    world.live();
    let (hash, events) = world.trace.sum();
    let report = world.judge.report();
    Outcome { violated: world.judge.into_violated(), hash, events, report, lines: world.trace.into_lines() }
}

/// No run takes more events than this; one that does is reported, since something goes round in circles.
const EVENTS_MAX: u64 = 400_000;

impl World {
    fn new(plan: Plan, options: Options) -> Self {
        let mut rng = Rng::new(plan.seed ^ 0xa5a5_0000_0000_0000);
        let hub = HubNode::new(&plan, &mut rng);
        let mut world = Self {
            options,
            now: 0,
            queue: BinaryHeap::new(),
            queued: 0,
            links: Vec::new(),
            hub,
            nodes: Vec::new(),
            writes: Vec::new(),
            resources: Resources::new(plan.names),
            judge: Judge::new(plan.hub_drift_ppm, options.only),
            trace: Trace::new(options.text),
            calm: false,
            over: false,
            rng,
            plan,
        };
        world.trace.line(0, format_args!("plan {:#?}", world.plan));
        world.begin();
        world
    }

    fn begin(&mut self) {
        self.start_hub();
        for client in 0..self.plan.clients.len() {
            self.add_node(client);
        }
        for (index, (at, _)) in self.plan.faults.clone().into_iter().enumerate() {
            self.at(at, Event::Fault { index });
        }
        self.at(self.plan.work_until, Event::Calm);
        self.after(20_000, Event::Look);
    }

    fn live(&mut self) {
        while !self.over && self.judge.is_content() {
            let Some(Reverse((at, _, event))) = self.queue.pop() else { break };
            self.now = at;
            self.judge.set_time(at);
            self.handle(event);
            if self.trace.sum().1 > EVENTS_MAX {
                self.judge.complain("liveness", "the run never ends".into());
                break;
            }
        }
        if self.judge.is_content() {
            self.judge.conclude();
        }
        if let Some(violated) = self.judge.violated() {
            self.trace.line(self.now, format_args!("VIOLATED {}: {}", violated.invariant, violated.what));
        }
    }

    /// Counts something.
    fn count(&mut self, what: Happening) {
        self.judge.report_mut().count(what);
    }

    /// Plans an event.
    fn at(&mut self, at: Instant, event: Event) {
        self.queued += 1;
        self.queue.push(Reverse((at.max(self.now), self.queued, event)));
    }

    /// Plans an event.
    fn after(&mut self, delay: u64, event: Event) {
        self.at(self.now + delay, event);
    }

    fn handle(&mut self, event: Event) {
        if let Some(event) = self.put_off(event) {
            self.trace.mix(self.now, &[discriminant(&event)]);
            self.apply(event);
        }
    }
}

const fn discriminant(event: &Event) -> u64 {
    match event {
        Event::Dialled(link) => 0x100 + *link as u64,
        Event::Arrive { link, up } => 0x1_0000 + *link as u64 * 2 + *up as u64,
        Event::CutSeen { link, by_hub } => 0x2_0000 + *link as u64 * 2 + *by_hub as u64,
        Event::HubTick { .. } => 1,
        Event::Flushed { .. } => 2,
        Event::FlushLazily { .. } => 3,
        Event::SnapshotWritten { .. } => 4,
        Event::HubStart { .. } => 5,
        Event::HubGoesOn { .. } => 6,
        Event::ClientTick { client, .. } => 0x3_0000 + *client as u64,
        Event::ClientGoesOn { client, .. } => 0x4_0000 + *client as u64,
        Event::ClientStart { client, .. } => 0x5_0000 + *client as u64,
        Event::Healed { client, .. } => 0x6_0000 + *client as u64,
        Event::HttpTry { client, call, .. } => 0x7_0000 + *client as u64 * 1_000 + *call,
        Event::FlowStep { client, flow, .. } => 0x8_0000 + *client as u64 * 16 + *flow as u64,
        Event::ResourceReached { index } => 0x9_0000 + *index as u64,
        Event::Fault { index } => 0xa_0000 + *index as u64,
        Event::Look => 7,
        Event::Calm => 8,
        Event::Overdue => 9,
    }
}
