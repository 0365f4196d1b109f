//! L13: both durability classes are safe. A durable grant that its holder heard of survives any crash. (What a crash
//! does to a grant of the class `reclaim` is judged by L1 and L2: it may be lost, never given to another meanwhile.)

use raceproof_core::wire::Class;

use super::{Invariant, Ledger};
use crate::world::fact::Fact;

#[derive(Debug)]
pub(super) struct Classes;

impl Invariant for Classes {
    fn name(&self) -> &'static str {
        "l13_classes"
    }

    fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) -> Result<(), String> {
        let Fact::HubUp { table, .. } = fact else { return Ok(()) };
        let believed = ledger.live.iter().filter_map(|token| Some((*token, ledger.grants.get(&token.as_u64())?)));
        let durable = believed.filter(|(_, grant)| {
            grant.taking.class == Class::Durable && !grant.taking.election && grant.over.is_none()
        });
        for (token, grant) in durable.filter(|(_, grant)| ledger.is_believed(grant)) {
            for name in &grant.taking.names {
                let lock = table.locks.iter().find(|lock| lock.name == *name);
                if !lock.is_some_and(|lock| lock.holders.iter().any(|holder| holder.token == token)) {
                    return Err(format!("the durable grant {token} of {name:?} did not survive the crash"));
                }
            }
        }
        Ok(())
    }
}
