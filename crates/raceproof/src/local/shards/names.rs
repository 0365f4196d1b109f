//! The names of one shard: a table, and in front of it a place for one name, where most are that come alone and go soon.
//!
//! A name is in one of the two. The table is not looked at while it is empty.

use hashbrown::HashTable;
use hashbrown::hash_table::{Entry, OccupiedEntry, VacantEntry};

use super::Name;

/// A table this large gives memory back when it has become empty.
const ROOMY: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Names {
    first: Option<Name>,
    more: HashTable<Name>,
}

/// Where a name is, or may be put.
pub(super) enum Slot<'a> {
    Occupied(Found<'a>),
    Vacant(Free<'a>),
}

/// A name that is there. What it is in is never empty, as long as this lives.
pub(super) enum Found<'a> {
    First(&'a mut Option<Name>),
    More(OccupiedEntry<'a, Name>),
}

/// A place for a name.
pub(super) enum Free<'a> {
    First(&'a mut Option<Name>),
    More(VacantEntry<'a, Name>),
}

impl Names {
    /// A name's place. `eq` says whether a name of this hash is the one.
    #[inline]
    pub(super) fn entry(&mut self, hash: u64, eq: impl Fn(&Name) -> bool) -> Slot<'_> {
        let in_table = !self.more.is_empty();
        match &self.first {
            Some(name) if name.hash() == hash && eq(name) => return Slot::Occupied(Found::First(&mut self.first)),
            None if !in_table => return Slot::Vacant(Free::First(&mut self.first)),
            _ => {}
        }
        self.entry_in_table(hash, eq)
    }

    #[inline(never)]
    fn entry_in_table(&mut self, hash: u64, eq: impl Fn(&Name) -> bool) -> Slot<'_> {
        match self.more.entry(hash, eq, Name::hash) {
            Entry::Occupied(found) => Slot::Occupied(Found::More(found)),
            Entry::Vacant(free) if self.first.is_some() => Slot::Vacant(Free::More(free)),
            Entry::Vacant(_) => Slot::Vacant(Free::First(&mut self.first)),
        }
    }

    /// A name that is there.
    #[inline]
    pub(super) fn find_entry(&mut self, hash: u64, eq: impl Fn(&Name) -> bool) -> Option<Found<'_>> {
        if self.is_first(hash, &eq) {
            return Some(Found::First(&mut self.first));
        }
        if self.more.is_empty() { None } else { self.find_in_table(hash, eq) }
    }

    #[inline(never)]
    fn find_in_table(&mut self, hash: u64, eq: impl Fn(&Name) -> bool) -> Option<Found<'_>> {
        self.more.find_entry(hash, eq).ok().map(Found::More)
    }

    pub(super) fn find(&self, hash: u64, eq: impl Fn(&Name) -> bool) -> Option<&Name> {
        if self.is_first(hash, &eq) { self.first.as_ref() } else { self.more.find(hash, eq) }
    }

    pub(super) fn find_mut(&mut self, hash: u64, eq: impl Fn(&Name) -> bool) -> Option<&mut Name> {
        if self.is_first(hash, &eq) { self.first.as_mut() } else { self.more.find_mut(hash, eq) }
    }

    #[inline]
    fn is_first(&self, hash: u64, eq: &impl Fn(&Name) -> bool) -> bool {
        self.first.as_ref().is_some_and(|name| name.hash() == hash && eq(name))
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Name> {
        self.first.iter().chain(&self.more)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Name> {
        self.first.iter_mut().chain(&mut self.more)
    }

    /// Gives memory back after many names were held at one time (L7).
    #[inline]
    pub(super) fn shrink(&mut self) {
        if self.more.capacity() > ROOMY && self.more.is_empty() {
            self.more.shrink_to(0, Name::hash);
        }
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.more.len()
    }

    /// How many names there is memory for, besides the first.
    #[cfg(test)]
    pub(super) fn capacity(&self) -> usize {
        self.more.capacity()
    }
}

impl<'a> Found<'a> {
    #[inline]
    pub(super) fn get(&self) -> &Name {
        match self {
            Self::First(name) => name.as_ref().expect("a name that was found is there"),
            Self::More(found) => found.get(),
        }
    }

    #[inline]
    pub(super) fn get_mut(&mut self) -> &mut Name {
        match self {
            Self::First(name) => name.as_mut().expect("a name that was found is there"),
            Self::More(found) => found.get_mut(),
        }
    }

    pub(super) fn into_mut(self) -> &'a mut Name {
        match self {
            Self::First(name) => name.as_mut().expect("a name that was found is there"),
            Self::More(found) => found.into_mut(),
        }
    }

    pub(super) fn remove(self) -> Name {
        match self {
            Self::First(name) => name.take().expect("a name that was found is there"),
            Self::More(found) => found.remove().0,
        }
    }

    /// Removes it, where it is not needed any more.
    #[inline]
    pub(super) fn discard(self) {
        match self {
            Self::First(name) => *name = None,
            Self::More(found) => drop(found.remove()),
        }
    }
}

impl Free<'_> {
    #[inline]
    pub(super) fn insert(self, name: Name) {
        match self {
            Self::First(first) => *first = Some(name),
            Self::More(free) => drop(free.insert(name)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::{Key, State};
    use super::*;
    use crate::local::text::Text;

    /// Two names of each hash.
    fn key(number: u64) -> Key {
        Key { hash: number / 2, text: Text::new(&number.to_string().into()) }
    }

    fn name(number: u64) -> Name {
        Name { key: key(number), state: State::Managed }
    }

    #[test]
    fn l1_a_name_is_in_one_place_whatever_comes_and_goes_beside_it() {
        let mut rng = fastrand::Rng::with_seed(1);
        let (mut names, mut model) = (Names::default(), BTreeSet::new());
        for _ in 0..20_000 {
            let number = rng.u64(0..10);
            let wanted = key(number);
            match names.entry(wanted.hash, |name| name.key == wanted) {
                Slot::Occupied(found) => {
                    assert!(model.remove(&number), "{number} is not there");
                    assert_eq!(found.get().key, wanted);
                    if rng.bool() { found.discard() } else { assert_eq!(found.remove().key, wanted) }
                }
                Slot::Vacant(free) => {
                    assert!(model.insert(number), "{number} is there");
                    free.insert(name(number));
                }
            }
            assert_eq!([names.len(), names.iter().count(), names.iter_mut().count()], [model.len(); 3]);
            for number in 0..10 {
                let wanted = key(number);
                let is = |name: &Name| name.key == wanted;
                let found = [
                    names.find(wanted.hash, is).is_some_and(is),
                    names.find_mut(wanted.hash, is).is_some_and(|name| is(name)),
                    names.find_entry(wanted.hash, is).is_some_and(|found| is(found.get())),
                ];
                assert_eq!(found, [model.contains(&number); 3], "{number}");
            }
        }
    }

    #[test]
    fn l7_a_large_table_gives_its_memory_back() {
        let mut names = Names::default();
        for number in 0..1_000 {
            if let Slot::Vacant(free) = names.entry(number / 2, |name| name.key == key(number)) {
                free.insert(name(number));
            }
        }
        assert_eq!(names.len(), 1_000);
        for number in 0..1_000 {
            names.find_entry(number / 2, |name| name.key == key(number)).unwrap().discard();
            names.shrink();
        }
        assert_eq!((names.len(), names.capacity()), (0, 0));
    }
}
