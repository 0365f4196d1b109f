//! What the tasks of a program ask of whatever speaks for it, and how they learn what came of it.

use std::rc::Rc;

use raceproof_core::client::OpId;
use raceproof_core::id::{SessionId, Token};
use raceproof_core::wire::{Class, Code, Mode, Release, Request, Resign, Response};

use super::World;
use super::clock::MS;
use super::fact::{Fact, Loss};
use super::machine::LOOK;
use super::node::{Holding, Speaker};
use crate::report::Happening;

/// Names something asked, within its client.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum AskId {
    Op(OpId),
    Call(u64),
}

/// What it was asked for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(super) enum Purpose {
    /// A task waits for it.
    Flow(usize),
    /// A grant is given back, and nobody waits.
    GiveBack(Token),
    /// A leadership is handed over, and nobody waits.
    HandOver(Token),
    /// Somebody wants to know, and looks at the answer.
    Query,
    /// The client ends.
    Close,
}

/// What came of it.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum Got {
    Held { token: Token, session: SessionId },
    Done,
    Answer(Box<Response>),
    Refused(Code),
    Failed(String),
}

impl World {
    /// Asks. `None` if it cannot be asked.
    pub(super) fn ask(&mut self, client: usize, purpose: Purpose, request: Request) -> Option<AskId> {
        match self.nodes.get(client).map(|node| &node.speaker) {
            Some(Speaker::Machine(_)) => self.machine_ask(client, purpose, request).map(AskId::Op),
            Some(Speaker::Http(_)) => self.http_ask(client, purpose, request).map(AskId::Call),
            _ => None,
        }
    }

    /// Takes the result of what a task asked.
    pub(super) fn take_result(&mut self, client: usize, ask: AskId) -> Option<Got> {
        match ask {
            AskId::Op(op) => self.claim(client, op),
            AskId::Call(call) => self.http_result(client, call),
        }
    }

    /// A task does not wait any more.
    pub(super) fn give_up(&mut self, client: usize, ask: AskId) {
        match ask {
            AskId::Op(op) => {
                self.machine_input(client, |machine, now| {
                    machine.machine.cancel(now, op);
                    machine.asks.remove(&op);
                });
            }
            AskId::Call(call) => self.http_give_up(client, call),
        }
    }

    /// Something that a task waits for has a result: it looks at it soon, or late.
    pub(super) fn result_is_ready(&mut self, client: usize, flow: usize) {
        let late = !self.calm && self.rng.chance(self.plan.late);
        let delay = if late { self.rng.range(20 * MS, 1_000 * MS) } else { self.rng.range(0, LOOK) };
        self.wake_flow(client, flow, delay);
    }

    /// Something that nobody waits for is done.
    pub(super) fn aside_done(&mut self, client: usize, purpose: &Purpose, got: Got) {
        match (purpose, got) {
            (Purpose::GiveBack(token) | Purpose::HandOver(token), Got::Done) => {
                if matches!(purpose, Purpose::HandOver(_)) {
                    self.count(Happening::HandedOver);
                }
                self.judge.see(&Fact::GaveBack { client, token: *token });
            }
            (Purpose::HandOver(token), Got::Refused(Code::NotCandidate)) => self.steps_down(client, *token),
            (Purpose::Close, _) => self.client_closed(client),
            _ => {}
        }
    }

    /// A program gives something back: it believes in it no more from here on.
    pub(super) fn give_back(&mut self, client: usize, holding: &Holding, to: Option<SessionId>) {
        let token = holding.token;
        self.trace.line(self.now, format_args!("client {client}: gives {token} back"));
        self.judge.see(&Fact::Disbelieves { client, token, loss: Loss::Released });
        let request = match &*holding.request {
            Request::Campaign(campaign) => {
                Request::Resign(Resign { election: campaign.election.clone(), term: token, to })
            }
            Request::Acquire(acquire) => {
                let name = acquire.names.first().cloned().unwrap_or_default();
                Request::Release(Release { name, token })
            }
            _ => return,
        };
        let purpose = if to.is_some() { Purpose::HandOver(token) } else { Purpose::GiveBack(token) };
        self.ask(client, purpose, request);
    }

    /// Nobody stands that the lead could be handed to: whoever speaks plain HTTP has to say again that it steps down.
    fn steps_down(&mut self, client: usize, term: Token) {
        if let Some(election) = self.judge.election_of(term)
            && matches!(self.nodes.get(client).map(|node| &node.speaker), Some(Speaker::Http(_)))
        {
            self.ask(client, Purpose::GiveBack(term), Request::Resign(Resign { election, term, to: None }));
        }
    }

    fn count_grant(&mut self, client: usize, request: &Request) {
        self.count(Happening::Granted);
        let node = self.nodes.get(client);
        let is_http = node.is_some_and(|node| matches!(node.speaker, Speaker::Http(_)));
        let is_nested =
            node.is_some_and(|node| node.flows.iter().any(|flow| flow.is_asking() && !flow.held.is_empty()));
        let (mut shared, mut permits, mut several, mut reclaim) = (false, false, false, false);
        if let Request::Acquire(acquire) = request {
            shared = acquire.mode == Mode::Shared;
            permits = acquire.permits.is_some();
            several = acquire.names.len() > 1;
            reclaim = acquire.class == Class::Reclaim;
        }
        let kinds = [
            (is_http, Happening::GrantedOverHttp),
            (is_nested, Happening::GrantedNested),
            (shared, Happening::GrantedShared),
            (permits, Happening::GrantedPermits),
            (several, Happening::GrantedSeveral),
            (reclaim, Happening::GrantedReclaim),
            (matches!(request, Request::Campaign(_)), Happening::Elected),
        ];
        for (_, kind) in kinds.into_iter().filter(|(is, _)| *is) {
            self.count(kind);
        }
    }

    /// A program is handed something.
    pub(super) fn held(&mut self, client: usize, request: &Rc<Request>, token: Token, session: SessionId, asked: u64) {
        self.trace.line(self.now, format_args!("client {client}: holds {token} in session {session}"));
        self.count_grant(client, request);
        self.judge.see(&Fact::Believes { client, session, token, request, asked });
    }
}
