//! L5: a session's lease is never cut short, least of all by a restart or a stall of the server, and its grants end
//! within 20 ms of it.

use raceproof_core::id::SessionId;
use raceproof_core::wire::{Code, Event, LostReason, Request};

use super::{Invariant, Ledger};
use crate::world::clock::{Instant, MS};
use crate::world::fact::Fact;

/// Leases end this much after their time at the latest; the simulator's hub ticks up to half a millisecond late.
const LATE: u64 = 21 * MS;

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

    /// The true time that passes while the hub's clock counts so many microseconds.
    fn true_micros(&self, micros: u64) -> u64 {
        micros * 1_000_000 / u64::try_from(1_000_000 + self.hub_drift_ppm).unwrap_or(1_000_000)
    }

    /// Until when the hub owes a session its lease, and until when it may at most last.
    fn lease(&self, ledger: &Ledger, id: SessionId) -> Option<(Instant, Instant)> {
        let session = ledger.sessions.get(&id.as_u64()).filter(|session| session.ended.is_none())?;
        let ttl = self.true_micros(session.ttl).saturating_sub(2);
        let owed = session.owed_from.max(ledger.grace_from);
        let at_most = session.renewal_asked.max(ledger.grace_at_most_from);
        Some((owed + ttl, at_most + ttl))
    }

    fn not_early(&self, ledger: &Ledger, id: SessionId, how: &str) -> Result<(), String> {
        match self.lease(ledger, id) {
            Some((until, _)) if ledger.at < until => Err(format!(
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
                    let until = self.lease(ledger, holder.session).map(|(_, at_most)| at_most);
                    if until.is_some_and(|until| ledger.at > until.max(self.went_on) + LATE) {
                        return Err(format!("token {} outlives its session's lease: {until:?}", holder.token));
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }
}
