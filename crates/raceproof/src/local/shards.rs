//! The names that are held and that nobody else has asked for: granted and given back under one short lock, without
//! the machine.
//!
//! A name is in one of three states. *Absent*: free, and anyone may grant it here. *Held*: by one exclusive holder, who
//! gives it back here. *Managed*: the machine decides about it. Only who holds the machine's lock moves a name to or
//! from *managed*, so no grant is decided in two places (L1).

use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;
use raceproof_core::id::Token;
use rustc_hash::FxSeededState;

use super::text::Text;
use crate::owner::{Flow, Owner};

/// So many locks that threads seldom meet at one. A power of two.
const SHARDS: usize = 64;

/// A table this large gives memory back when it has become empty.
const ROOMY: usize = 64;

pub(super) struct Shards {
    /// Seeded, so that nobody can choose names that meet in one place.
    hasher: FxSeededState,
    shards: Box<[Shard]>,
}

/// Alone on its cache lines, so that threads at different shards do not slow each other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    names: HashTable<Name>,
    closed: bool,
}

/// A name as it is looked up.
#[derive(Clone, Debug)]
pub(crate) struct Key {
    hash: u64,
    text: Text,
}

#[derive(Debug)]
struct Name {
    key: Key,
    /// None while the machine decides about the name.
    holder: Option<Holder>,
}

/// A grant that the machine has not heard of.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) token: Token,
    pub(super) owner: Owner,
}

impl Shards {
    pub(super) fn new() -> Self {
        Self {
            hasher: FxSeededState::with_seed(fastrand::usize(..)),
            shards: (0..SHARDS).map(|_| Shard::default()).collect(),
        }
    }

    #[inline]
    pub(super) fn key(&self, name: &Arc<str>) -> Key {
        Key { hash: self.hasher.hash_one(&**name), text: Text::new(name) }
    }

    #[inline]
    fn table(&self, hash: u64) -> MutexGuard<'_, Table> {
        // The table's own probing uses the lowest and the highest bits.
        let index = (hash >> 32) as usize % SHARDS;
        let shard = self.shards.get(index).expect("the index is below the number of shards");
        shard.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Grants the name if it is free. `mint` gives the next token, in the order of these calls for one name. None if
    /// somebody holds it, or the machine decides, or nothing is granted here any more.
    #[inline]
    pub(super) fn try_hold(&self, key: &Key, flow: &Flow, mint: impl FnOnce() -> Token) -> Option<Token> {
        let owner = flow.owner();
        let mut table = self.table(key.hash);
        if table.closed {
            return None;
        }
        match table.names.entry(key.hash, |held| held.key.is(key), |held| held.key.hash) {
            Slot::Occupied(_) => None,
            Slot::Vacant(free) => {
                let token = mint();
                free.insert(Name { key: key.clone(), holder: Some(Holder { token, owner }) });
                Some(token)
            }
        }
    }

    /// Ends a grant that was made here. False if the machine has taken it over.
    #[inline(never)]
    pub(super) fn release(&self, hash: u64, token: Token) -> bool {
        let mut table = self.table(hash);
        let held = |name: &Name| name.holder.as_ref().is_some_and(|holder| holder.token == token);
        match table.names.find_entry(hash, held) {
            Ok(found) => {
                found.remove();
                table.shrink();
                true
            }
            Err(_) => false,
        }
    }

    /// The name of a grant that was made here; none if the machine has taken it over.
    pub(super) fn name(&self, hash: u64, token: Token) -> Option<Arc<str>> {
        let held = |name: &Name| name.holder.as_ref().is_some_and(|holder| holder.token == token);
        self.table(hash).names.find(hash, held).map(|name| name.key.text.to_shared())
    }

    /// Makes the name the machine's, and gives it the grant that was made here. Under the machine's lock.
    pub(super) fn promote(&self, name: &Arc<str>) -> Option<Holder> {
        let key = self.key(name);
        match self.table(key.hash).names.entry(key.hash, |held| held.key.is(&key), |held| held.key.hash) {
            Slot::Occupied(mut found) => found.get_mut().holder.take(),
            Slot::Vacant(free) => {
                free.insert(Name { key: key.clone(), holder: None });
                None
            }
        }
    }

    /// Makes every name that is held the machine's, and hands it each grant. Under the machine's lock.
    pub(super) fn promote_all(&self, close: bool, mut take: impl FnMut(Arc<str>, Holder)) {
        for shard in &self.shards {
            let mut table = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
            table.closed |= close;
            for name in table.names.iter_mut() {
                if let Some(holder) = name.holder.take() {
                    take(name.key.text.to_shared(), holder);
                }
            }
        }
    }

    /// The machine has no use for the name any more. Under the machine's lock.
    pub(super) fn retire(&self, name: &Arc<str>) {
        let key = self.key(name);
        let mut table = self.table(key.hash);
        if let Ok(found) = table.names.find_entry(key.hash, |held| held.key.is(&key) && held.holder.is_none()) {
            found.remove();
            table.shrink();
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().unwrap().names.capacity()).sum()
    }

    /// How many names are held or managed.
    #[cfg(test)]
    pub(super) fn names_count(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().unwrap().names.len()).sum()
    }
}

impl Table {
    /// Gives memory back after many names were held at one time (L7).
    fn shrink(&mut self) {
        if self.names.is_empty() && self.names.capacity() > ROOMY {
            self.names.shrink_to(0, |held| held.key.hash);
        }
    }
}

impl Key {
    #[inline]
    fn is(&self, other: &Self) -> bool {
        self.hash == other.hash && self.text == other.text
    }

    pub(super) const fn hash(&self) -> u64 {
        self.hash
    }
}
