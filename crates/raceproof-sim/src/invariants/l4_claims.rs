//! L4: who gave up, timed out, or whose session ended is not granted anything any more; and an HTTP request that went
//! before its answer leaves no grant behind that nobody was told of; and what is granted to a session that is away passes
//! on when nobody claims it in time. (That nothing is lost by it for others shows at the end of a run: every wait must
//! end.)

use std::collections::BTreeMap;

use raceproof_core::id::{RequestId, SessionId, Token};
use raceproof_core::wire::{Code, Event, LockPage, LostReason, Request, Response};
use rustc_hash::FxHashSet;

use super::{Invariant, Ledger, Taking};
use crate::world::clock::{Instant, MS, SECOND};
use crate::world::fact::Fact;

/// The longest time in which a grant can be claimed, and how late the hub may look at its clock.
const CLAIM: u64 = 5 * SECOND;
const LATE: u64 = 21 * MS;

#[derive(Debug, Default)]
pub(super) struct Claims {
    /// Requests whose wait is over without a grant, by what ended it.
    over: BTreeMap<(u64, RequestId), &'static str>,
    dead: FxHashSet<SessionId>,
    /// What the hub held already when it started: answers from before may have been lost with the crash.
    from_before: FxHashSet<Token>,
    /// What the hub let go an answer of, also to a connection that was gone by then.
    told: FxHashSet<Token>,
    /// Sessions that came back in this run of the hub, and so may have claimed what they never heard of.
    back: FxHashSet<SessionId>,
    /// What is held by sessions that are away and was told to nobody, since when that is known.
    unclaimed: BTreeMap<Token, Instant>,
}

impl Invariant for Claims {
    fn name(&self) -> &'static str {
        "l4_claims"
    }

    fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::HubDown => {
                self.over.clear();
                self.dead.clear();
                self.told.clear();
                self.back.clear();
                self.unclaimed.clear();
            }
            // A clock that was not looked at for long.
            Fact::HubResumed { .. } => self.unclaimed.clear(),
            Fact::Asked { request, .. } => {
                if let Request::Resume(resume) = &***request {
                    self.back.insert(resume.session.id);
                }
            }
            Fact::HubUp { table, .. } => {
                self.from_before =
                    table.locks.iter().flat_map(|lock| &lock.holders).map(|holder| holder.token).collect();
            }
            Fact::Listed(table) => {
                self.all_are_claimed(ledger, table)?;
                return self.all_are_told(ledger, table);
            }
            Fact::Pushed { link, event: Event::SessionEnded { reason } } if *reason != LostReason::Superseded => {
                self.dead.extend(ledger.links.get(link).and_then(|link| link.session));
            }
            Fact::Answered { link, seq, result } => {
                if let Ok(Response::Granted(grant)) = result.as_deref() {
                    self.told.insert(grant.token);
                }
                let Some(pending) = ledger.pending.get(&(*link, *seq)) else { return Ok(()) };
                let Some(session) = pending.session else { return Ok(()) };
                let taking = Taking::of(&pending.request);
                let id = taking.as_ref().and_then(|taking| taking.id.clone());
                match (result.as_deref(), &*pending.request) {
                    (Ok(Response::Granted(_) | Response::Elected(_)), _) => return self.granted(session, id),
                    (Ok(Response::Ended {}), _) => {
                        self.dead.insert(session);
                    }
                    (Ok(Response::Cancelled {}), Request::Cancel { request }) => {
                        self.over.insert((session.as_u64(), request.clone()), "was cancelled");
                    }
                    (Err(problem), _) => self.refused(session, id, problem.code),
                    _ => {}
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl Claims {
    /// What nobody is there to claim does not stay for longer than it may be claimed.
    fn all_are_claimed(&mut self, ledger: &Ledger, table: &LockPage) -> Result<(), String> {
        let mut unclaimed = BTreeMap::new();
        for holder in table.locks.iter().flat_map(|lock| &lock.holders) {
            let Some(session) = ledger.sessions.get(&holder.session.as_u64()) else { continue };
            let is_known = self.told.contains(&holder.token) || self.from_before.contains(&holder.token);
            if is_known || self.back.contains(&holder.session) || !session.socket || session.link.is_some() {
                continue;
            }
            let since = self.unclaimed.get(&holder.token).copied().unwrap_or(ledger.at);
            let claim = CLAIM.min(session.ttl / 2);
            // A clock that runs slow makes it longer.
            if ledger.at > since + claim + claim / 64 + LATE {
                return Err(format!("token {} waits to be claimed since {since}, and does not pass on", holder.token));
            }
            unclaimed.insert(holder.token, since);
        }
        self.unclaimed = unclaimed;
        Ok(())
    }

    /// Nothing is held over HTTP that nobody was told of and nobody waits for.
    fn all_are_told(&self, ledger: &Ledger, table: &LockPage) -> Result<(), String> {
        for (lock, holder) in table.locks.iter().flat_map(|lock| lock.holders.iter().map(move |holder| (lock, holder)))
        {
            let over_http = ledger.sessions.get(&holder.session.as_u64()).is_some_and(|session| !session.socket);
            if !over_http
                || ledger.grants.contains_key(&holder.token.as_u64())
                || self.from_before.contains(&holder.token)
            {
                continue;
            }
            let waits = ledger.pending.values().any(|pending| {
                let taking = pending.taking.and_then(|index| ledger.takings.get(index));
                pending.session == Some(holder.session)
                    && taking.is_some_and(|asked| asked.taking.names.contains(&lock.name))
            });
            if !waits {
                return Err(format!(
                    "token {} of {:?} was told to nobody, and nobody of session {} waits for it",
                    holder.token, lock.name, holder.session
                ));
            }
        }
        Ok(())
    }

    fn granted(&self, session: SessionId, id: Option<RequestId>) -> Result<(), String> {
        if self.dead.contains(&session) {
            return Err(format!("session {session} was granted something after it had ended"));
        }
        let Some(id) = id else { return Ok(()) };
        match self.over.get(&(session.as_u64(), id.clone())) {
            Some(how) => Err(format!("request {id} of session {session} was granted after it {how}")),
            None => Ok(()),
        }
    }

    fn refused(&mut self, session: SessionId, id: Option<RequestId>, code: Code) {
        let how = match code {
            Code::SessionUnknown => {
                self.dead.insert(session);
                return;
            }
            Code::WaitTimedOut => "timed out",
            Code::Cancelled => "was cancelled",
            Code::Deadlock => "was refused for a deadlock",
            Code::LockHeld => "was refused",
            _ => return,
        };
        if let Some(id) = id {
            self.over.insert((session.as_u64(), id), how);
        }
    }
}
