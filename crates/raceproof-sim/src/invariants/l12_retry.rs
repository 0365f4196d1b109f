//! L12: a request that is sent again under its id is answered as the first time.

use std::collections::BTreeMap;

use raceproof_core::id::{RequestId, Token};
use raceproof_core::wire::{Class, Response};

use super::{Invariant, Ledger, Taking};
use crate::world::fact::Fact;

#[derive(Debug, Default)]
pub(super) struct Retry {
    first: BTreeMap<(u64, RequestId), Token>,
}

impl Invariant for Retry {
    fn name(&self) -> &'static str {
        "l12_retry"
    }

    fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::Answered { link, seq, result: Ok(response) } = fact else { return Ok(()) };
        let token = match &**response {
            Response::Granted(grant) => grant.token,
            Response::Elected(leader) => leader.term,
            _ => return Ok(()),
        };
        let Some(pending) = ledger.pending.get(&(*link, *seq)) else { return Ok(()) };
        let (Some(session), Some(taking)) = (pending.session, Taking::of(&pending.request)) else { return Ok(()) };
        let Some(id) = taking.id else { return Ok(()) };
        let Some(first) = self.first.insert((session.as_u64(), id.clone()), token) else { return Ok(()) };
        if first == token {
            return Ok(());
        }
        let Some(grant) = ledger.grants.get(&first.as_u64()) else { return Ok(()) };
        // What a crash may lose, and what is over, may be granted afresh.
        let lost = grant.taking.class == Class::Reclaim && grant.run != ledger.run;
        if grant.over.is_some() || lost {
            return Ok(());
        }
        Err(format!("request {id} of session {session} was answered with token {first}, and again with {token}"))
    }
}
