//! Judges a run: shows every fact to every invariant, keeps the ledger, and at the end has the history checked.

use std::rc::Rc;
use std::sync::Arc;

use raceproof_core::id::{SessionId, Token};
use raceproof_core::wire::Request;

use rustc_hash::FxHashMap;

use crate::histories::Histories;
use crate::invariants::{Invariant, Ledger, Taking, all};
use crate::report::{Happening, Report};
use crate::world::clock::Instant;
use crate::world::fact::Fact;
use crate::world::net::LinkId;

/// A promise that was broken.
#[derive(Clone, Debug)]
pub struct Violated {
    /// Which invariant says so.
    pub invariant: &'static str,
    /// What happened.
    pub what: String,
    /// When, by true time.
    pub at: Instant,
}

/// The judge.
#[derive(Debug)]
pub(crate) struct Judge {
    ledger: Ledger,
    invariants: Vec<Box<dyn Invariant>>,
    histories: Histories,
    violated: Option<Violated>,
    report: Report,
    only: Option<&'static str>,
    /// The last link on which each client's HTTP requests came.
    last_links: FxHashMap<usize, LinkId>,
}

impl Judge {
    pub(crate) fn new(hub_drift_ppm: i64, only: Option<&'static str>) -> Self {
        Self {
            only,
            ledger: Ledger::default(),
            invariants: all(hub_drift_ppm),
            histories: Histories::default(),
            violated: None,
            report: Report::default(),
            last_links: FxHashMap::default(),
        }
    }

    pub(crate) const fn set_time(&mut self, at: Instant) {
        self.ledger.at = at;
    }

    /// Shows a fact to every invariant.
    pub(crate) fn see(&mut self, fact: &Fact<'_>) {
        for invariant in &mut self.invariants {
            if let Err(what) = invariant.see(&self.ledger, fact) {
                let invariant = invariant.name();
                if self.only.is_none_or(|only| only == invariant) {
                    self.violated.get_or_insert(Violated { invariant, what, at: self.ledger.at });
                }
            }
        }
        if matches!(fact, Fact::HubUp { run, .. } if *run > 1) {
            self.report.count(Happening::Restarted);
        }
        if let Fact::Asked { link, session, request, .. } = fact {
            self.count_asked(*link, session.map(|key| key.id), request);
        }
        self.histories.see(&self.ledger, fact);
        self.ledger.apply(fact);
    }

    fn count_asked(&mut self, link: LinkId, session: Option<SessionId>, request: &Request) {
        let on = self.ledger.links.get(&link);
        let session = session.or_else(|| on.and_then(|on| on.session));
        let id = Taking::of(request).and_then(|taking| taking.id);
        if let (Some(session), Some(id)) = (session, id)
            && self.ledger.by_id.contains_key(&(session.as_u64(), id))
        {
            self.report.count(Happening::Repeated);
        }
        if let Some(on) = on.filter(|on| on.http) {
            let last = self.last_links.entry(on.client).or_default();
            if *last > link {
                self.report.count(Happening::Overtaken);
            }
            *last = link.max(*last);
        }
    }

    /// Something is wrong that a part of the world noticed by itself.
    pub(crate) fn complain(&mut self, invariant: &'static str, what: String) {
        if self.only.is_none_or(|only| only == invariant) {
            self.violated.get_or_insert(Violated { invariant, what, at: self.ledger.at });
        }
    }

    /// A fence refused a token. No holder whose grant is valid may be refused.
    pub(crate) fn fenced_off(&mut self, token: Token) {
        if let Some(grant) = self.ledger.grants.get(&token.as_u64())
            && self.ledger.is_believed(grant)
        {
            self.complain("l9_fence", format!("the holder of token {token} is fenced off while its grant is valid"));
        }
    }

    /// A session other than the client's own that stands for an election.
    pub(crate) fn candidate(&self, election: &str, client: usize) -> Option<SessionId> {
        let stands = |index: &&usize| {
            self.ledger.takings.get(**index).is_some_and(|asked| {
                let session = self.ledger.sessions.get(&asked.session.as_u64());
                asked.taking.election
                    && asked.taking.names.iter().any(|name| **name == *election)
                    && session.is_some_and(|session| session.client != client)
            })
        };
        let index = self.ledger.open.iter().find(stands)?;
        self.ledger.takings.get(*index).map(|asked| asked.session)
    }

    /// What was asked under a number that has no answer yet, and for whom.
    pub(crate) fn request(&self, link: LinkId, seq: u64) -> Option<(SessionId, Rc<Request>)> {
        let pending = self.ledger.pending.get(&(link, seq))?;
        Some((pending.session?, pending.request.clone()))
    }

    /// Every election that somebody stood for.
    pub(crate) fn elections(&self) -> Vec<Arc<str>> {
        self.ledger.elections.iter().cloned().collect()
    }

    /// The election that was won with this term.
    pub(crate) fn election_of(&self, term: Token) -> Option<Arc<str>> {
        let grant = self.ledger.grants.get(&term.as_u64()).filter(|grant| grant.taking.election)?;
        grant.taking.names.first().cloned()
    }

    pub(crate) const fn is_content(&self) -> bool {
        self.violated.is_none()
    }

    pub(crate) const fn violated(&self) -> Option<&Violated> {
        self.violated.as_ref()
    }

    pub(crate) fn into_violated(self) -> Option<Violated> {
        self.violated
    }

    /// Has the history checked.
    pub(crate) fn conclude(&mut self) {
        let conclusion = self.histories.judge(&self.ledger);
        self.report.count_many(Happening::Judged, conclusion.calls);
        self.report.count_many(Happening::Undecided, conclusion.undecided);
        self.report.count_many(Happening::UndecidedRefusals, conclusion.undecided_refusals);
        if let Some(what) = conclusion.violation {
            self.complain("history", what);
        }
    }

    pub(crate) const fn report_mut(&mut self) -> &mut Report {
        &mut self.report
    }

    pub(crate) fn report(&self) -> Report {
        self.report.clone()
    }
}
