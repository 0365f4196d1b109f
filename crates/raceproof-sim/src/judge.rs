//! Judges a run: shows every fact to every invariant, keeps the ledger, and at the end has the history checked.

use std::collections::BTreeMap;
use std::rc::Rc;
use std::sync::Arc;

use raceproof_core::id::{SessionId, Token};
use raceproof_core::wire::{Code, Request};

use crate::histories::Histories;
use crate::invariants::{Invariant, Ledger, all};
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

/// Counts of what happened.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// Grants that programs were handed.
    pub grants: u64,
    /// Grants that programs lost.
    pub losses: u64,
    /// Starts of the hub beyond the first.
    pub hub_restarts: u64,
    /// Stalls of the hub.
    pub stalls: u64,
    /// Snapshots written.
    pub snapshots: u64,
    /// Clients stopped.
    pub freezes: u64,
    /// Clients killed.
    pub client_crashes: u64,
    /// Partitions.
    pub partitions: u64,
    /// Thefts by operators.
    pub steals: u64,
    /// Writes to resources.
    pub writes: u64,
    /// Reads and writes that a fence refused.
    pub fenced_off: u64,
    /// Increments lost on resources that do not look at tokens.
    pub unfenced_lost: u64,
    /// Calls judged by the history checker.
    pub history_calls: u64,
    /// Parts of a history that the checker gave up on.
    pub undecided: u64,
    /// Refusals by code.
    pub refusals: BTreeMap<Code, u64>,
}

impl Report {
    /// Counts a refusal.
    pub fn refused(&mut self, code: Code) {
        *self.refusals.entry(code).or_default() += 1;
    }

    /// Adds another report.
    pub fn add(&mut self, other: &Self) {
        self.grants += other.grants;
        self.losses += other.losses;
        self.hub_restarts += other.hub_restarts;
        self.stalls += other.stalls;
        self.snapshots += other.snapshots;
        self.freezes += other.freezes;
        self.client_crashes += other.client_crashes;
        self.partitions += other.partitions;
        self.steals += other.steals;
        self.writes += other.writes;
        self.fenced_off += other.fenced_off;
        self.unfenced_lost += other.unfenced_lost;
        self.history_calls += other.history_calls;
        self.undecided += other.undecided;
        for (code, count) in &other.refusals {
            *self.refusals.entry(*code).or_default() += count;
        }
    }
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
            self.report.hub_restarts += 1;
        }
        self.histories.see(&self.ledger, fact);
        self.ledger.apply(fact);
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
        self.report.history_calls += conclusion.calls;
        self.report.undecided += conclusion.undecided;
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
