//! L2: tokens strictly increase, whatever crashes. No token is given twice, and one that is asked for after another
//! was heard of is greater.

use std::collections::BTreeMap;

use raceproof_core::id::{RequestId, SessionId, Token};
use raceproof_core::wire::Response;

use super::{Claim, Invariant, Ledger, Taking};
use crate::world::fact::Fact;
use crate::world::net::LinkId;

#[derive(Debug, Default)]
pub(super) struct Tokens {
    /// The greatest token heard of when a request that has no answer was asked on this link, and when a request was
    /// first asked under its id: a retry is told of the grant that the first made.
    heard_before: BTreeMap<(LinkId, u64), Option<Token>>,
    heard_first: BTreeMap<(u64, RequestId), Option<Token>>,
    given: BTreeMap<u64, (SessionId, Option<RequestId>)>,
    /// The greatest token of a grant that nothing else can be held beside, by name.
    newest: BTreeMap<(bool, std::sync::Arc<str>), Token>,
}

impl Invariant for Tokens {
    fn name(&self) -> &'static str {
        "l2_tokens"
    }

    fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::HubDown => self.heard_before.clear(),
            Fact::Asked { link, seq, session, request } => {
                let Some(id) = Taking::of(request).map(|taking| taking.id) else { return Ok(()) };
                let bound = ledger.links.get(link).and_then(|link| link.session);
                let session = session.as_ref().map(|key| key.id).or(bound);
                let heard = match (session, id) {
                    (Some(session), Some(id)) => {
                        *self.heard_first.entry((session.as_u64(), id)).or_insert(ledger.newest)
                    }
                    _ => ledger.newest,
                };
                self.heard_before.insert((*link, *seq), heard);
            }
            Fact::Answered { link, seq, result } => {
                let heard = self.heard_before.remove(&(*link, *seq)).flatten();
                let token = match result.as_deref() {
                    Ok(Response::Granted(grant)) => grant.token,
                    Ok(Response::Elected(leader)) => leader.term,
                    _ => return Ok(()),
                };
                let Some(pending) = ledger.pending.get(&(*link, *seq)) else { return Ok(()) };
                let (Some(taking), Some(session)) = (Taking::of(&pending.request), pending.session) else {
                    return Ok(());
                };
                return self.given(token, session, &taking, heard);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Tokens {
    fn given(&mut self, token: Token, session: SessionId, taking: &Taking, heard: Option<Token>) -> Result<(), String> {
        let whose = (session, taking.id.clone());
        match self.given.get(&token.as_u64()) {
            Some(before) if *before == whose && taking.id.is_some() => return Ok(()),
            Some((other, _)) => {
                return Err(format!("token {token} of session {other} was given again, to session {session}"));
            }
            None => {}
        }
        self.given.insert(token.as_u64(), whose);
        if heard.is_some_and(|heard| token <= heard) {
            return Err(format!("token {token} was asked for when token {heard:?} had been heard of"));
        }
        // Grants that exclude each other come one after the other, so their tokens go up in the order they are heard.
        if taking.claim == Claim::Exclusive {
            for name in &taking.names {
                let newest = self.newest.entry((taking.election, name.clone())).or_insert(token);
                if token < *newest {
                    return Err(format!("{name:?} was granted with token {newest}, and then with {token}"));
                }
                *newest = token;
            }
        }
        Ok(())
    }
}
