//! L5: a session's lease is never cut short, least of all by a restart or a stall of the server, and its grants end
//! within 20 ms of it, and whoever waited under it is told (E6).

use raceproof_core::id::SessionId;
use raceproof_core::wire::{Code, Event, LostReason, Request};

use super::{Invariant, Ledger};
use crate::world::clock::{Instant, MS};
use crate::world::fact::Fact;

/// Leases end this much after their time at the latest; the simulator's hub ticks up to half a millisecond late.
const LATE: u64 = 21 * MS;
/// How much longer the answer to a grant that is over by then may wait for the disk.
const DISK: u64 = 50 * MS;

/// The true time that passes while the hub's clock counts so many microseconds.
pub(super) fn true_micros(micros: u64, hub_drift_ppm: i64) -> u64 {
    micros * 1_000_000 / u64::try_from(1_000_000 + hub_drift_ppm).unwrap_or(1_000_000)
}

/// Until when the hub owes a session its lease.
pub(super) fn owed(ledger: &Ledger, id: SessionId, hub_drift_ppm: i64) -> Option<Instant> {
    let session = ledger.sessions.get(&id.as_u64()).filter(|session| session.ended.is_none())?;
    Some(session.owed_from.max(ledger.grace_from) + true_micros(session.ttl, hub_drift_ppm).saturating_sub(2))
}

#[derive(Debug)]
pub(super) struct Leases {
    hub_drift_ppm: i64,
    /// When the hub last went on after a stall or a start: it may be busy for a moment.
    went_on: Instant,
}

impl Leases {
    pub(super) const fn new(hub_drift_ppm: i64) -> Self {
        Self { hub_drift_ppm, went_on: 0 }
    }

    /// Until when a session's lease may last at the most, whatever became of it.
    fn at_most(&self, ledger: &Ledger, id: SessionId) -> Option<Instant> {
        let session = ledger.sessions.get(&id.as_u64())?;
        Some((session.at_most_from + true_micros(session.ttl, self.hub_drift_ppm)).max(self.went_on) + LATE)
    }

    /// Nobody waits for an answer under a lease that is over.
    fn all_are_told(&self, ledger: &Ledger) -> Result<(), String> {
        for ((link, seq), pending) in ledger.pending.iter().filter(|(_, pending)| pending.taking.is_some()) {
            let until = pending.session.and_then(|id| self.at_most(ledger, id));
            if until.is_some_and(|until| ledger.at > until + DISK) {
                return Err(format!(
                    "request {seq} on link {link} has no answer, though the lease of session {:?} was over at {until:?}",
                    pending.session
                ));
            }
        }
        Ok(())
    }

    fn not_early(&self, ledger: &Ledger, id: SessionId, how: &str) -> Result<(), String> {
        match owed(ledger, id, self.hub_drift_ppm) {
            Some(until) if ledger.at < until => Err(format!(
                "session {id} {how}, but its lease lasts until {until}: {:?}",
                ledger.sessions.get(&id.as_u64())
            )),
            _ => Ok(()),
        }
    }
}

impl Invariant for Leases {
    fn name(&self) -> &'static str {
        "l5_leases"
    }

    fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::HubUp { .. } | Fact::HubResumed { .. } => self.went_on = ledger.at,
            Fact::Pushed { link, event: Event::SessionEnded { reason: LostReason::Expired } } => {
                if let Some(id) = ledger.links.get(link).and_then(|link| link.session) {
                    return self.not_early(ledger, id, "expired");
                }
            }
            Fact::Answered { link, seq, result: Err(problem) } if problem.code == Code::SessionUnknown => {
                let Some(pending) = ledger.pending.get(&(*link, *seq)) else { return Ok(()) };
                let id = match &*pending.request {
                    Request::Resume(resume) => Some(resume.session.id),
                    _ => pending.session,
                };
                if let Some(id) = id {
                    return self.not_early(ledger, id, "is not known");
                }
            }
            Fact::Listed(table) => {
                for holder in table.locks.iter().flat_map(|lock| &lock.holders) {
                    let until = self.at_most(ledger, holder.session);
                    if until.is_some_and(|until| ledger.at > until) {
                        return Err(format!("token {} outlives its session's lease: {until:?}", holder.token));
                    }
                }
                return self.all_are_told(ledger);
            }
            _ => {}
        }
        Ok(())
    }
}
