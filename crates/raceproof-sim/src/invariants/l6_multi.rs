//! L6: several names are taken all or none; a deadlock that is reported is one, and (as every wait must end before a
//! run does) none goes unreported.

use std::collections::BTreeSet;

use raceproof_core::id::RequestId;
use raceproof_core::wire::{CycleMember, LockPage, Problem, Response};

use super::{Invariant, Ledger, Taking};
use crate::world::fact::Fact;

#[derive(Debug, Default)]
pub(super) struct Multi {
    /// Refusals that a retry is told of again, when the cycle may be gone.
    told: BTreeSet<(u64, RequestId)>,
}

impl Invariant for Multi {
    fn name(&self) -> &'static str {
        "l6_multi"
    }

    fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Answered { link, seq, result: Ok(response) } => {
                let Response::Granted(grant) = &**response else { return Ok(()) };
                let Some(pending) = ledger.pending.get(&(*link, *seq)) else { return Ok(()) };
                match Taking::of(&pending.request) {
                    Some(taking) if taking.names != grant.names => {
                        Err(format!("{:?} was asked for and {:?} granted", taking.names, grant.names))
                    }
                    _ => Ok(()),
                }
            }
            Fact::HubDown => {
                self.told.clear();
                Ok(())
            }
            Fact::Deadlocked { session, problem, table, request } => {
                let id = Taking::of(request).and_then(|taking| taking.id);
                if id.is_some_and(|id| !self.told.insert((session.as_u64(), id))) {
                    return Ok(());
                }
                let asked = Taking::of(request).map(|taking| taking.names).unwrap_or_default();
                is_cycle(problem, table, &asked)
            }
            _ => Ok(()),
        }
    }
}

/// Each member waits for a lock that the next one holds or waits for. The first is the one that was refused.
fn is_cycle(problem: &Problem, table: &LockPage, asked: &[std::sync::Arc<str>]) -> Result<(), String> {
    let cycle = &problem.cycle;
    let wrong = |what: &str, member: &CycleMember| Err(format!("{what}: {member:?} of {cycle:?} in {table:?}"));
    if cycle.is_empty() {
        return Err("a deadlock without its cycle".into());
    }
    for (index, member) in cycle.iter().enumerate() {
        let last = index + 1 == cycle.len();
        let Some(next) = cycle.get(if last { 0 } else { index + 1 }) else { continue };
        let lock = table.locks.iter().find(|lock| lock.name == member.waits_for);
        let waits = lock.is_some_and(|lock| lock.waiters.iter().any(|waiter| waiter.session == member.session));
        if !waits && index > 0 {
            return wrong("a member of the cycle does not wait", member);
        }
        if index == 0 && !asked.contains(&member.waits_for) {
            return wrong("the refused request is not for this", member);
        }
        let holds = lock.is_some_and(|lock| lock.holders.iter().any(|holder| holder.session == next.session));
        let before = lock.is_some_and(|lock| lock.waiters.iter().any(|waiter| waiter.session == next.session));
        let refused = last && asked.contains(&member.waits_for);
        if !holds && !before && !refused {
            return wrong("the next of the cycle is not in the way", member);
        }
    }
    Ok(())
}
