//! Elections: a leader is the holder of a name of its own kind, its term is the fencing token (E1–E3, E6, E7).

use std::sync::Arc;

use super::want::Want;
use super::{Caller, ConnKind, Hub, Mutation, Reply};
use crate::id::{ConnId, SessionId, Token};
use crate::lock::{Claim, Key, Terms, Ticket};
use crate::time::Time;
use crate::wire::{Campaign, Class, Code, Election, Event, Leader, Problem, Resign, Response};

impl Hub {
    pub(super) fn campaign(&mut self, now: Time, caller: &Caller, campaign: Campaign) -> Result<Reply, Problem> {
        let session = self.speaker(caller)?;
        self.check_name(&campaign.election)?;
        if let Some(request) = &campaign.request {
            self.check_short(request.as_str())?;
        }
        let max = self.config.value_bytes_max;
        if campaign.value.len() > max {
            let detail = format!("a candidate's value has at most {max} bytes; this one has {}", campaign.value.len());
            return Err(Problem::new(Code::ValueTooLarge, detail));
        }
        let terms = Terms {
            // A term outlives a crash, or observers could see it twice.
            class: Class::Durable,
            lock_delay_ms: 0,
            request: campaign.request,
            value: campaign.value,
            owner: None,
            // Candidates stand for as long as it takes; that is no deadlock.
            flows: false,
        };
        let keys = vec![Key::election(campaign.election)];
        let want = Want { keys, claim: Claim::Exclusive, terms, rank: 0, wait_ms: campaign.wait_ms };
        self.ask(now, caller, session, want)
    }

    pub(super) fn resign(&mut self, caller: &Caller, resign: &Resign) -> Result<Reply, Problem> {
        let session = self.speaker(caller)?;
        let key = Key::election(resign.election.clone());
        let leads = self.table.grant(resign.term).is_some_and(|grant| grant.session == session);
        if let Some(to) = resign.to.filter(|_| leads && !self.config.has(Mutation::SuccessorIgnored)) {
            self.choose(&key, to)?;
        }
        if resign.to.is_some() && leads && self.config.has(Mutation::TransferKeepsLead) {
            self.table.forget_holder(resign.term);
            self.note_leader(&key);
            self.touch(key);
            return Ok(self.once_given_back(session, Response::Released {}));
        }
        self.give_back(session, &key, resign.term)?;
        Ok(self.once_given_back(session, Response::Released {}))
    }

    /// Puts a candidate before all others.
    fn choose(&mut self, key: &Key, to: SessionId) -> Result<(), Problem> {
        let Some(id) = self.table.waiters(key).find(|wait| wait.session == to).map(|wait| wait.ticket.id()) else {
            let detail = format!("session {to} does not stand for {:?}; it leads on", key.name);
            return Err(Problem::new(Code::NotCandidate, detail));
        };
        if let Some(mut wait) = self.table.dequeue(id) {
            wait.ticket = Ticket::new(Ticket::RANK_CHOSEN, id);
            self.table.enqueue(wait);
        }
        Ok(())
    }

    pub(super) fn observe(&mut self, now: Time, caller: &Caller, election: Arc<str>) -> Result<Reply, Problem> {
        self.check_name(&election)?;
        let max = self.config.observed_max;
        let Some(conn) = self.conns.get_mut(&caller.conn).filter(|conn| conn.kind == ConnKind::Socket) else {
            return Err(Problem::new(Code::BadRequest, "events need a WebSocket"));
        };
        if conn.observed.len() >= max && !conn.observed.contains(&election) {
            let detail = format!("a connection observes at most {max} elections");
            return Err(Problem::new(Code::TooManyRequests, detail));
        }
        conn.observed.insert(election.clone());
        self.observers.entry(election.clone()).or_default().insert(caller.conn);
        let shown = self.election(now, election);
        let after = self.table.holders(&Key::election(shown.election.clone())).map(|grant| grant.visible_from).max();
        Ok(Reply::After(after.unwrap_or(self.promised).max(self.promised), Response::Observing(shown)))
    }

    pub(super) fn unobserve(&mut self, caller: &Caller, election: &Arc<str>) -> Reply {
        if let Some(conn) = self.conns.get_mut(&caller.conn) {
            conn.observed.remove(election);
        }
        self.stop_observing(election, caller.conn);
        Reply::Now(Response::Unobserved {})
    }

    pub(super) fn stop_observing(&mut self, election: &Arc<str>, conn: ConnId) {
        if let Some(observers) = self.observers.get_mut(election) {
            observers.remove(&conn);
            if observers.is_empty() {
                self.observers.remove(election);
            }
        }
    }

    /// Tells observers of every leader that this input made or unmade, in one order for all (E3).
    pub(super) fn announce_elections(&mut self) {
        if self.elections_changed.is_empty() {
            return;
        }
        for name in std::mem::take(&mut self.elections_changed) {
            let Some(observers) = self.observers.get(&name).cloned() else { continue };
            let election = self.leadership(name);
            if election.leader.is_some() && self.config.has(Mutation::LeaderUntold) {
                continue;
            }
            for conn in observers {
                self.push(conn, self.lsn_of_this_input(), Event::Leader(election.clone()));
            }
        }
    }

    pub(super) fn leader(&self, election: &Arc<str>, session: SessionId, term: Token, value: &Arc<str>) -> Leader {
        Leader {
            election: election.clone(),
            term,
            value: value.clone(),
            session,
            session_name: self.session_name(session),
            lease_ms: self.lease_ms(session),
        }
    }

    /// Who leads, as observers are told of it.
    fn leadership(&self, name: Arc<str>) -> Election {
        let leads = self.table.holders(&Key::election(name.clone())).next();
        let leader = leads.map(|grant| self.leader(&name, grant.session, grant.token, &grant.terms.value));
        Election { election: name, leader, ..Election::default() }
    }

    /// An election as it is looked at.
    pub(super) fn election(&self, now: Time, name: Arc<str>) -> Election {
        let key = Key::election(name.clone());
        let leads = self.table.holders(&key).next().map(|grant| self.holder(now, grant));
        Election {
            led_ms: leads.as_ref().map(|leads| leads.age_ms),
            lease_left_ms: leads.map(|leads| leads.lease_left_ms),
            candidates_count: Some(self.table.waiters_count(&key) as u64),
            candidates: self.waiters(now, &key),
            ..self.leadership(name)
        }
    }
}
