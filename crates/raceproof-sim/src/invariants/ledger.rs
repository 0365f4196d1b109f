//! What an outsider can know from the facts: which sessions live, what was asked and answered, who holds what and who
//! believes so. The invariants read it; it judges nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::sync::Arc;

use raceproof_core::id::{RequestId, SessionId, Token};
use raceproof_core::wire::{Event, LostReason, OnDisconnect, Problem, Request, Response};
use rustc_hash::FxHashMap;

use super::taking::Taking;
use super::views::{Asked, Grant, Link, Pending, Session};
use crate::world::clock::{Instant, MS};
use crate::world::fact::Fact;
use crate::world::net::LinkId;

/// A stall of the hub that it cannot miss, and one that it may take for one: it ticks every 20 ms, and counts from the
/// last tick.
const STALL: u64 = 60 * MS;
const PERHAPS_STALL: u64 = 28 * MS;
/// How much longer a stall may seem to the hub than it was.
const SEEMS_LONGER: u64 = 22 * MS;

/// Everything an outsider knows.
#[derive(Debug, Default)]
pub struct Ledger {
    /// True time.
    pub at: Instant,
    /// Counts the hub's starts.
    pub run: u32,
    /// When the hub started: nothing that was believed then may be given away for a lease.
    pub grace_from: Instant,
    /// When the hub last went on after what it may have taken for a stall.
    went_on: Instant,
    /// Sessions by id.
    pub sessions: FxHashMap<u64, Session>,
    /// Open connections.
    pub links: FxHashMap<LinkId, Link>,
    /// Requests that have no answer.
    pub pending: FxHashMap<(LinkId, u64), Pending>,
    /// Takings in the order of arrival.
    pub takings: Vec<Asked>,
    /// Those of them that wait, as far as is known, in the order of arrival.
    pub open: Vec<usize>,
    /// Takings of the present run by session and id.
    pub by_id: FxHashMap<(u64, RequestId), usize>,
    /// Grants by token.
    pub grants: BTreeMap<u64, Grant>,
    /// Believed in and not known to have ended.
    pub live: Vec<Token>,
    /// When operators took which lock away.
    pub steals: Vec<(Instant, Arc<str>)>,
    /// The greatest token that the hub let go.
    pub newest: Option<Token>,
    /// Every election that somebody stood for.
    pub elections: BTreeSet<Arc<str>>,
    /// When each client's process was last started.
    pub started: FxHashMap<usize, Instant>,
}

impl Ledger {
    /// Whether the grant's holder believes in it at `self.at`.
    #[must_use]
    pub fn is_believed(&self, grant: &Grant) -> bool {
        let lease_runs = self.sessions.get(&grant.session.as_u64()).is_some_and(|s| s.believed_until > self.at);
        matches!(grant.believed, Some((_, None))) && lease_runs && !grant.excused
    }

    /// The ids under which a client asked for this since then: one, unless several of its flows want the same.
    #[must_use]
    pub fn ids_of(&self, client: usize, taking: &Taking, since: Instant) -> Vec<RequestId> {
        let lately = self.takings.iter().rev().take_while(|asked| asked.at >= since);
        let alike = lately.filter(|asked| {
            self.sessions.get(&asked.session.as_u64()).is_some_and(|session| session.client == client)
                && asked.taking.election == taking.election
                && asked.taking.names == taking.names
                && asked.taking.claim == taking.claim
        });
        alike.filter_map(|asked| asked.taking.id.clone()).collect()
    }

    /// How often each client asked under each id.
    #[must_use]
    pub fn copies(&self) -> FxHashMap<(usize, &RequestId), u32> {
        let mut copies = FxHashMap::default();
        for asked in &self.takings {
            if let Some(session) = self.sessions.get(&asked.session.as_u64())
                && let Some(id) = &asked.taking.id
            {
                *copies.entry((session.client, id)).or_default() += asked.copies;
            }
        }
        copies
    }

    /// Takes in a fact, after the invariants have looked at it.
    pub fn apply(&mut self, fact: &Fact<'_>) {
        match fact {
            Fact::HubUp { run, .. } => self.hub_up(*run),
            Fact::HubResumed { since } => {
                self.may_have_expired(*since);
                self.spare(self.at - since);
            }
            Fact::HubDown => self.hub_down(),
            Fact::Connected { link, client, http } => {
                self.links.insert(*link, Link { client: *client, http: *http, session: None });
            }
            Fact::Disconnected { link } => self.disconnected(*link),
            Fact::Started { client } => {
                self.started.insert(*client, self.at);
            }
            Fact::Asked { link, seq, session, request } => {
                let bound = self.links.get(link).and_then(|link| link.session);
                let session = session.as_ref().map(|key| key.id).or(bound);
                self.asked(*link, *seq, session, request);
            }
            Fact::Answered { link, seq, result } => self.answered(*link, *seq, result),
            Fact::Pushed { event: Event::Lost { token, reason, .. }, .. } => self.over(*token, *reason),
            Fact::Pushed { link, event: Event::SessionEnded { .. } } => {
                if let Some(session) = self.links.get(link).and_then(|link| link.session) {
                    self.detach(*link, session);
                }
            }
            Fact::Lease { session, until, .. } => {
                if let Some(session) = self.sessions.get_mut(&session.as_u64()) {
                    session.believed_until = session.believed_until.max(*until);
                    session.believed_from.get_or_insert(self.at);
                }
            }
            Fact::Believes { token, .. } => {
                if let Some(grant) = self.grants.get_mut(&token.as_u64()) {
                    grant.believed = Some((self.at, None));
                    self.live.push(*token);
                }
            }
            Fact::Disbelieves { token, .. } => self.disbelieve(*token),
            _ => {}
        }
    }

    /// Notes that a program stopped believing.
    fn disbelieve(&mut self, token: Token) {
        self.live.retain(|live| *live != token);
        if let Some(Grant { believed: Some((_, until @ None)), .. }) = self.grants.get_mut(&token.as_u64()) {
            *until = Some(self.at);
        }
    }

    fn hub_up(&mut self, run: u32) {
        self.run = run;
        self.grace_from = self.at;
        for session in self.sessions.values_mut() {
            session.link = None;
            session.spared = false;
            session.at_most_from = self.at;
            session.graced = false;
        }
    }

    /// The hub heard nobody for a while.
    fn spare(&mut self, gap: u64) {
        if gap < PERHAPS_STALL {
            return;
        }
        self.went_on = self.at;
        for session in self.sessions.values_mut() {
            if gap > STALL {
                // Clocks count whole microseconds.
                let moved = session.owed_from.max(self.grace_from) + gap - 2;
                session.owed_from = if session.spared { moved } else { self.at };
            }
            session.spared = true;
            let at_most = session.at_most_from + gap + gap / 64 + SEEMS_LONGER;
            session.at_most_from = if session.graced { at_most } else { at_most.max(self.at) };
            session.graced |= gap > STALL;
        }
    }

    /// What ran out before the hub went away or stood still gets no grace.
    fn may_have_expired(&mut self, before: Instant) {
        let grace_from = self.grace_from;
        for session in self.sessions.values_mut() {
            // A clock that runs fast makes a lease shorter.
            if session.owed_from.max(grace_from) + session.ttl - session.ttl / 64 <= before {
                session.ended.get_or_insert(before);
            }
        }
    }

    fn hub_down(&mut self) {
        self.may_have_expired(self.at);
        self.links.clear();
        self.pending.clear();
        self.by_id.clear();
        self.open.clear();
    }

    fn detach(&mut self, link: LinkId, session: SessionId) {
        if let Some(session) = self.sessions.get_mut(&session.as_u64())
            && session.link == Some(link)
        {
            session.link = None;
        }
    }

    fn disconnected(&mut self, link: LinkId) {
        let Some(gone) = self.links.remove(&link) else { return };
        let here: Vec<_> = self.pending.iter().filter(|((on, _), _)| *on == link).map(|(key, _)| *key).collect();
        for key in here {
            let Some(taking) = self.pending.remove(&key).and_then(|pending| pending.taking) else { continue };
            // Another copy of the request may keep its place.
            if gone.http && !self.pending.values().any(|pending| pending.taking == Some(taking)) {
                self.open.retain(|open| *open != taking);
            }
        }
        let Some(id) = gone.session else { return };
        let Some(session) = self.sessions.get_mut(&id.as_u64()) else { return };
        if session.link != Some(link) {
            return;
        }
        session.link = None;
        if session.ends_with_link {
            self.end_session(id);
        }
    }

    /// The session ends, or may, other than by its lease.
    fn end_session(&mut self, id: SessionId) {
        let at = self.at;
        if let Some(session) = self.sessions.get_mut(&id.as_u64()) {
            session.ended.get_or_insert(at);
        }
        let takings = &self.takings;
        self.open.retain(|open| takings.get(*open).is_some_and(|asked| asked.session != id));
        for grant in self.grants.values_mut().filter(|grant| grant.session == id) {
            grant.over.get_or_insert(at);
            grant.excused = true;
        }
    }

    fn over(&mut self, token: Token, reason: LostReason) {
        let at = self.at;
        if let Some(grant) = self.grants.get_mut(&token.as_u64()) {
            grant.over.get_or_insert(at);
            grant.excused |= reason == LostReason::Stolen;
        }
    }

    fn asked(&mut self, link: LinkId, seq: u64, session: Option<SessionId>, request: &Rc<Request>) {
        let at = self.at;
        if let Some(session) = session.and_then(|id| self.sessions.get_mut(&id.as_u64()))
            && matches!(**request, Request::Keepalive {})
        {
            session.is_renewed(at);
        }
        let mut taking = None;
        match &**request {
            Request::Acquire(_) | Request::Campaign(_) => {
                taking = session.and_then(|session| self.asked_taking(session, request));
            }
            Request::Cancel { request } => {
                let index = session.and_then(|session| self.by_id.get(&(session.as_u64(), request.clone())).copied());
                self.open.retain(|open| Some(*open) != index);
                // It may have been granted by an earlier run of the hub.
                let its =
                    |grant: &&mut Grant| Some(grant.session) == session && grant.taking.id.as_ref() == Some(request);
                for grant in self.grants.values_mut().filter(its) {
                    grant.over.get_or_insert(at);
                }
            }
            Request::Release(release) => self.given_back(session, release.token),
            Request::Resign(resign) => self.given_back(session, resign.term),
            Request::Steal { name } => self.stolen(name),
            Request::Resume(resume) => self.resumed(link, resume),
            Request::End {} => {
                if let Some(session) = session {
                    self.end_session(session);
                }
            }
            _ => {}
        }
        self.pending.insert((link, seq), Pending { session, request: request.clone(), taking, at });
    }

    fn given_back(&mut self, session: Option<SessionId>, token: Token) {
        let at = self.at;
        if let Some(grant) = self.grants.get_mut(&token.as_u64()).filter(|grant| Some(grant.session) == session) {
            grant.over.get_or_insert(at);
        }
    }

    fn stolen(&mut self, name: &Arc<str>) {
        let at = self.at;
        self.steals.push((at, name.clone()));
        for grant in self.grants.values_mut().filter(|g| !g.taking.election && g.taking.names.contains(name)) {
            grant.over.get_or_insert(at);
            grant.excused = true;
        }
    }

    fn resumed(&mut self, link: LinkId, resume: &raceproof_core::wire::Resume) {
        let at = self.at;
        let id = resume.session.id;
        for (token, grant) in &mut self.grants {
            if grant.session == id && !resume.held.iter().any(|held| held.token.as_u64() == *token) {
                grant.over.get_or_insert(at);
            }
        }
        if let Some(session) = self.sessions.get_mut(&id.as_u64()) {
            session.is_renewed(at);
            session.link = Some(link);
        }
        if let Some(link) = self.links.get_mut(&link) {
            link.session = Some(id);
        }
    }

    fn asked_taking(&mut self, session: SessionId, request: &Rc<Request>) -> Option<usize> {
        let taking = Taking::of(request)?;
        let known = taking.id.clone().and_then(|id| self.by_id.get(&(session.as_u64(), id)).copied());
        // One that is over (answered, or given up by closing its connection) is asked afresh.
        if let Some(index) = known.filter(|index| self.open.contains(index)) {
            if let Some(asked) = self.takings.get_mut(index) {
                asked.copies += 1;
            }
            return Some(index);
        }
        let index = self.takings.len();
        if taking.election {
            self.elections.extend(taking.names.iter().cloned());
        }
        self.open.push(index);
        if let Some(id) = taking.id.clone() {
            self.by_id.insert((session.as_u64(), id), index);
        }
        self.takings.push(Asked { session, taking, at: self.at, copies: 1 });
        Some(index)
    }

    fn answered(&mut self, link: LinkId, seq: u64, result: &Result<Box<Response>, Box<Problem>>) {
        let Some(pending) = self.pending.remove(&(link, seq)) else { return };
        match result.as_deref() {
            Ok(Response::Opened { session, ttl_ms, .. }) => {
                let Request::Open(open) = &*pending.request else { return };
                let on = self.links.get_mut(&link);
                let (client, socket) = on.as_ref().map_or((0, false), |on| (on.client, !on.http));
                if let Some(on) = on {
                    on.session = socket.then_some(session.id);
                }
                let session_view = Session {
                    client,
                    ttl: ttl_ms * 1_000,
                    ends_with_link: open.on_disconnect == OnDisconnect::End,
                    socket,
                    link: socket.then_some(link),
                    renewed: pending.at,
                    at_most_from: self.at,
                    graced: false,
                    owed_from: pending.at,
                    spared: self.went_on > pending.at,
                    ended: None,
                    believed_until: 0,
                    believed_from: None,
                };
                self.sessions.insert(session.id.as_u64(), session_view);
            }
            Ok(Response::Renewed { .. } | Response::Resumed { .. }) => {
                let session = match &*pending.request {
                    Request::Resume(resume) => Some(resume.session.id),
                    _ => pending.session,
                };
                if let Some(session) = session.and_then(|id| self.sessions.get_mut(&id.as_u64())) {
                    session.renewed = session.renewed.max(pending.at);
                    session.owed_from = session.owed_from.max(pending.at);
                    session.spared = self.went_on > pending.at;
                    session.ended = None;
                }
            }
            Ok(Response::Granted(grant)) => self.granted(pending, grant.token),
            Ok(Response::Elected(leader)) => self.granted(pending, leader.term),
            Err(_) => {
                if let Some(index) = pending.taking {
                    self.open.retain(|open| *open != index);
                }
            }
            Ok(Response::Stolen { tokens }) => {
                for token in tokens {
                    self.over(*token, LostReason::Stolen);
                }
            }
            Ok(_) => {}
        }
    }

    fn granted(&mut self, pending: Pending, token: Token) {
        let Some(session) = pending.session else { return };
        let Some(taking) = Taking::of(&pending.request) else { return };
        if let Some(index) = pending.taking {
            self.open.retain(|open| *open != index);
        }
        self.newest = self.newest.max(Some(token));
        // An operator may have taken it before its answer left.
        let mut steals = self.steals.iter().filter(|(_, name)| !taking.election && taking.names.contains(name));
        let stolen = steals.rfind(|(at, _)| *at >= pending.at).map(|(at, _)| *at);
        let grant = Grant {
            session,
            taking: Rc::new(taking),
            emitted: self.at,
            run: self.run,
            over: stolen,
            believed: None,
            excused: stolen.is_some(),
        };
        self.grants.entry(token.as_u64()).or_insert(grant);
    }
}
