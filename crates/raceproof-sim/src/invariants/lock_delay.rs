//! Lock-delay, for resources that cannot check a token: when a lease ends by itself, what was held under it with a
//! lock-delay stays closed for as long, to everybody.

use std::sync::Arc;

use raceproof_core::id::{SessionId, Token};
use raceproof_core::wire::{Class, Code, Event, LockPage, LostReason, Request, Response};
use rustc_hash::{FxHashMap, FxHashSet};

use super::l5_leases::{owed, true_micros};
use super::{Asked, Invariant, Ledger};
use crate::world::clock::Instant;
use crate::world::fact::Fact;

#[derive(Debug)]
pub(super) struct LockDelay {
    hub_drift_ppm: i64,
    /// Grants with a lock-delay.
    delayed: Vec<Token>,
    /// What the hub held already when it started: it was granted before, whoever hears of it now.
    from_before: FxHashSet<Token>,
    /// Names that the hub lists as closed: since when that is known, and until when.
    closed: FxHashMap<Arc<str>, (Instant, Instant)>,
    /// Sessions whose lease is known to have ended by itself: not before when, and since when that is known; none if
    /// the hub crashed since, which may have undone it.
    expired: FxHashMap<SessionId, (Instant, Option<Instant>)>,
}

impl LockDelay {
    pub(super) fn new(hub_drift_ppm: i64) -> Self {
        Self {
            hub_drift_ppm,
            delayed: Vec::new(),
            from_before: FxHashSet::default(),
            closed: FxHashMap::default(),
            expired: FxHashMap::default(),
        }
    }

    fn has_expired(&mut self, ledger: &Ledger, id: SessionId) {
        if let Some(not_before) = owed(ledger, id, self.hub_drift_ppm) {
            let (_, known) = self.expired.entry(id).or_insert_with(|| (not_before.min(ledger.at), None));
            known.get_or_insert(ledger.at);
        }
    }

    fn listed(&mut self, ledger: &Ledger, table: &LockPage) {
        // What is listed as closed after its time was open in between, and is known to be closed only from here on.
        self.closed.retain(|_, (_, until)| *until > ledger.at);
        for (name, left_ms) in table.locks.iter().filter_map(|lock| Some((&lock.name, lock.delay_left_ms?))) {
            let until = ledger.at + true_micros(left_ms * 1_000, self.hub_drift_ppm).saturating_sub(2);
            self.closed.entry(name.clone()).or_insert((ledger.at, until)).1 = until;
        }
    }

    fn granted(&mut self, ledger: &Ledger, token: Token, asked: &Asked) -> Result<(), String> {
        if asked.taking.lock_delay_ms > 0 {
            self.delayed.push(token);
        }
        if self.from_before.contains(&token) {
            return Ok(());
        }
        for name in &asked.taking.names {
            let closed = self.closed.get(name);
            if closed.is_some_and(|(known, until)| asked.at > *known && ledger.at < *until) {
                return Err(format!("token {token} was granted while {name:?} was closed: {closed:?}"));
            }
        }
        for other in &self.delayed {
            let Some(grant) = ledger.grants.get(&other.as_u64()).filter(|grant| grant.taking.meets(&asked.taking))
            else {
                continue;
            };
            let lost = grant.taking.class == Class::Reclaim && grant.run != ledger.run;
            if *other >= token || lost || grant.over.is_some() || grant.excused {
                continue;
            }
            let since = match self.expired.get(&grant.session) {
                // What goes with it may be granted as long as its lease is not over.
                Some((not_before, Some(known))) if asked.at >= *known => Some(*not_before),
                _ if grant.taking.claim.goes_with(asked.taking.claim) => None,
                Some((not_before, _)) => Some(*not_before),
                None => owed(ledger, grant.session, self.hub_drift_ppm),
            };
            let delay = true_micros(grant.taking.lock_delay_ms * 1_000, self.hub_drift_ppm).saturating_sub(2);
            if let Some(until) = since.map(|since| since + delay).filter(|until| *until > ledger.at) {
                return Err(format!(
                    "token {token} was granted within the lock-delay of token {other} ({:?}), which lasts until {until}",
                    grant.taking.names
                ));
            }
        }
        Ok(())
    }
}

impl Invariant for LockDelay {
    fn name(&self) -> &'static str {
        "lock_delay"
    }

    fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::HubDown => {
                self.closed.clear();
                for (_, known) in self.expired.values_mut() {
                    *known = None;
                }
            }
            Fact::HubUp { table, .. } => {
                self.from_before =
                    table.locks.iter().flat_map(|lock| &lock.holders).map(|holder| holder.token).collect();
            }
            Fact::Listed(table) => self.listed(ledger, table),
            Fact::Pushed { link, event: Event::SessionEnded { reason: LostReason::Expired } } => {
                if let Some(id) = ledger.links.get(link).and_then(|link| link.session) {
                    self.has_expired(ledger, id);
                }
            }
            Fact::Answered { link, seq, result: Err(problem) } if problem.code == Code::SessionUnknown => {
                let Some(pending) = ledger.pending.get(&(*link, *seq)) else { return Ok(()) };
                let id = match &*pending.request {
                    Request::Resume(resume) => Some(resume.session.id),
                    _ => pending.session,
                };
                if let Some(id) = id {
                    self.has_expired(ledger, id);
                }
            }
            Fact::Answered { link, seq, result: Ok(response) } => {
                let Response::Granted(grant) = &**response else { return Ok(()) };
                let pending = ledger.pending.get(&(*link, *seq));
                let asked = pending.and_then(|pending| ledger.takings.get(pending.taking?));
                if let Some(asked) = asked.filter(|_| !ledger.grants.contains_key(&grant.token.as_u64())) {
                    return self.granted(ledger, grant.token, asked);
                }
            }
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use raceproof_core::wire::{Acquire, Lock};

    use super::*;
    use crate::invariants::Taking;

    fn closed_for(delay_left_ms: u64) -> LockPage {
        let lock = Lock {
            name: "x".into(),
            permits: None,
            holders: Vec::new(),
            waiters_count: 0,
            waiters: Vec::new(),
            delay_left_ms: Some(delay_left_ms),
        };
        LockPage { locks: vec![lock], next: None }
    }

    fn asked(at: Instant) -> Asked {
        let taking = Taking::of(&Request::Acquire(Acquire::one("x"))).expect("an acquire");
        Asked { session: SessionId::new(1), taking, at, copies: 1 }
    }

    #[test]
    fn a_name_that_was_open_between_two_looks_is_known_to_be_closed_only_from_the_second_on() {
        let (mut delays, mut ledger) = (LockDelay::new(0), Ledger::default());
        let token = Token::new(1);
        for at in [1_000, 4_000] {
            ledger.at = at;
            delays.listed(&ledger, &closed_for((7_000 - at) / 1_000));
        }
        assert!(delays.granted(&ledger, token, &asked(500)).is_ok(), "it may have been granted before");
        assert!(delays.granted(&ledger, token, &asked(2_000)).is_err(), "it was closed all the time");
        ledger.at = 9_000;
        delays.listed(&ledger, &closed_for(5));
        assert!(delays.granted(&ledger, token, &asked(2_000)).is_ok(), "it was open for a while after 7 ms");
        ledger.at = 9_500;
        assert!(delays.granted(&ledger, token, &asked(9_200)).is_err());
    }
}
