//! A name that several hold beside each other, or that others wait for: first come first served, and passed from hand to
//! hand.
//!
//! Who may hold, who waits and who is next is the core's to say: see [`Line`](raceproof_core::lock::Line).
//!
//! - L3: a name is handed on in the step in which it is given back: nobody can come between.
//! - L4: who gives up leaves the queue, or passes on what was handed over and not claimed.
//! - L6: a flow that waits here has no other wait, and the flows that hold the name wait nowhere; so no wait here is
//!   part of a cycle. Whatever would break this is left to the machine: see [`Flows`](super::Flows).
//! - L10: who gives back learns whom to wake.

use std::sync::PoisonError;
use std::task::Waker;

use raceproof_core::id::Token;
use raceproof_core::local::{Site, Stats, WAITERS_MAX};
use raceproof_core::lock::{Claim, Turn};
use raceproof_core::time::Time;

use super::crowd::{Crowd, Holding, Unclaimed, Wait};
use super::names::{Found, Slot};
use super::{Crowds, Holder, Key, Name, Released, Shards, State};
use crate::local::claims::AGE;
use crate::owner::{Flow, Owner};
use crate::sync::atomic::Ordering;

#[derive(Debug)]
pub(in crate::local) struct Waiting {
    pub(in crate::local) waker: Waker,
    pub(in crate::local) owner: Owner,
    /// When it gives up, by itself: only the machine has to know.
    pub(in crate::local) until: Option<Time>,
    /// Where it was asked for.
    pub(in crate::local) site: Site,
}

/// What came of asking to wait.
#[derive(Debug)]
pub(in crate::local) enum Entered {
    /// It could be held by then.
    Held(Token),
    Waiting {
        place: u64,
    },
    /// The machine has to decide.
    Elsewhere,
}

/// What became of a place.
#[derive(Debug)]
pub(in crate::local) enum Polled {
    Held(Token),
    Waiting,
    /// The machine has taken it over, or it was not claimed in time.
    Elsewhere,
}

/// What the machine takes over with a name.
#[derive(Debug)]
pub(in crate::local) struct Taken {
    pub(in crate::local) holders: Vec<TakenHolder>,
    /// In the order they are served.
    pub(in crate::local) waits: Vec<TakenWait>,
}

/// A grant that the machine takes over.
#[derive(Debug)]
pub(in crate::local) struct TakenHolder {
    pub(in crate::local) holder: Holder,
    pub(in crate::local) claim: Claim,
    /// For how many ages it has been held since others asked for it.
    pub(in crate::local) ages: u32,
    /// The place whose owner has not claimed it.
    pub(in crate::local) unclaimed: Option<u64>,
}

/// A wait that the machine takes over.
#[derive(Debug)]
pub(in crate::local) struct TakenWait {
    pub(in crate::local) place: u64,
    /// For how many ages it has lasted.
    pub(in crate::local) ages: u32,
    pub(in crate::local) who: Waiting,
    pub(in crate::local) claim: Claim,
}

/// Whom to wake: mostly one.
#[derive(Debug, Default)]
pub(in crate::local) struct Next {
    first: Option<Waker>,
    more: Vec<Waker>,
}

impl Next {
    fn push(&mut self, waker: Waker) {
        match &self.first {
            None => self.first = Some(waker),
            Some(_) => self.more.push(waker),
        }
    }

    /// Outside the lock.
    pub(in crate::local) fn wake(self) {
        self.first.into_iter().chain(self.more).for_each(Waker::wake);
    }
}

impl Released {
    /// Whom to wake.
    fn next(self) -> Next {
        match self {
            Self::Next(next) => next,
            Self::Free | Self::Elsewhere => Next::default(),
        }
    }
}

impl Shards {
    /// Grants the name beside others, if nobody waits for it and they go together. None if somebody is in the way, or
    /// the machine has to be asked.
    #[inline(never)]
    pub(in crate::local) fn try_hold_beside(&self, key: &Key, flow: &Flow, claim: Claim, site: Site) -> Option<Token> {
        let owner = flow.owner();
        let mut guard = self.table(key.hash);
        let table = &mut *guard;
        if table.closed {
            return None;
        }
        match table.names.entry(key.hash, |name| name.key.is(key)) {
            Slot::Occupied(found) => match &mut found.into_mut().state {
                State::Crowd(crowd) if crowd.line.turn(claim) == Turn::Now => {
                    Some(self.join(crowd, owner, claim, site))
                }
                _ => None,
            },
            Slot::Vacant(free) => {
                let mut crowd = table.crowds.spare.take().unwrap_or_default();
                if crowd.line.turn(claim) != Turn::Now {
                    return None;
                }
                let token = self.join(&mut crowd, owner, claim, site);
                free.insert(Name { key: key.clone(), state: State::Crowd(crowd) });
                Some(token)
            }
        }
    }

    fn join(&self, crowd: &mut Crowd, owner: Owner, claim: Claim, site: Site) -> Token {
        let token = self.mint();
        crowd.line.hold(claim);
        let since = self.age.load(Ordering::Relaxed);
        crowd.holders.push(Holding { holder: Holder { token, owner, site }, claim, since });
        token
    }

    /// Waits for a name, or takes it if that is possible at once.
    pub(in crate::local) fn enter(&self, key: &Key, claim: Claim, who: Waiting) -> Entered {
        let mut guard = self.table(key.hash);
        let table = &mut *guard;
        if table.closed {
            return Entered::Elsewhere;
        }
        let name = match table.names.entry(key.hash, |name| name.key.is(key)) {
            Slot::Vacant(free) if claim == Claim::Exclusive => {
                let token = self.mint();
                let holder = Holder { token, owner: who.owner, site: who.site };
                free.insert(Name { key: key.clone(), state: State::Held(holder) });
                return Entered::Held(token);
            }
            Slot::Vacant(free) => {
                let mut crowd = table.crowds.spare.take().unwrap_or_default();
                if crowd.line.turn(claim) != Turn::Now {
                    return Entered::Elsewhere;
                }
                let token = self.join(&mut crowd, who.owner, claim, who.site);
                free.insert(Name { key: key.clone(), state: State::Crowd(crowd) });
                return Entered::Held(token);
            }
            Slot::Occupied(found) => found.into_mut(),
        };
        let age = self.age.load(Ordering::Relaxed);
        let Some(crowd) = name.crowd(&mut table.crowds.spare, age) else { return Entered::Elsewhere };
        match crowd.line.turn(claim) {
            Turn::Now => return Entered::Held(self.join(crowd, who.owner, claim, who.site)),
            Turn::Later => {}
            Turn::Never => return Entered::Elsewhere,
        }
        if !self.may_wait(crowd, &who.owner, key) {
            return Entered::Elsewhere;
        }
        table.places += 1;
        let place = table.places * self.shards.len() as u64 + self.index(key.hash) as u64;
        crowd.line.wait(place, claim, Wait { since: age, who });
        Entered::Waiting { place }
    }

    /// Counts a wait for a name, unless the machine has to see it.
    fn may_wait(&self, crowd: &Crowd, owner: &Owner, key: &Key) -> bool {
        let waiting = self.waiting.fetch_add(1, Ordering::SeqCst) + self.waiting_elsewhere.load(Ordering::Relaxed);
        if waiting < WAITERS_MAX && self.flows.wait(owner, key) {
            if crowd.line.waiting() > 0 {
                return true;
            }
            let free = crowd.holders.iter().take_while(|held| self.flows.block(&held.holder.owner, key)).count();
            if free == crowd.holders.len() {
                return true;
            }
            for held in crowd.holders.iter().take(free) {
                self.flows.unblock(&held.holder.owner, key);
            }
            self.flows.end(owner);
        }
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        false
    }

    /// Claims the name if it was handed to this place, and else waits on. The second waker is only to be dropped.
    pub(in crate::local) fn poll(&self, key: &Key, place: u64, waker: &Waker) -> (Polled, Option<Waker>) {
        let mut guard = self.table(key.hash);
        let table = &mut *guard;
        let Some(name) = table.names.find_mut(key.hash, |name| name.key.is(key)) else {
            return (Polled::Elsewhere, None);
        };
        let State::Crowd(crowd) = &mut name.state else { return (Polled::Elsewhere, None) };
        if let Some(token) = crowd.claim(place) {
            let calm = name.calm();
            table.crowds.unclaimed -= 1;
            table.crowds.keep(calm);
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            return (Polled::Held(token), None);
        }
        match crowd.line.find(place) {
            Some(wait) if wait.who.waker.will_wake(waker) => (Polled::Waiting, None),
            Some(wait) => (Polled::Waiting, Some(std::mem::replace(&mut wait.who.waker, waker.clone()))),
            None => (Polled::Elsewhere, None),
        }
    }

    /// Gives up a place, or what was handed to it. `Err` if it is not here.
    pub(in crate::local) fn give_up(&self, key: &Key, place: u64) -> Result<GivenUp, ()> {
        let mut guard = self.table(key.hash);
        let table = &mut *guard;
        let Some(mut found) = table.names.find_entry(key.hash, |name| name.key.is(key)) else { return Err(()) };
        let State::Crowd(crowd) = &mut found.get_mut().state else { return Err(()) };
        if let Some(token) = crowd.claim(place) {
            table.crowds.unclaimed -= 1;
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            let released = self.leave(found, token, &mut table.crowds);
            table.names.shrink();
            return Ok(GivenUp { next: released.next(), spent: None });
        }
        let Some(wait) = crowd.line.leave(place) else { return Err(()) };
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.flows.end(&wait.who.owner);
        let next = self.serve(key, crowd, &mut table.crowds);
        table.crowds.keep(found.get_mut().calm());
        Ok(GivenUp { next, spent: Some(wait.who.waker) })
    }

    /// Ends a grant of a name that has a crowd, and serves those who can hold it then.
    #[inline(never)]
    pub(super) fn leave(&self, mut found: Found<'_>, token: Token, crowds: &mut Crowds) -> Released {
        let Name { key, state: State::Crowd(crowd) } = found.get_mut() else { return Released::Elsewhere };
        let Some(held) = crowd.remove(token) else { return Released::Elsewhere };
        if crowd.line.waiting() > 0 {
            self.flows.unblock(&held.holder.owner, key);
            return Released::Next(self.serve(key, crowd, crowds));
        }
        if crowd.holders.is_empty()
            && let State::Crowd(crowd) = found.remove().state
        {
            crowds.keep(Some(crowd));
        }
        Released::Free
    }

    /// Hands a name that is waited for to those whose turn it is, after somebody is gone.
    fn serve(&self, key: &Key, crowd: &mut Crowd, crowds: &mut Crowds) -> Next {
        let (mut next, before) = (Next::default(), crowd.holders.len());
        let since = self.age.load(Ordering::Relaxed);
        while let Some((place, claim, Wait { who, .. })) = crowd.line.next() {
            let token = self.mint();
            crowd.holders.push(Holding { holder: Holder { token, owner: who.owner, site: who.site }, claim, since });
            crowd.unclaimed.push(Unclaimed { place, token, since });
            crowds.unclaimed += 1;
            next.push(who.waker);
        }
        let is_waited_for = crowd.line.waiting() > 0;
        let (before, served) = crowd.holders.split_at(before);
        served.iter().for_each(|held| self.flows.hand(&held.holder.owner, key, is_waited_for));
        if !is_waited_for {
            before.iter().for_each(|held| self.flows.unblock(&held.holder.owner, key));
        }
        next
    }

    /// Passes on what was handed over before the last `patience` ages and is not claimed (L4). Gives whom to wake.
    pub(in crate::local) fn grow_older(&self, patience: u32) -> Vec<Next> {
        let now = self.age.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let mut wake = Vec::new();
        for shard in &self.shards {
            let mut guard = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
            let table = &mut *guard;
            if table.crowds.unclaimed == 0 {
                continue;
            }
            let late = |since: u32| now.wrapping_sub(since) > patience;
            let late: Vec<_> = table.names.iter_mut().flat_map(|name| name.take_late(late)).collect();
            for (hash, token) in late {
                table.crowds.unclaimed -= 1;
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                self.unclaimed.fetch_add(1, Ordering::Relaxed);
                if let Some(found) = table.names.find_entry(hash, |name| name.is_held_under(token)) {
                    wake.push(self.leave(found, token, &mut table.crowds).next());
                }
            }
            table.names.shrink();
        }
        wake
    }

    /// Makes a name managed and takes out what was decided and promised about it.
    pub(super) fn take(&self, name: &mut Name, crowds: &mut Crowds) -> Option<Taken> {
        match std::mem::replace(&mut name.state, State::Managed) {
            State::Managed => None,
            State::Held(holder) => {
                let holder = TakenHolder { holder, claim: Claim::Exclusive, ages: 0, unclaimed: None };
                Some(Taken { holders: vec![holder], waits: Vec::new() })
            }
            State::Crowd(crowd) => {
                let Crowd { line, holders, unclaimed: handed } = *crowd;
                crowds.unclaimed -= handed.len();
                self.waiting.fetch_sub(line.waiting() + handed.len(), Ordering::SeqCst);
                if line.waiting() > 0 {
                    holders.iter().for_each(|held| self.flows.unblock(&held.holder.owner, &name.key));
                }
                let age = self.age.load(Ordering::Relaxed);
                // They are in one order: that of being handed over.
                let mut handed = handed.into_iter().peekable();
                let holders = holders.into_iter().map(|Holding { holder, claim, since }| {
                    let unclaimed = handed.next_if(|handed| handed.token == holder.token).map(|handed| handed.place);
                    TakenHolder { holder, claim, ages: age.wrapping_sub(since), unclaimed }
                });
                let waits = line.into_waits().map(|(place, claim, Wait { since, who })| {
                    self.flows.moved(&who.owner);
                    TakenWait { place, ages: age.wrapping_sub(since), who, claim }
                });
                Some(Taken { holders: holders.collect(), waits: waits.collect() })
            }
        }
    }

    /// Adds what is held and waited for here.
    pub(in crate::local) fn count_in(&self, stats: &mut Stats) {
        stats.unclaimed += self.unclaimed.load(Ordering::Relaxed);
        let age = self.age.load(Ordering::Relaxed);
        for shard in &self.shards {
            let table = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
            for name in table.names.iter() {
                match &name.state {
                    State::Managed => {}
                    State::Held(_) => stats.held += 1,
                    State::Crowd(crowd) => {
                        stats.held += crowd.holders.len();
                        stats.waiting += crowd.line.waiting();
                        let waited = crowd.line.waits().next().map_or(0, |wait| age.wrapping_sub(wait.since));
                        stats.waited_max = stats.waited_max.max(AGE * waited);
                    }
                }
            }
        }
    }

    /// Adds those of all who wait here.
    pub(in crate::local) fn wakers(&self, wakers: &mut Vec<Waker>) {
        for shard in &self.shards {
            let table = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
            for name in table.names.iter() {
                if let State::Crowd(crowd) = &name.state {
                    wakers.extend(crowd.line.waits().map(|wait| wait.who.waker.clone()));
                }
            }
        }
    }

    /// How many wait here, those included that have not claimed their grant.
    pub(in crate::local) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::SeqCst)
    }
}

/// What to do once the lock is let go.
#[derive(Debug, Default)]
pub(in crate::local) struct GivenUp {
    pub(in crate::local) next: Next,
    /// Only to be dropped.
    #[expect(dead_code, reason = "it is dropped with this")]
    pub(in crate::local) spent: Option<Waker>,
}
