//! Values under numbers that are given in order. Finding one among tens of thousands goes through a tree small enough
//! to stay in the cache: of a [`BTreeMap`] with an entry for each, most leaves would have to be fetched from memory.
//!
//! A page lives as long as one of its values, so what is left behind by those that went is at most [`PAGE`] places for
//! each that stayed (L7).

use std::collections::BTreeMap;

use crate::id::SessionId;

/// How many places a page has.
const PAGE: usize = 32;

#[derive(Debug)]
struct Page<V> {
    used: usize,
    places: Box<[Option<V>; PAGE]>,
}

/// A map from sessions' numbers, in their order.
#[derive(Debug)]
pub(super) struct Paged<V> {
    pages: BTreeMap<u64, Page<V>>,
    len: usize,
}

impl<V> Default for Paged<V> {
    fn default() -> Self {
        Self { pages: BTreeMap::new(), len: 0 }
    }
}

/// The page of a number, and its place there.
const fn place(id: SessionId) -> (u64, usize) {
    (id.as_u64() / PAGE as u64, (id.as_u64() % PAGE as u64) as usize)
}

impl<V> Paged<V> {
    pub(super) const fn len(&self) -> usize {
        self.len
    }

    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn get(&self, id: &SessionId) -> Option<&V> {
        let (page, at) = place(*id);
        self.pages.get(&page)?.places.get(at)?.as_ref()
    }

    pub(super) fn get_mut(&mut self, id: &SessionId) -> Option<&mut V> {
        let (page, at) = place(*id);
        self.pages.get_mut(&page)?.places.get_mut(at)?.as_mut()
    }

    pub(super) fn contains_key(&self, id: &SessionId) -> bool {
        self.get(id).is_some()
    }

    /// Gives what was there before.
    pub(super) fn insert(&mut self, id: SessionId, value: V) -> Option<V> {
        let (page, at) = place(id);
        let blank = || Page { used: 0, places: Box::new([const { None }; PAGE]) };
        let page = self.pages.entry(page).or_insert_with(blank);
        let before = page.places.get_mut(at)?.replace(value);
        if before.is_none() {
            page.used += 1;
            self.len += 1;
        }
        before
    }

    pub(super) fn remove(&mut self, id: &SessionId) -> Option<V> {
        let (number, at) = place(*id);
        let page = self.pages.get_mut(&number)?;
        let value = page.places.get_mut(at)?.take()?;
        page.used -= 1;
        if page.used == 0 {
            self.pages.remove(&number);
        }
        self.len -= 1;
        Some(value)
    }

    /// In the order of their numbers.
    pub(super) fn values(&self) -> impl Iterator<Item = &V> {
        self.pages.values().flat_map(|page| page.places.iter().flatten())
    }

    /// In the order of their numbers.
    pub(super) fn values_mut(&mut self) -> impl Iterator<Item = &mut V> {
        self.pages.values_mut().flat_map(|page| page.places.iter_mut().flatten())
    }

    /// Those from a number on, in their order.
    pub(super) fn values_from(&self, id: SessionId) -> impl Iterator<Item = &V> {
        let (first, at) = place(id);
        self.pages.range(first..).flat_map(move |(number, page)| {
            let skipped = if *number == first { at } else { 0 };
            page.places.iter().skip(skipped).flatten()
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_map_and_keeps_no_empty_page(steps in prop::collection::vec((0_u64..200, 0_u8..3), 0..300)) {
            let mut paged = Paged::default();
            let mut model = BTreeMap::new();
            for (at, (number, step)) in steps.into_iter().enumerate() {
                let id = SessionId::new(number);
                match step {
                    0 => prop_assert_eq!(paged.insert(id, at), model.insert(number, at)),
                    1 => prop_assert_eq!(paged.remove(&id), model.remove(&number)),
                    _ => {
                        let (one, other) = (paged.get_mut(&id), model.get_mut(&number));
                        prop_assert_eq!(&one, &other);
                        if let (Some(one), Some(other)) = (one, other) {
                            (*one, *other) = (at, at);
                        }
                    }
                }
                prop_assert_eq!((paged.len(), paged.is_empty()), (model.len(), model.is_empty()));
                prop_assert_eq!((paged.get(&id), paged.contains_key(&id)), (model.get(&number), model.contains_key(&number)));
                prop_assert!(paged.values().eq(model.values()));
                prop_assert!(paged.values_from(id).eq(model.range(number..).map(|(_, value)| value)));
                let pages: std::collections::BTreeSet<_> = model.keys().map(|number| number / PAGE as u64).collect();
                prop_assert!(paged.pages.keys().eq(&pages));
            }
            for value in paged.values_mut() {
                *value += 1;
            }
            prop_assert!(paged.values().copied().eq(model.values().map(|value| value + 1)));
        }
    }
}
