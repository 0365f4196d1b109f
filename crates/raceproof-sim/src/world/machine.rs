//! A client that runs the core's client machine: connects it to the network and its results to the program's tasks.

use std::collections::BTreeMap;
use std::time::Duration;

use raceproof_core::client::{Client, Config, Failure, Generation, ObserverId, OpError, OpId, Outcome, Output, Query};
use raceproof_core::time::Time;
use raceproof_core::wire::{OnDisconnect, Request, ServerFrame};

use super::asks::{Got, Purpose};
use super::clock::MS;
use super::fact::{Fact, Loss};
use super::net::{LinkId, Message};
use super::node::Speaker;
use super::plan::ClientPlan;
use super::rng::Rng;
use super::{Event, World};

/// The machine and what belongs to it.
#[derive(Debug)]
pub(super) struct MachineClient {
    pub(super) machine: Client,
    link: Option<(Generation, LinkId)>,
    pub(super) asks: BTreeMap<OpId, Purpose>,
    pub(super) observers: Vec<ObserverId>,
    frames: u64,
}

impl MachineClient {
    pub(super) fn new(
        plan: &ClientPlan,
        rng: &mut Rng,
        seed: u64,
        now: Time,
        mutation: Option<crate::mutation::Mutation>,
    ) -> Self {
        let mut config = Config::default();
        config.name = "machine".into();
        config.ttl = Duration::from_millis(plan.ttl_ms);
        config.on_disconnect = if plan.end_on_disconnect { OnDisconnect::End } else { OnDisconnect::Keep };
        config.ping_interval = Duration::from_millis(rng.pick(&[200, 1_000, 10_000]));
        config.connect_timeout = Duration::from_millis(rng.pick(&[300, 2_000, 5_000]));
        config.answer_timeout = Duration::from_millis(rng.pick(&[500, 5_000]));
        config.backoff_max = Duration::from_millis(rng.pick(&[100, 1_000]));
        config.mutation = mutation.and_then(crate::mutation::Mutation::of_client);
        let machine = Client::new(config, seed, now);
        Self { machine, link: None, asks: BTreeMap::new(), observers: Vec::new(), frames: 0 }
    }
}

impl World {
    pub(super) fn machine(&mut self, client: usize) -> Option<&mut MachineClient> {
        match self.nodes.get_mut(client).map(|node| &mut node.speaker) {
            Some(Speaker::Machine(machine)) => Some(machine),
            _ => None,
        }
    }

    /// Gives the machine an input and does what it says.
    pub(super) fn machine_input<R>(
        &mut self,
        client: usize,
        act: impl FnOnce(&mut MachineClient, Time) -> R,
    ) -> Option<R> {
        let now = self.local(client);
        let result = act(self.machine(client)?, now);
        self.after_machine(client);
        Some(result)
    }

    pub(super) fn after_machine(&mut self, client: usize) {
        while let Some(output) = self.machine(client).and_then(|machine| machine.machine.poll_output()) {
            self.machine_says(client, output);
        }
        let now = self.local(client);
        let Some(machine) = self.machine(client) else { return };
        if machine.machine.lease_deadline().is_some_and(|deadline| deadline <= now) {
            self.judge.complain("l8_holder", format!("client {client} keeps a session beyond its lease"));
            return;
        }
        let Some(deadline) = machine.machine.next_deadline() else { return };
        let Some(node) = self.nodes.get_mut(client) else { return };
        let at = node.clock.when(deadline).max(self.now);
        if node.tick_at > self.now && node.tick_at <= at {
            return;
        }
        node.turn += 1;
        node.tick_at = at.max(self.now + 1);
        let (turn, tick_at) = (node.turn, node.tick_at);
        let late = self.rng.range(0, 200);
        self.at(tick_at + late, Event::ClientTick { client, turn });
    }

    pub(super) fn client_tick(&mut self, client: usize, turn: u64) {
        let Some(node) = self.nodes.get_mut(client) else { return };
        if node.turn == turn {
            node.tick_at = 0;
            if matches!(node.speaker, Speaker::Http(_)) {
                self.http_tick(client);
                return;
            }
            self.machine_input(client, |machine, now| machine.machine.tick(now));
        }
    }

    fn machine_says(&mut self, client: usize, output: Output) {
        match output {
            Output::Connect { generation } => {
                let link = self.dial(client, false);
                if let Some(machine) = self.machine(client) {
                    machine.link = Some((generation, link));
                }
            }
            Output::Send { generation, frame } => {
                let request = std::rc::Rc::new(frame.request);
                if let Some(link) = self.link_of(client, generation) {
                    self.trace.line(self.now, format_args!("client {client}: sends {} {request:?}", frame.seq));
                    self.send(link, true, Message::Request { seq: frame.seq, session: None, request });
                }
            }
            Output::Ping { generation } => {
                if let Some(link) = self.link_of(client, generation) {
                    self.send(link, true, Message::Ping);
                }
            }
            Output::Disconnect { generation } => {
                if let Some(link) = self.link_of(client, generation) {
                    self.hang_up(link);
                }
            }
            Output::Complete { op } => self.machine_completes(client, op),
            Output::Lost { token, reason } => self.flow_loses(client, token, Loss::Told(reason)),
            Output::Lease { session, deadline } => {
                let Some(node) = self.nodes.get(client) else { return };
                let until = node.clock.when(deadline);
                self.judge.see(&Fact::Lease { client, session, until });
            }
            Output::SessionOver { session, reason } => {
                self.trace.line(self.now, format_args!("client {client}: session {session} is over: {reason:?}"));
            }
            Output::Observed { observer } => self.machine_observed(client, observer),
            _ => {}
        }
    }

    fn machine_completes(&mut self, client: usize, op: OpId) {
        let purpose = self.machine(client).and_then(|machine| machine.asks.get(&op).cloned());
        match purpose {
            Some(Purpose::Flow(flow)) => self.result_is_ready(client, flow),
            Some(_) => {
                let result = self.claim(client, op);
                if let (Some(purpose), Some(result)) = (purpose, result) {
                    self.aside_done(client, &purpose, result);
                }
            }
            None => {}
        }
    }

    /// Takes an operation's result.
    pub(super) fn claim(&mut self, client: usize, op: OpId) -> Option<Got> {
        let result = self.machine_input(client, |machine, now| machine.machine.claim(now, op))??;
        if let Some(machine) = self.machine(client) {
            machine.asks.remove(&op);
        }
        Some(match result {
            Ok(Outcome::Granted { grant, session }) => Got::Held { token: grant.token, session },
            Ok(Outcome::Elected { leader }) => Got::Held { token: leader.term, session: leader.session },
            Ok(Outcome::Answer(response)) => Got::Answer(response),
            Ok(_) => Got::Done,
            Err(OpError::Refused(problem)) => Got::Refused(problem.code),
            Err(error) => Got::Failed(error.to_string()),
        })
    }

    /// Begins an operation. `None` if the machine does not take it.
    pub(super) fn machine_ask(&mut self, client: usize, purpose: Purpose, request: Request) -> Option<OpId> {
        self.machine_input(client, |machine, now| {
            let started = match request {
                Request::Acquire(acquire) => machine.machine.acquire(now, acquire).ok(),
                Request::Campaign(campaign) => machine.machine.campaign(now, campaign).ok(),
                Request::Release(release) => machine.machine.release(now, release.token),
                Request::Resign(resign) => match resign.to {
                    Some(to) => machine.machine.transfer(now, resign.term, to),
                    None => machine.machine.release(now, resign.term),
                },
                other => Query::new(other).ok().and_then(|query| machine.machine.query(now, query).ok()),
            };
            // The purpose must be known before an output names the operation.
            if let Some(op) = started {
                machine.asks.insert(op, purpose);
            }
            started
        })?
    }

    fn machine_observed(&mut self, client: usize, observer: ObserverId) {
        let index = self
            .machine(client)
            .and_then(|machine| machine.observers.iter().position(|known| *known == observer))
            .unwrap_or_default();
        while let Some(news) = self.machine(client).and_then(|machine| machine.machine.observed(observer)) {
            let Ok(election) = news else { continue };
            let term = election.leader.as_ref().map(|leader| leader.term);
            self.trace.line(self.now, format_args!("client {client}: sees {} led in {term:?}", election.election));
            self.judge.see(&Fact::Observed { client, observer: index as u64, election: &election.election, term });
        }
    }

    fn link_of(&mut self, client: usize, generation: Generation) -> Option<LinkId> {
        self.machine(client)?.link.filter(|(of, _)| *of == generation).map(|(_, link)| link)
    }

    fn generation_of(&mut self, client: usize, link: LinkId) -> Option<Generation> {
        self.machine(client)?.link.filter(|(_, of)| *of == link).map(|(generation, _)| generation)
    }

    pub(super) fn machine_receives(&mut self, client: usize, link: LinkId, message: Message) {
        let Some(generation) = self.generation_of(client, link) else { return };
        self.machine_input(client, |client, now| match message {
            Message::Accepted => client.machine.connected(now, generation),
            Message::Refused => {
                client.machine.connect_failed(now, generation, Failure::Unreachable("connection refused".into()));
            }
            Message::Answer { re, result } => {
                client.frames += 1;
                let frame = ServerFrame::Answer { seq: client.frames, re, result };
                client.machine.received(now, generation, frame);
            }
            Message::Push(event) => {
                client.frames += 1;
                client.machine.received(now, generation, ServerFrame::Push { seq: client.frames, event });
            }
            Message::Pong => {
                client.machine.heard(now, generation);
                client.machine.tick(now);
            }
            Message::Close => client.machine.disconnected(now, generation),
            _ => {}
        });
    }

    pub(super) fn machine_lost(&mut self, client: usize, link: LinkId) {
        if let Some(generation) = self.generation_of(client, link) {
            self.machine_input(client, |client, now| client.machine.disconnected(now, generation));
        }
    }

    /// Lets the client watch an election.
    pub(super) fn machine_observe(&mut self, client: usize, election: &str) {
        let id = self.machine_input(client, |machine, now| {
            let id = machine.machine.observe(now, election.into()).ok();
            machine.observers.extend(id);
            id
        });
        if let Some(Some(id)) = id {
            self.machine_observed(client, id);
        }
    }

    pub(super) fn machine_close(&mut self, client: usize) {
        self.machine_input(client, |machine, now| {
            let op = machine.machine.close(now);
            machine.asks.insert(op, Purpose::Close);
        });
    }
}

/// How long a task usually takes to look at a result.
pub(super) const LOOK: u64 = MS / 5;
