//! L3: first come, first served, among equals. Nobody is overtaken by a later request that would delay it: not by one
//! that tries, not by shared ones, not by one for several names. Judged by tokens, which are given in the order of
//! grants; the order in which answers leave depends on the disk.

use std::collections::BTreeMap;

use raceproof_core::id::{RequestId, Token};
use raceproof_core::wire::{Request, Response};
use rustc_hash::FxHashSet;

use super::{Claim, Invariant, Ledger, Taking};
use crate::world::fact::Fact;

#[derive(Debug, Default)]
pub(super) struct Fifo {
    /// The least token by which a waiting request was overtaken.
    overtaken: BTreeMap<usize, Token>,
    /// Requests of earlier runs of the hub, which may have been granted then.
    before: FxHashSet<(u64, RequestId)>,
    /// Leaders have named successors, which come first.
    handed_over: bool,
}

impl Invariant for Fifo {
    fn name(&self) -> &'static str {
        "l3_fifo"
    }

    fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::HubDown => {
                self.overtaken.clear();
                self.before.extend(ledger.by_id.keys().cloned());
            }
            Fact::Asked { request, .. } => {
                self.handed_over |= matches!(&***request, Request::Resign(resign) if resign.to.is_some());
            }
            Fact::Answered { link, seq, result: Ok(response) } => {
                let token = match &**response {
                    Response::Granted(grant) => grant.token,
                    Response::Elected(leader) => leader.term,
                    _ => return Ok(()),
                };
                if ledger.grants.contains_key(&token.as_u64()) {
                    return Ok(());
                }
                let taking = ledger.pending.get(&(*link, *seq)).and_then(|pending| pending.taking);
                return taking.map_or(Ok(()), |index| self.granted(ledger, index, token));
            }
            _ => {}
        }
        Ok(())
    }
}

impl Fifo {
    fn granted(&mut self, ledger: &Ledger, index: usize, token: Token) -> Result<(), String> {
        if let Some(other) = self.overtaken.remove(&index)
            && other < token
        {
            let asked = ledger.takings.get(index);
            return Err(format!("token {token} was granted after token {other}, which was asked for later: {asked:?}"));
        }
        let Some(granted) = ledger.takings.get(index) else { return Ok(()) };
        let id = granted.taking.id.clone();
        if id.is_some_and(|id| self.before.contains(&(granted.session.as_u64(), id))) {
            return Ok(());
        }
        for earlier in ledger.open.iter().copied().take_while(|earlier| *earlier < index) {
            let Some(waiting) = ledger.takings.get(earlier) else { continue };
            let in_line = waiting.taking.priority >= granted.taking.priority
                && waiting.taking.meets(&granted.taking)
                && conflict(&waiting.taking, &granted.taking)
                && !(self.handed_over && granted.taking.election);
            if in_line {
                let overtaken = self.overtaken.entry(earlier).or_insert(token);
                *overtaken = (*overtaken).min(token);
            }
        }
        Ok(())
    }
}

/// Whether one delays the other.
fn conflict(one: &Taking, other: &Taking) -> bool {
    !(one.claim == Claim::Shared && other.claim == Claim::Shared)
}
