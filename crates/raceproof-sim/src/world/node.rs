//! A client's process: a clock, whatever speaks to the hub for it, and the tasks of its program.

use std::rc::Rc;

use raceproof_core::id::Token;
use raceproof_core::time::Time;
use raceproof_core::wire::Request;

use super::clock::{Clock, Instant, MS};
use super::flows::{At, Flow};
use super::http::HttpClient;
use super::machine::MachineClient;
use super::plan::Plan;
use super::rng::Rng;
use super::{Event, World};
use crate::report::Happening;
use crate::world::fact::{Fact, Loss};

/// What speaks to the hub.
#[derive(Debug)]
pub(super) enum Speaker {
    /// The core's client machine over a WebSocket.
    Machine(Box<MachineClient>),
    /// Plain HTTP calls.
    Http(Box<HttpClient>),
    /// Nothing: the process is dead.
    Dead,
}

/// The process.
#[derive(Debug)]
pub(super) struct Node {
    /// Counts its lives.
    pub(super) life: u32,
    pub(super) clock: Clock,
    pub(super) frozen: bool,
    /// What happened to it while it was stopped.
    pub(super) waiting: Vec<Event>,
    pub(super) cut_off_up: bool,
    pub(super) cut_off_down: bool,
    /// What is held up between it and the hub.
    pub(super) in_transit: Vec<Event>,
    pub(super) speaker: Speaker,
    pub(super) flows: Vec<Flow>,
    pub(super) turn: u64,
    pub(super) tick_at: Instant,
    /// It has been told to end.
    pub(super) closing: bool,
    pub(super) closed: bool,
}

impl Node {
    pub(super) fn new(plan: &Plan, client: usize, rng: &mut Rng) -> Self {
        let drift = plan.clients.get(client).map_or(0, |client| client.drift_ppm);
        Self {
            life: 0,
            clock: Clock::new(0, rng.range(0, 1 << 40), drift),
            frozen: false,
            waiting: Vec::new(),
            cut_off_up: false,
            cut_off_down: false,
            in_transit: Vec::new(),
            speaker: Speaker::Dead,
            flows: Vec::new(),
            turn: 0,
            tick_at: 0,
            closing: false,
            closed: false,
        }
    }

    pub(super) const fn is_frozen(&self) -> bool {
        self.frozen
    }

    pub(super) const fn is_dead(&self) -> bool {
        matches!(self.speaker, Speaker::Dead)
    }
}

/// Something that a task holds.
#[derive(Clone, Debug)]
pub(super) struct Holding {
    pub(super) token: Token,
    pub(super) request: Rc<Request>,
    /// What it read of the fenced and of the unfenced resource.
    pub(super) read: [Option<u64>; 2],
}

impl World {
    pub(super) fn add_node(&mut self, client: usize) {
        let node = Node::new(&self.plan, client, &mut self.rng);
        self.nodes.push(node);
        let delay = self.rng.range(0, 20 * MS);
        self.after(delay, Event::ClientStart { client, life: 0 });
    }

    pub(super) fn local(&self, client: usize) -> Time {
        self.nodes.get(client).map_or(Time::ZERO, |node| node.clock.read(self.now))
    }

    pub(super) fn client_starts(&mut self, client: usize, life: u32) {
        let Some(plan) = self.plan.clients.get(client).cloned() else { return };
        let now = self.local(client);
        let seed = self.rng.below(u64::MAX);
        let speaker = if plan.http {
            Speaker::Http(Box::new(HttpClient::new(plan.ttl_ms)))
        } else {
            Speaker::Machine(Box::new(MachineClient::new(&plan, &mut self.rng, seed, now, self.options.mutation)))
        };
        let Some(node) = self.nodes.get_mut(client) else { return };
        if node.life != life || !node.is_dead() || self.calm {
            node.closed = true;
            return;
        }
        node.life += 1;
        node.speaker = speaker;
        node.flows = (0..plan.flows).map(Flow::new).collect();
        self.judge.see(&Fact::Started { client });
        self.trace.line(self.now, format_args!("client {client}: starts (ttl {} ms)", plan.ttl_ms));
        if plan.http {
            self.http_begins(client);
        } else {
            self.after_machine(client);
        }
        for flow in 0..plan.flows {
            let delay = self.rng.range(0, 30 * MS);
            self.wake_flow(client, flow, delay);
        }
    }

    pub(super) fn client_goes_on(&mut self, client: usize, life: u32) {
        let Some(node) = self.nodes.get_mut(client) else { return };
        if node.life != life || !std::mem::take(&mut node.frozen) {
            return;
        }
        let mut waiting = std::mem::take(&mut node.waiting);
        self.trace.line(self.now, format_args!("client {client}: goes on"));
        self.rng.shuffle(&mut waiting);
        for event in waiting {
            let delay = self.rng.range(0, 300);
            self.after(delay, event);
        }
    }

    pub(super) fn freeze(&mut self, client: usize, length: u64) {
        let Some(node) = self.nodes.get_mut(client) else { return };
        if node.is_dead() || std::mem::replace(&mut node.frozen, true) {
            return;
        }
        let life = node.life;
        self.trace.line(self.now, format_args!("client {client}: is stopped for {} ms", length / MS));
        self.count(Happening::Frozen);
        self.after(length, Event::ClientGoesOn { client, life });
    }

    /// Kills a client. Its kernel closes its connections.
    pub(super) fn kill_client(&mut self, client: usize, down: u64) {
        let Some(node) = self.nodes.get_mut(client) else { return };
        if node.is_dead() {
            return;
        }
        node.speaker = Speaker::Dead;
        node.frozen = false;
        node.waiting.clear();
        node.turn += 1;
        node.tick_at = 0;
        let life = node.life;
        let flows = std::mem::take(&mut node.flows);
        self.trace.line(self.now, format_args!("client {client}: is killed"));
        self.count(Happening::ClientKilled);
        for flow in &flows {
            if let At::Asking { request, since, .. } = &flow.at {
                self.judge.see(&Fact::Unlearned { request, asked: *since });
            }
        }
        for holding in flows.into_iter().flat_map(|flow| flow.held) {
            self.judge.see(&Fact::Disbelieves { client, token: holding.token, loss: Loss::Died });
        }
        for link in self.open_links(Some(client)) {
            if self.links.get(link).is_some_and(|link| link.client_open) {
                self.hang_up(link);
            }
        }
        self.after(down, Event::ClientStart { client, life });
    }

    pub(super) fn partition(&mut self, client: usize, up: bool, down: bool, length: u64) {
        let Some(node) = self.nodes.get_mut(client) else { return };
        node.cut_off_up |= up;
        node.cut_off_down |= down;
        self.trace.line(self.now, format_args!("client {client}: cut off (up {up}, down {down})"));
        self.count(match (up, down) {
            (true, true) => Happening::PartitionedBothWays,
            (true, false) => Happening::PartitionedUp,
            _ => Happening::PartitionedDown,
        });
        self.after(length, Event::Healed { client, up, down });
    }

    pub(super) fn healed(&mut self, client: usize, up: bool, down: bool) {
        let Some(node) = self.nodes.get_mut(client) else { return };
        node.cut_off_up &= !up;
        node.cut_off_down &= !down;
        self.trace.line(self.now, format_args!("client {client}: is reached again"));
        for event in std::mem::take(&mut node.in_transit) {
            let delay = self.delay();
            self.after(delay, event);
        }
    }
}
