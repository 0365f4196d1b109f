//! Who holds a name, who waits for it, and who was handed it and has not said so.

use std::mem;

use raceproof_core::id::Token;
use raceproof_core::lock::{Claim, Line};

use super::queue::Waiting;
use super::{Crowds, Holder, Name, State};

/// Room for more than this is not kept for the next time.
const ROOMY: usize = 64;

/// Who holds a name, who waits for it, and who has not claimed what was handed over.
#[derive(Debug, Default)]
pub(super) struct Crowd {
    pub(super) line: Line<Wait>,
    /// Tokens ascend.
    pub(super) holders: Vec<Holding>,
    /// Places ascend.
    pub(super) unclaimed: Vec<Unclaimed>,
}

#[derive(Debug)]
pub(super) struct Holding {
    pub(super) holder: Holder,
    pub(super) claim: Claim,
    /// The age in which it came to hold, or others to wait for it.
    pub(super) since: u32,
}

/// What was handed to a place.
#[derive(Debug)]
pub(super) struct Unclaimed {
    pub(super) place: u64,
    pub(super) token: Token,
    pub(super) since: u32,
}

#[derive(Debug)]
pub(super) struct Wait {
    /// The age in which it began.
    pub(super) since: u32,
    pub(super) who: Waiting,
}

impl Crowd {
    pub(super) fn is_held_under(&self, token: Token) -> bool {
        self.find(token).is_some()
    }

    fn find(&self, token: Token) -> Option<usize> {
        self.holders.binary_search_by_key(&token, |held| held.holder.token).ok()
    }

    pub(super) fn remove(&mut self, token: Token) -> Option<Holding> {
        let held = self.holders.remove(self.find(token)?);
        self.line.let_go(held.claim);
        Some(held)
    }

    /// What was handed to a place is its owner's from here on.
    pub(super) fn claim(&mut self, place: u64) -> Option<Token> {
        let at = self.unclaimed.binary_search_by_key(&place, |handed| handed.place).ok()?;
        Some(self.unclaimed.remove(at).token)
    }

    fn is_roomy(&self) -> bool {
        self.line.capacity().max(self.holders.capacity()).max(self.unclaimed.capacity()) > ROOMY
    }
}

impl Crowds {
    /// Keeps what is empty for the next time.
    pub(super) fn keep(&mut self, crowd: Option<Box<Crowd>>) {
        if let Some(crowd) = crowd
            && !crowd.is_roomy()
        {
            self.spare = Some(crowd);
        }
    }
}

impl Name {
    /// Those who hold the name or wait for it. None if the machine decides about it.
    pub(super) fn crowd(&mut self, spare: &mut Option<Box<Crowd>>, since: u32) -> Option<&mut Crowd> {
        if matches!(self.state, State::Held(_))
            && let State::Held(holder) = mem::replace(&mut self.state, State::Managed)
        {
            let mut crowd = spare.take().unwrap_or_default();
            crowd.line.hold(Claim::Exclusive);
            crowd.holders.push(Holding { holder, claim: Claim::Exclusive, since });
            self.state = State::Crowd(crowd);
        }
        match &mut self.state {
            State::Crowd(crowd) => Some(crowd),
            State::Held(_) | State::Managed => None,
        }
    }

    /// A name that one holds alone and nobody waits for is simply held. Gives what is not needed for that.
    pub(super) fn calm(&mut self) -> Option<Box<Crowd>> {
        let State::Crowd(crowd) = &mut self.state else { return None };
        if crowd.line.waiting() > 0 || !crowd.unclaimed.is_empty() {
            return None;
        }
        let [Holding { claim: Claim::Exclusive, .. }] = crowd.holders.as_slice() else { return None };
        let held = crowd.holders.pop()?;
        crowd.line.let_go(held.claim);
        match mem::replace(&mut self.state, State::Held(held.holder)) {
            State::Crowd(crowd) => Some(crowd),
            State::Held(_) | State::Managed => None,
        }
    }

    /// The grants that were handed over and are late to be claimed; they are nobody's to claim from here on.
    pub(super) fn take_late(&mut self, late: impl Fn(u32) -> bool) -> Vec<(u64, Token)> {
        let State::Crowd(crowd) = &mut self.state else { return Vec::new() };
        let hash = self.key.hash;
        crowd.unclaimed.extract_if(.., |handed| late(handed.since)).map(|handed| (hash, handed.token)).collect()
    }

    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        match &self.state {
            State::Crowd(crowd) => crowd.line.capacity(),
            State::Held(_) | State::Managed => 0,
        }
    }
}
