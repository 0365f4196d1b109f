//! L1: no two conflicting grants are valid at once. Valid is what a holder's program believes in: from when it is
//! handed the grant until it gives it back, is told of its loss, dies, or its clock shows the end of the lease.

use raceproof_core::id::Token;
use raceproof_core::wire::Response;

use super::{Claim, Grant, Invariant, Ledger, Taking};
use crate::world::fact::Fact;

#[derive(Debug)]
pub(super) struct Exclusion;

impl Invariant for Exclusion {
    fn name(&self) -> &'static str {
        "l1_exclusion"
    }

    fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Answered { link, seq, result: Ok(response) } => {
                let token = match &**response {
                    Response::Granted(grant) => grant.token,
                    Response::Elected(leader) => leader.term,
                    _ => return Ok(()),
                };
                // A retry is told again of what may be over by now.
                if ledger.grants.contains_key(&token.as_u64()) {
                    return Ok(());
                }
                let Some(pending) = ledger.pending.get(&(*link, *seq)) else { return Ok(()) };
                match Taking::of(&pending.request) {
                    Some(taking) => goes_with_the_rest(ledger, token, &taking),
                    None => Ok(()),
                }
            }
            Fact::Believes { token, .. } => match ledger.grants.get(&token.as_u64()) {
                Some(grant) if lease_runs(ledger, grant) && !grant.excused => {
                    goes_with_the_rest(ledger, *token, &grant.taking)
                }
                Some(_) => Ok(()),
                None => Err(format!("a program was handed token {token}, which the hub never let go")),
            },
            // A lease that had run out runs again: what was let go in the meantime counts.
            Fact::Lease { session, until, .. } if *until > ledger.at => {
                let lapsed = ledger.sessions.get(&session.as_u64()).is_some_and(|s| s.believed_until <= ledger.at);
                let own = ledger.live.iter().filter_map(|token| Some((*token, ledger.grants.get(&token.as_u64())?)));
                for (token, grant) in own.filter(|(_, grant)| lapsed && grant.session == *session && !grant.excused) {
                    goes_with_the_rest(ledger, token, &grant.taking)?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

fn lease_runs(ledger: &Ledger, grant: &Grant) -> bool {
    ledger.sessions.get(&grant.session.as_u64()).is_some_and(|session| session.believed_until > ledger.at)
}

/// Whether a grant goes with everything that anyone else believes in.
fn goes_with_the_rest(ledger: &Ledger, token: Token, taking: &Taking) -> Result<(), String> {
    let others = ledger.live.iter().filter(|other| **other != token);
    let others = others.filter_map(|other| Some((*other, ledger.grants.get(&other.as_u64())?)));
    let mut taken = 0;
    for (other, grant) in others.filter(|(_, grant)| ledger.is_believed(grant) && grant.taking.meets(taking)) {
        if !taking.claim.goes_with(grant.taking.claim) {
            return Err(format!(
                "token {token} ({:?} of {:?}) beside token {other} ({:?} of {:?}), which session {} believes in until {}",
                taking.claim,
                taking.names,
                grant.taking.claim,
                grant.taking.names,
                grant.session,
                ledger.sessions.get(&grant.session.as_u64()).map_or(0, |session| session.believed_until),
            ));
        }
        if let Claim::Permits { take, .. } = grant.taking.claim {
            taken += take;
        }
    }
    match taking.claim {
        Claim::Permits { of, take } if taken + take > of => {
            Err(format!("token {token} takes {take} of {of} permits of {:?} while {taken} are held", taking.names))
        }
        _ => Ok(()),
    }
}
