//! The tasks of a client's program: they take, hold, write to what they protect, and give back; they give up waiting,
//! look late, hold too long, ask for more while they hold, stand for election and hand it over.

use std::rc::Rc;
use std::sync::Arc;

use raceproof_core::id::{SessionId, Token};
use raceproof_core::wire::{Acquire, Campaign, Check, Class, Code, Mode, Page, Request, WAIT_MS_FOREVER};

use super::asks::{AskId, Got, Purpose};
use super::clock::{Instant, MS};
use super::fact::{Fact, Loss};
use super::node::{Holding, Speaker};
use super::{Event, World};
use crate::report::Happening;

/// What a task is at.
#[derive(Debug)]
pub(super) enum At {
    /// Nothing.
    Idle,
    /// It waits for what it asked.
    Asking { ask: AskId, request: Rc<Request>, since: Instant, give_up: Instant },
    /// It holds something, until then.
    Holding { until: Instant },
    /// It has ended.
    Done,
}

/// A task.
#[derive(Debug)]
pub(super) struct Flow {
    pub(super) owner: Arc<str>,
    pub(super) at: At,
    pub(super) held: Vec<Holding>,
    turn: u64,
}

impl Flow {
    pub(super) const fn is_asking(&self) -> bool {
        matches!(self.at, At::Asking { .. })
    }

    pub(super) fn new(index: usize) -> Self {
        Self { owner: format!("f{index}").into(), at: At::Idle, held: Vec::new(), turn: 0 }
    }
}

impl World {
    fn flow(&mut self, client: usize, flow: usize) -> Option<&mut Flow> {
        self.nodes.get_mut(client)?.flows.get_mut(flow)
    }

    pub(super) fn wake_flow(&mut self, client: usize, index: usize, delay: u64) {
        let Some(life) = self.nodes.get(client).map(|node| node.life) else { return };
        let Some(flow) = self.flow(client, index) else { return };
        flow.turn += 1;
        let turn = flow.turn;
        self.after(delay, Event::FlowStep { client, life, flow: index, turn });
    }

    pub(super) fn flow_step(&mut self, client: usize, life: u32, index: usize, turn: u64) {
        if self.nodes.get(client).is_none_or(|node| node.life != life || node.is_dead()) {
            return;
        }
        let now = self.now;
        let Some(flow) = self.flow(client, index).filter(|flow| flow.turn == turn) else { return };
        match &flow.at {
            At::Idle => self.flow_idle(client, index),
            At::Asking { ask, request, since, give_up } => {
                let (ask, request, since, give_up) = (*ask, request.clone(), *since, *give_up);
                match self.take_result(client, ask) {
                    Some(got) => self.flow_got(client, index, &request, since, got),
                    None if give_up <= now => {
                        self.trace.line(now, format_args!("client {client} flow {index}: gives up"));
                        self.count(Happening::GaveUp);
                        self.judge.see(&Fact::Unlearned { request: &request, asked: since });
                        self.give_up(client, ask);
                        self.flow_goes_on(client, index);
                    }
                    None => {}
                }
            }
            At::Holding { until } => {
                if *until <= now {
                    self.flow_gives_back(client, index);
                } else {
                    self.flow_works(client, index);
                }
            }
            At::Done => {}
        }
    }

    fn flow_idle(&mut self, client: usize, index: usize) {
        if self.calm {
            if let Some(flow) = self.flow(client, index) {
                flow.at = At::Done;
            }
            self.maybe_close(client);
            return;
        }
        if self.rng.chance(80) {
            self.look_around(client);
        }
        let request = self.draw(client, index);
        self.flow_asks(client, index, request);
    }

    fn flow_asks(&mut self, client: usize, index: usize, request: Request) {
        let now = self.now;
        let hasty = self.rng.chance(self.plan.cancel);
        let give_up = if hasty { now + self.rng.range(0, 150 * MS) } else { Instant::MAX };
        self.trace.line(now, format_args!("client {client} flow {index}: wants {request:?}"));
        if let Some(flow) = self.flow(client, index) {
            // Whatever woke it before is out of date.
            flow.turn += 1;
        }
        let Some(ask) = self.ask(client, Purpose::Flow(index), request.clone()) else {
            let delay = self.rng.range(5 * MS, 40 * MS);
            self.wake_flow(client, index, delay);
            return;
        };
        if let Some(flow) = self.flow(client, index) {
            flow.at = At::Asking { ask, request: Rc::new(request), since: now, give_up };
        }
        if hasty {
            self.wake_flow(client, index, give_up - now);
        }
    }

    fn flow_got(&mut self, client: usize, index: usize, request: &Rc<Request>, since: Instant, got: Got) {
        match got {
            Got::Held { token, session } => {
                self.held(client, request, token, session, since);
                let holding = Holding { token, request: request.clone(), read: [None; 2] };
                if let Some(flow) = self.flow(client, index) {
                    flow.held.push(holding);
                }
                self.touch_resources(client, token, request, true);
            }
            Got::Refused(code) => {
                self.trace.line(self.now, format_args!("client {client} flow {index}: refused {code}"));
                self.judge.report_mut().refused(code);
                self.judge.see(&Fact::Refused { client, request, asked: since, code });
                if code == Code::Deadlock {
                    self.flow_gives_all_back(client, index);
                }
            }
            Got::Failed(why) => {
                self.trace.line(self.now, format_args!("client {client} flow {index}: {why}"));
                self.judge.see(&Fact::Unlearned { request, asked: since });
            }
            Got::Done | Got::Answer(_) => {}
        }
        self.flow_goes_on(client, index);
    }

    /// Holds what it has, or rests.
    fn flow_goes_on(&mut self, client: usize, index: usize) {
        let longest = if self.calm { 20 * MS } else { self.plan.hold };
        let hold = if self.rng.chance(30) && !self.calm { longest * 4 } else { self.rng.range(0, longest) };
        let until = self.now + hold;
        let rest = self.rng.range(0, 20 * MS);
        let Some(flow) = self.flow(client, index) else { return };
        let delay = if flow.held.is_empty() {
            flow.at = At::Idle;
            rest
        } else {
            flow.at = At::Holding { until };
            hold / 2
        };
        self.wake_flow(client, index, delay);
    }

    /// In the middle of holding.
    fn flow_works(&mut self, client: usize, index: usize) {
        let Some(flow) = self.flow(client, index) else { return };
        let At::Holding { until } = flow.at else { return };
        let held = flow.held.clone();
        for holding in &held {
            self.touch_resources(client, holding.token, &holding.request, false);
        }
        if !self.calm && held.len() < 3 && self.rng.chance(self.plan.nested) {
            let request = self.draw_nested(client, index, &held);
            self.flow_asks(client, index, request);
        } else {
            let left = until.saturating_sub(self.now);
            self.wake_flow(client, index, left);
        }
    }

    /// At the end of holding: gives one thing back, or all.
    fn flow_gives_back(&mut self, client: usize, index: usize) {
        if self.rng.chance(700) {
            self.flow_gives_all_back(client, index);
        } else if let Some(holding) = self.flow(client, index).and_then(|flow| flow.held.pop()) {
            let to = self.successor(client, &holding);
            self.give_back(client, &holding, to);
        }
        self.flow_goes_on(client, index);
    }

    fn flow_gives_all_back(&mut self, client: usize, index: usize) {
        while let Some(holding) = self.flow(client, index).and_then(|flow| flow.held.pop()) {
            let to = self.successor(client, &holding);
            self.give_back(client, &holding, to);
        }
    }

    /// Sometimes a leader names who shall follow.
    fn successor(&mut self, client: usize, holding: &Holding) -> Option<SessionId> {
        let Request::Campaign(campaign) = &*holding.request else { return None };
        if self.calm || !self.rng.chance(300) {
            return None;
        }
        let election = campaign.election.clone();
        self.judge.candidate(&election, client)
    }

    /// Something is lost: the task that holds it goes on without.
    pub(super) fn flow_loses(&mut self, client: usize, token: Token, loss: Loss) {
        let Some(node) = self.nodes.get_mut(client) else { return };
        for flow in &mut node.flows {
            flow.held.retain(|holding| holding.token != token);
        }
        self.trace.line(self.now, format_args!("client {client}: loses {token}: {loss:?}"));
        self.count(Happening::Lost);
        self.judge.see(&Fact::Disbelieves { client, token, loss });
    }

    /// Asks something of no consequence.
    fn look_around(&mut self, client: usize) {
        let name = self.lock_name();
        let request = match self.rng.below(6) {
            0 => Request::Locks(Page { limit: 3, ..Page::default() }),
            1 => Request::Lock { name },
            2 => Request::Sessions(Page { limit: 10, ..Page::default() }),
            3 => Request::Check(Check { name, token: Token::new(self.rng.range(1, 30)) }),
            4 if name.ends_with(['0', '2', '4']) => Request::Election { name: "e0".into() },
            4 => Request::Elections(Page { limit: 1, ..Page::default() }),
            _ => {
                if matches!(self.nodes.get(client).map(|node| &node.speaker), Some(Speaker::Machine(_))) {
                    self.machine_observe(client, if name.len().is_multiple_of(2) { "e0" } else { "e1" });
                }
                return;
            }
        };
        self.ask(client, Purpose::Query, request);
    }

    fn lock_name(&mut self) -> Arc<str> {
        format!("n{}", self.rng.index(self.plan.names)).into()
    }

    /// What a task wants next.
    fn draw(&mut self, client: usize, index: usize) -> Request {
        let wait_ms = match self.rng.below(20) {
            0..=4 => 0,
            5..=11 => self.rng.range(1, 300),
            _ => WAIT_MS_FOREVER,
        };
        if self.rng.chance(self.plan.campaign) {
            let election = if self.rng.chance(700) { "e0" } else { "e1" };
            let value = format!("client {client}").into();
            return Request::Campaign(Campaign { election: election.into(), request: None, value, wait_ms });
        }
        Request::Acquire(self.draw_acquire(client, index, wait_ms))
    }

    fn draw_acquire(&mut self, client: usize, index: usize, wait_ms: u64) -> Acquire {
        let mut names = vec![self.lock_name()];
        if self.rng.chance(self.plan.several) {
            let other = self.lock_name();
            if !names.contains(&other) {
                names.push(other);
            }
        }
        let (mut mode, mut permits, mut take) = (Mode::Exclusive, None, 1);
        match self.rng.below(20) {
            0..=4 => mode = Mode::Shared,
            5..=7 => {
                names = vec!["s0".into()];
                permits = Some(3);
                take = if self.rng.chance(300) { 2 } else { 1 };
            }
            _ => {}
        }
        let single = self.plan.clients.get(client).is_some_and(|client| client.flows == 1);
        let owner = self.flow(client, index).map(|flow| flow.owner.clone()).filter(|_| !single);
        Acquire {
            request: None,
            names,
            mode,
            permits,
            take,
            wait_ms,
            class: if self.rng.chance(self.plan.reclaim) { Class::Reclaim } else { Class::Durable },
            priority: if self.rng.chance(self.plan.priority) { self.rng.pick(&[1, 2, 3]) } else { 0 },
            lock_delay_ms: if self.rng.chance(self.plan.lock_delay) { self.rng.range(1, 400) } else { 0 },
            owner,
        }
    }

    /// What a task wants beside what it holds. The hub does not know which task holds a grant that was taken up again
    /// after a crash, and does not look for cycles through elections: such waits are bounded, as the manual says.
    fn draw_nested(&mut self, client: usize, index: usize, held: &[Holding]) -> Request {
        let mut acquire = self.draw_acquire(client, index, WAIT_MS_FOREVER);
        let is_plain = |holding: &Holding| match &*holding.request {
            Request::Acquire(acquire) => acquire.class == Class::Durable,
            _ => false,
        };
        if acquire.class == Class::Reclaim || !held.iter().all(is_plain) || self.rng.chance(300) {
            acquire.wait_ms = self.rng.range(0, 200);
        }
        Request::Acquire(acquire)
    }
}
