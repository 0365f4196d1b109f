//! Which flows of work wait, and which hold a name that others wait for without the machine (L6).
//!
//! A cycle of waiters needs a flow that both waits and is waited for. This keeps two rules for the waits that the
//! machine does not see, each under the lock of one flow: a flow with such a wait has no other wait; a flow that holds
//! what such a wait is for does not wait at all. So no such wait is part of a cycle, and the machine, which sees all
//! others, finds every one. Detached flows cannot be on both sides, and are not kept.

use std::hash::BuildHasher;
use std::sync::PoisonError;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;
use rustc_hash::FxBuildHasher;

use super::shards::Key;
use crate::owner::Owner;
use crate::sync::{Mutex, MutexGuard};

/// So many locks that threads seldom meet at one.
const SHARDS_MAX: usize = 16;

/// A table this large gives memory back when it has become empty.
const ROOMY: usize = 64;

pub(super) struct Flows {
    shards: Box<[Shard]>,
}

/// Alone on its cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<HashTable<Entry>>);

/// A flow that waits or is waited for.
#[derive(Debug)]
struct Entry {
    owner: Owner,
    /// Of either kind.
    waits: u32,
    /// The name of its wait that the machine does not see.
    at: Option<Key>,
    /// A name that it holds and that others wait for without the machine, and more of them: one for each grant.
    blocks: Option<Key>,
    more: Vec<Key>,
}

impl Flows {
    /// `shards` is a power of two.
    pub(super) fn new(shards: usize) -> Self {
        Self { shards: (0..shards.min(SHARDS_MAX)).map(|_| Shard::default()).collect() }
    }

    fn table(&self, hash: u64) -> MutexGuard<'_, HashTable<Entry>> {
        let index = (hash >> 32) as usize & (self.shards.len() - 1);
        let shard = self.shards.get(index).expect("the index is below the number of shards");
        shard.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes a flow, and forgets it if nothing is left to be known.
    fn with<R: Default>(&self, owner: &Owner, change: impl FnOnce(&mut Entry) -> R) -> R {
        if matches!(owner, Owner::Detached(_)) {
            return R::default();
        }
        let hash = FxBuildHasher.hash_one(owner);
        let mut table = self.table(hash);
        let rehash = |entry: &Entry| FxBuildHasher.hash_one(&entry.owner);
        let mut found = match table.entry(hash, |entry| entry.owner == *owner, rehash) {
            Slot::Occupied(found) => found,
            Slot::Vacant(free) => free.insert(Entry::new(owner.clone())),
        };
        let result = change(found.get_mut());
        if found.get().is_over() {
            found.remove();
            if table.is_empty() && table.capacity() > ROOMY {
                table.shrink_to(0, rehash);
            }
        }
        result
    }

    /// A wait for `key` begins that the machine does not see. False if it has to.
    pub(super) fn wait(&self, owner: &Owner, key: &Key) -> bool {
        if matches!(owner, Owner::Detached(_)) {
            return true;
        }
        self.with(owner, |entry| {
            let may = entry.waits == 0 && entry.blocks.is_none();
            if may {
                entry.waits = 1;
                entry.at = Some(key.clone());
            }
            may
        })
    }

    /// Somebody waits for `key`, which this flow holds, and the machine does not see it. False if it has to.
    pub(super) fn block(&self, owner: &Owner, key: &Key) -> bool {
        if matches!(owner, Owner::Detached(_)) {
            return true;
        }
        self.with(owner, |entry| {
            let may = entry.waits == 0;
            if may {
                entry.block(key);
            }
            may
        })
    }

    /// A wait that the machine did not see is over.
    pub(super) fn end(&self, owner: &Owner) {
        self.with(owner, |entry| {
            entry.waits -= 1;
            entry.at = None;
        });
    }

    /// Nobody waits any more for `key` where the machine does not see it, or another flow holds it.
    pub(super) fn unblock(&self, owner: &Owner, key: &Key) {
        self.with(owner, |entry| entry.unblock(key));
    }

    /// The flow's wait for `key` was served; others wait on or not.
    pub(super) fn hand(&self, owner: &Owner, key: &Key, waited_for: bool) {
        self.with(owner, |entry| {
            entry.waits -= 1;
            entry.at = None;
            if waited_for {
                entry.block(key);
            }
        });
    }

    /// The machine sees the flow's wait from here on.
    pub(super) fn moved(&self, owner: &Owner) {
        self.with(owner, |entry| entry.at = None);
    }

    /// A wait begins that the machine sees. It has to see these names, too.
    pub(super) fn wait_in_machine(&self, owner: &Owner) -> Vec<Key> {
        self.with(owner, |entry| {
            entry.waits += 1;
            let blocked = entry.blocks.iter().chain(&entry.more);
            blocked.chain(&entry.at).cloned().collect()
        })
    }

    /// A wait that the machine saw is over.
    pub(super) fn end_in_machine(&self, owner: &Owner) {
        self.with(owner, |entry| entry.waits -= 1);
    }

    /// How many flows are remembered.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().unwrap().len()).sum()
    }
}

impl Entry {
    const fn new(owner: Owner) -> Self {
        Self { owner, waits: 0, at: None, blocks: None, more: Vec::new() }
    }

    fn block(&mut self, key: &Key) {
        match &self.blocks {
            None => self.blocks = Some(key.clone()),
            Some(_) => self.more.push(key.clone()),
        }
    }

    fn unblock(&mut self, key: &Key) {
        if self.blocks.as_ref() == Some(key) {
            self.blocks = self.more.pop();
        } else if let Some(at) = self.more.iter().position(|other| other == key) {
            self.more.swap_remove(at);
        }
    }

    const fn is_over(&self) -> bool {
        self.waits == 0 && self.blocks.is_none()
    }
}
