//! The names that are held, and who waits for them, as long as that needs no machine: granted, given back and handed
//! over under one short lock.
//!
//! A name is in one of four states. *Absent*: free, and anyone may grant it here. *Held*: by one exclusive holder, who
//! gives it back here. *Crowd*: by holders beside each other, or by such as others wait for, in a [`queue`]. *Managed*:
//! the machine decides about it. Only who holds the machine's lock moves a name to or from *managed*, so no grant is
//! decided in two places (L1).

mod crowd;
mod names;
mod queue;

use std::hash::BuildHasher;
use std::sync::{Arc, PoisonError};

use raceproof_core::id::Token;
use raceproof_core::local::Site;
use rustc_hash::FxSeededState;

use self::crowd::Crowd;
use self::names::{Names, Slot};
use self::queue::Next;
pub(super) use self::queue::{Entered, Polled, Taken, TakenHolder, TakenWait, Waiting};
use super::flows::Flows;
use super::text::Text;
use crate::owner::{Flow, Owner};
use crate::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};

pub(super) struct Shards {
    /// Seeded, so that nobody can choose names that meet in one place.
    hasher: FxSeededState,
    shards: Box<[Shard]>,
    /// The last token that was given away or set aside.
    pub(super) tokens: AtomicU64,
    pub(super) flows: Flows,
    /// How many wait here, those included that have not claimed their grant.
    pub(super) waiting: AtomicUsize,
    /// How many wait in the machine, counted in the same way.
    pub(super) waiting_elsewhere: AtomicUsize,
    /// The time in which unclaimed grants grow old.
    age: AtomicU32,
    /// How many grants passed on because nobody claimed them.
    unclaimed: AtomicU64,
}

/// Alone on its cache lines, so that threads at different shards do not slow each other.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Shard(Mutex<Table>);

#[derive(Debug, Default)]
struct Table {
    names: Names,
    closed: bool,
    /// The last place in a queue that was given here.
    places: u64,
    crowds: Crowds,
}

/// What the crowds of a table have in common.
#[derive(Debug, Default)]
struct Crowds {
    /// How many grants were handed over and are not claimed.
    unclaimed: usize,
    /// An empty one that is not needed at the moment: names that are wanted often go back and forth.
    spare: Option<Box<Crowd>>,
}

/// A name as it is looked up.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Key {
    hash: u64,
    text: Text,
}

#[derive(Debug)]
struct Name {
    key: Key,
    state: State,
}

#[derive(Debug)]
enum State {
    Held(Holder),
    Crowd(Box<Crowd>),
    /// The machine decides about the name.
    Managed,
}

/// A grant that the machine has not heard of.
#[derive(Debug)]
pub(super) struct Holder {
    pub(super) token: Token,
    pub(super) owner: Owner,
    /// Where it was asked for.
    pub(super) site: Site,
}

/// What became of giving a grant back.
#[derive(Debug)]
pub(super) enum Released {
    Free,
    /// The next ones have it, and are to be woken.
    Next(Next),
    /// The machine has taken it over.
    Elsewhere,
}

impl Shards {
    /// So many locks that threads seldom meet at one.
    pub(super) const MANY: usize = 64;

    /// `count` is a power of two.
    pub(super) fn new(count: usize) -> Self {
        Self {
            hasher: FxSeededState::with_seed(fastrand::usize(..)),
            shards: (0..count).map(|_| Shard::default()).collect(),
            tokens: AtomicU64::new(0),
            flows: Flows::new(count),
            waiting: AtomicUsize::new(0),
            waiting_elsewhere: AtomicUsize::new(0),
            age: AtomicU32::new(0),
            unclaimed: AtomicU64::new(0),
        }
    }

    #[inline]
    pub(super) fn key(&self, name: &Arc<str>) -> Key {
        Key { hash: self.hasher.hash_one(&**name), text: Text::new(name) }
    }

    #[inline]
    fn table(&self, hash: u64) -> MutexGuard<'_, Table> {
        // The table's own probing uses the lowest and the highest bits.
        let shard = self.shards.get(self.index(hash)).expect("the index is below the number of shards");
        shard.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    const fn index(&self, hash: u64) -> usize {
        (hash >> 32) as usize & (self.shards.len() - 1)
    }

    /// The next token. Under the lock of the name's shard, so that they follow the order of the name's grants (L2).
    #[inline]
    fn mint(&self) -> Token {
        Token::new(self.tokens.fetch_add(1, Ordering::Relaxed) + 1)
    }

    /// Grants the name if it is free. None if somebody holds it, or the machine decides, or nothing is granted here
    /// any more.
    #[inline]
    pub(super) fn try_hold(&self, key: &Key, flow: &Flow, site: Site) -> Option<Token> {
        let owner = flow.owner();
        let mut table = self.table(key.hash);
        if table.closed {
            return None;
        }
        match table.names.entry(key.hash, |name| name.key.is(key)) {
            Slot::Occupied(_) => None,
            Slot::Vacant(free) => {
                let token = self.mint();
                free.insert(Name { key: key.clone(), state: State::Held(Holder { token, owner, site }) });
                Some(token)
            }
        }
    }

    /// Ends a grant that was made here.
    #[inline]
    pub(super) fn release(&self, hash: u64, token: Token) -> Released {
        let mut guard = self.table(hash);
        let table = &mut *guard;
        let released = match table.names.find_entry(hash, |name| name.is_held_under(token)) {
            Some(found) if matches!(found.get().state, State::Held(_)) => {
                found.discard();
                Released::Free
            }
            Some(found) => self.leave(found, token, &mut table.crowds),
            None => Released::Elsewhere,
        };
        table.names.shrink();
        released
    }

    /// The name of a grant that was made here; none if the machine has taken it over.
    pub(super) fn name(&self, hash: u64, token: Token) -> Option<Arc<str>> {
        self.table(hash).names.find(hash, |name| name.is_held_under(token)).map(|name| name.key.to_shared())
    }

    /// Makes the name the machine's, which has to be given what was decided and promised here. Under the machine's
    /// lock.
    pub(super) fn promote(&self, key: &Key) -> Option<Taken> {
        let mut guard = self.table(key.hash);
        let table = &mut *guard;
        match table.names.entry(key.hash, |name| name.key.is(key)) {
            Slot::Occupied(mut found) => self.take(found.get_mut(), &mut table.crowds),
            Slot::Vacant(free) => {
                free.insert(Name { key: key.clone(), state: State::Managed });
                Some(Taken { holders: Vec::new(), waits: Vec::new() })
            }
        }
    }

    /// Makes every name that is held the machine's, and hands over what was decided and promised. Under the machine's
    /// lock.
    pub(super) fn promote_all(&self, close: bool, mut take: impl FnMut(Arc<str>, Taken)) {
        for shard in &self.shards {
            let mut guard = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
            let table = &mut *guard;
            table.closed |= close;
            for name in table.names.iter_mut() {
                if let Some(taken) = self.take(name, &mut table.crowds) {
                    take(name.key.to_shared(), taken);
                }
            }
        }
    }

    /// The machine has no use for the name any more. Under the machine's lock.
    pub(super) fn retire(&self, name: &Arc<str>) {
        let key = self.key(name);
        let mut table = self.table(key.hash);
        let unused = |name: &Name| name.key.is(&key) && matches!(name.state, State::Managed);
        if let Some(found) = table.names.find_entry(key.hash, unused) {
            found.discard();
            table.names.shrink();
        }
    }

    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().unwrap().names.capacity()).sum()
    }

    /// How many places in queues there is memory for.
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        let of = |table: &Table| table.names.iter().map(Name::places).sum::<usize>();
        self.shards.iter().map(|shard| of(&shard.0.lock().unwrap())).sum()
    }

    /// How many names are held or managed.
    #[cfg(test)]
    pub(super) fn names_count(&self) -> usize {
        self.shards.iter().map(|shard| shard.0.lock().unwrap().names.len()).sum()
    }
}

impl Name {
    #[inline]
    const fn hash(&self) -> u64 {
        self.key.hash
    }

    #[inline]
    fn is_held_under(&self, token: Token) -> bool {
        match &self.state {
            State::Held(holder) => holder.token == token,
            State::Crowd(crowd) => crowd.is_held_under(token),
            State::Managed => false,
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

    pub(super) fn to_shared(&self) -> Arc<str> {
        self.text.to_shared()
    }
}
