//! After a crash with grants of the class `reclaim` (L13): nothing is granted until every session that could hold one
//! has come back and said what it holds, or has run out its lease.
//!
//! The log says `ReclaimBegins` before the first such grant is heard of, so a start knows whether there can be any.
//! What ended against its holder's will is on disk before such a grant builds on it, so a holder cannot bring back
//! what was taken from it. Where two holders claim one name, the greater token is right: tokens are given in the order
//! of grants, and the smaller one's release was lost with the crash.

use std::collections::BTreeSet;

use super::want::claim_of;
use super::{Hub, Mutation, Op};
use crate::id::{Lsn, SessionId, Token};
use crate::lock::{Grant, Key, Terms};
use crate::session::Asked;
use crate::time::Time;
use crate::wire::{Class, Held, LostReason};

/// Whom the hub waits for before it grants anything.
#[derive(Debug)]
pub(super) struct Recovery {
    pub(super) awaited: BTreeSet<SessionId>,
    /// The greatest token that may have been granted before the crash.
    pub(super) token_max: Token,
}

impl Hub {
    /// The record that a reclaim-class grant with the last token rests on; long on disk, except for the first of a run,
    /// of a block of tokens, and after somebody lost a grant against their will.
    pub(super) fn reclaim_visible_from(&mut self) -> Lsn {
        if self.config.has(Mutation::ReclaimUnmarked) {
            return Lsn::new(0);
        }
        if !self.reclaim {
            self.reclaim = true;
            self.reclaim_marked = self.lsn_of_this_input();
            self.ops.push(Op::ReclaimBegins);
        }
        self.reclaim_marked.max(self.tokens.last_reserved_by()).max(self.revoked)
    }

    /// A session came back or is over; with the last of them, granting begins again.
    pub(super) fn returned(&mut self, id: SessionId) {
        let Some(recovery) = &mut self.recovery else { return };
        recovery.awaited.remove(&id);
        if recovery.awaited.is_empty() {
            self.recovery = None;
            self.reclaim = false;
            self.ops.push(Op::ReclaimSettled);
            self.touched.extend(self.table.keys_waited_for());
        }
    }

    /// Installs again a grant that a session reports and the log does not know, if nothing speaks against it.
    pub(super) fn reclaim_grant(&mut self, now: Time, id: SessionId, held: Held) {
        let token = held.token;
        let Some(recovery) = self.recovery.as_ref().filter(|_| !self.config.has(Mutation::ReclaimRefused)) else {
            return;
        };
        let awaited = recovery.awaited.contains(&id) && token <= recovery.token_max && held.class == Class::Reclaim;
        let known = self.sessions.get(&id).is_none_or(|session| session.past(token).is_some());
        let named = !held.names.is_empty()
            && held.names.len() <= self.config.names_max
            && held.names.iter().all(|name| self.check_name(name).is_ok());
        let Ok(claim) = claim_of(held.mode, held.permits, held.take) else { return };
        if !awaited || known || !named || self.table.grant(token).is_some() {
            return;
        }
        let keys: Vec<_> = held.names.into_iter().map(Key::lock).collect();
        let in_the_way: BTreeSet<_> = keys
            .iter()
            .flat_map(|key| self.table.holders(key))
            .filter(|grant| !grant.claim.goes_with(claim))
            .map(|grant| grant.token)
            .collect();
        if in_the_way.iter().any(|other| *other > token) {
            return;
        }
        for older in in_the_way {
            self.end_grant(older, LostReason::Released);
        }
        self.install(now, id, token, keys, claim, held.lock_delay_ms.min(self.config.lock_delay_ms_max));
    }

    fn install(
        &mut self,
        now: Time,
        id: SessionId,
        token: Token,
        keys: Vec<Key>,
        claim: crate::lock::Claim,
        lock_delay_ms: u64,
    ) {
        let terms = Terms {
            class: Class::Reclaim,
            lock_delay_ms,
            request: None,
            value: "".into(),
            owner: None,
            // Which flow of the session it was is not known any more, and a false alarm is worse than none.
            flows: false,
        };
        let since_unix_ms = self.unix_ms(now);
        let visible_from = self.lsn_of_this_input();
        let (session, op_keys, op_terms) = (id, keys.clone(), terms.clone());
        self.ops.push(Op::Granted { token, session, keys: op_keys, claim, terms: op_terms, since_unix_ms });
        if let Some(session) = self.sessions.get_mut(&id) {
            session.grants.insert(token);
            if let Some(request) = &terms.request {
                session.note(request, Asked::Granted(token));
            }
        }
        self.table.insert(Grant { token, session, keys, claim, terms, since_unix_ms, visible_from });
    }
}
