//! Holders beside each other: readers, or of a semaphore's permits. Nobody waits for them here, so nobody is overtaken
//! (L3): who cannot be one of them has the machine take the name over.
//!
//! Whether somebody can be one of them is the core's to say, by [`Load`].

use hashbrown::hash_table::Entry as Slot;
use raceproof_core::id::Token;
use raceproof_core::local::Site;
use raceproof_core::lock::{Claim, Load};

use super::{Holder, Key, Name, Released, Shards, State, Table};
use crate::owner::Flow;

/// Room for so many holders is kept for the next time.
const ROOMY: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Several {
    load: Load,
    pub(super) holders: Vec<(Holder, Claim)>,
}

impl Shards {
    /// Grants the name if it is free, or held by others whom this goes with. None if the machine has to be asked.
    #[inline(never)]
    pub(in crate::local) fn try_hold_beside(&self, key: &Key, flow: &Flow, claim: Claim, site: Site) -> Option<Token> {
        let owner = flow.owner();
        let mut guard = self.table(key.hash);
        let table = &mut *guard;
        if table.closed || !Load::default().takes(claim) {
            return None;
        }
        let token = match table.names.entry(key.hash, |name| name.key.is(key), Name::hash) {
            Slot::Occupied(found) => match &mut found.into_mut().state {
                State::Several(several) if several.load.takes(claim) => {
                    let token = self.mint();
                    several.add(Holder { token, owner, site }, claim);
                    token
                }
                _ => return None,
            },
            Slot::Vacant(free) => {
                let token = self.mint();
                let mut several = table.spare_several.take().unwrap_or_default();
                several.add(Holder { token, owner, site }, claim);
                free.insert(Name { key: key.clone(), state: State::Several(several) });
                token
            }
        };
        Some(token)
    }
}

impl Table {
    /// One of several gives back.
    #[inline(never)]
    pub(super) fn leave(&mut self, hash: u64, token: Token) -> Released {
        let Ok(mut found) = self.names.find_entry(hash, |name| name.is_held_under(token)) else {
            return Released::Elsewhere;
        };
        let State::Several(several) = &mut found.get_mut().state else { return Released::Elsewhere };
        several.remove(token);
        if several.holders.is_empty() {
            let (name, _) = found.remove();
            if let State::Several(several) = name.state {
                self.spare_several = Some(several).filter(|several| several.holders.capacity() <= ROOMY);
            }
            self.shrink();
        }
        Released::Free
    }
}

impl Several {
    pub(super) fn is_held_under(&self, token: Token) -> bool {
        self.find(token).is_some()
    }

    fn add(&mut self, holder: Holder, claim: Claim) {
        self.load.add(claim);
        self.holders.push((holder, claim));
    }

    fn remove(&mut self, token: Token) {
        if let Some(at) = self.find(token) {
            let (_, claim) = self.holders.remove(at);
            self.load.remove(claim);
        }
    }

    /// Tokens ascend.
    fn find(&self, token: Token) -> Option<usize> {
        self.holders.binary_search_by_key(&token, |(holder, _)| holder.token).ok()
    }
}
