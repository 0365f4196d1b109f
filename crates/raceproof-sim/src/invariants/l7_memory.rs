//! L7: memory is proportional to holders and waiters; nothing is left of an unused name.

use super::{Invariant, Ledger};
use crate::world::fact::Fact;

#[derive(Debug)]
pub(super) struct Memory;

impl Invariant for Memory {
    fn name(&self) -> &'static str {
        "l7_memory"
    }

    fn see(&mut self, _: &Ledger, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::Listed(table) => {
                let unused = |lock: &&raceproof_core::wire::Lock| {
                    lock.holders.is_empty() && lock.waiters_count == 0 && lock.delay_left_ms.is_none()
                };
                match table.locks.iter().find(unused) {
                    Some(lock) => Err(format!("{:?} is listed and not used", lock.name)),
                    None => Ok(()),
                }
            }
            Fact::Settled { table, snapshot_bytes } => {
                if !table.locks.is_empty() {
                    return Err(format!("everything has ended, and this is left: {:?}", table.locks));
                }
                if *snapshot_bytes > EMPTY_MAX {
                    return Err(format!("everything has ended, and a snapshot has {snapshot_bytes} bytes"));
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// A snapshot of a hub without sessions is a handful of numbers.
const EMPTY_MAX: usize = 64;
