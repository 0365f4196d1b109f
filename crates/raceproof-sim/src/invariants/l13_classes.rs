//! L13: both durability classes are safe. A grant that its holder heard of survives any crash when it is durable, or of
//! a session over HTTP, which could not bring it back; and one that its holder brings back is kept. (What a crash does
//! to the others is judged by L1 and L2: they may be lost, never given to another meanwhile.)

use raceproof_core::id::{SessionId, Token};
use raceproof_core::wire::{Class, LockPage, Request, Response};

use super::{Grant, Invariant, Ledger};
use crate::world::fact::Fact;

#[derive(Debug)]
pub(super) struct Classes;

impl Invariant for Classes {
    fn name(&self) -> &'static str {
        "l13_classes"
    }

    fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::HubUp { table, .. } => all_survived(ledger, table),
            Fact::Answered { link, seq, result: Ok(response) } => {
                let Response::Resumed { held, .. } = &**response else { return Ok(()) };
                match ledger.pending.get(&(*link, *seq)).map(|pending| &*pending.request) {
                    Some(Request::Resume(resume)) => {
                        let reported = resume.held.iter().map(|held| held.token);
                        all_are_kept(ledger, resume.session.id, reported.filter(|token| !held.contains(token)))
                    }
                    _ => Ok(()),
                }
            }
            _ => Ok(()),
        }
    }
}

fn is_on_disk(ledger: &Ledger, grant: &Grant) -> bool {
    let over_http = ledger.sessions.get(&grant.session.as_u64()).is_some_and(|session| !session.socket);
    grant.taking.class == Class::Durable || over_http
}

fn all_survived(ledger: &Ledger, table: &LockPage) -> Result<(), String> {
    let believed = ledger.live.iter().filter_map(|token| Some((*token, ledger.grants.get(&token.as_u64())?)));
    let due = believed.filter(|(_, grant)| is_on_disk(ledger, grant) && !grant.taking.election && grant.over.is_none());
    for (token, grant) in due.filter(|(_, grant)| ledger.is_believed(grant)) {
        for name in &grant.taking.names {
            let lock = table.locks.iter().find(|lock| lock.name == *name);
            if !lock.is_some_and(|lock| lock.holders.iter().any(|holder| holder.token == token)) {
                return Err(format!("the grant {token} of {name:?} did not survive the crash"));
            }
        }
    }
    Ok(())
}

/// What a session reports and the hub does not list is over for some other reason.
fn all_are_kept(ledger: &Ledger, session: SessionId, lost: impl Iterator<Item = Token>) -> Result<(), String> {
    for token in lost {
        let grant = ledger.grants.get(&token.as_u64()).filter(|grant| grant.session == session);
        if grant.is_some_and(|grant| grant.over.is_none() && ledger.is_believed(grant)) {
            return Err(format!("session {session} brought token {token} back, and it was not kept"));
        }
    }
    Ok(())
}
