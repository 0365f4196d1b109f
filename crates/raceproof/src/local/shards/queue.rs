//! Waiting for one name, exclusively, first come first served: a queue, and the name passed from hand to hand.
//!
//! - L3: a name is handed to the first who waits, in the step in which it is given back: nobody can come between.
//! - L4: who gives up leaves the queue, or passes on what was handed over and not claimed.
//! - L6: a flow that waits here has no other wait, and the flow that holds the name waits nowhere; so no wait here is
//!   part of a cycle. Whatever would break this is left to the machine: see [`Flows`](super::Flows).
//! - L10: who gives back learns whom to wake.

use std::collections::VecDeque;
use std::sync::PoisonError;
use std::task::Waker;

use hashbrown::hash_table::Entry as Slot;
use raceproof_core::id::Token;
use raceproof_core::local::{Site, Stats};
use raceproof_core::lock::Claim;
use raceproof_core::time::Time;

use super::{Holder, Key, Name, Released, Shards, State, Table};
use crate::local::claims::AGE;
use crate::owner::Owner;
use crate::sync::atomic::Ordering;

/// How many may wait in one process, as the machine has it.
const WAITING_MAX: usize = 250_000;

/// A queue this long is not kept for the next time.
const ROOMY: usize = 64;

/// A name that is held and that others wait for, or that was handed over and is not claimed.
#[derive(Debug)]
pub(super) struct Contention {
    pub(super) holder: Holder,
    /// Whose the grant is, until it is claimed.
    granted: Option<u64>,
    /// The age in which the holder came to hold it, or others to wait for it.
    since: u32,
    queue: VecDeque<Wait>,
    /// How many of them have not given up.
    live: usize,
}

/// A place in the queue; empty once it was given up.
#[derive(Debug)]
struct Wait {
    place: u64,
    /// The age in which it began.
    since: u32,
    who: Option<Waiting>,
}

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
    /// It was free by then.
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
    pub(in crate::local) holders: Vec<(Holder, Claim)>,
    /// For how many ages it has been held since others asked for it.
    pub(in crate::local) ages: u32,
    /// The place whose owner has not claimed it.
    pub(in crate::local) unclaimed: Option<u64>,
    /// In the order they are served.
    pub(in crate::local) waits: Vec<TakenWait>,
}

impl Taken {
    /// Nobody waits.
    const fn calm(holders: Vec<(Holder, Claim)>) -> Self {
        Self { holders, ages: 0, unclaimed: None, waits: Vec::new() }
    }
}

/// A wait that the machine takes over.
#[derive(Debug)]
pub(in crate::local) struct TakenWait {
    pub(in crate::local) place: u64,
    /// For how many ages it has lasted.
    pub(in crate::local) ages: u32,
    pub(in crate::local) who: Waiting,
}

impl Shards {
    /// Waits for a name, or takes it if it is free.
    pub(in crate::local) fn enter(&self, key: &Key, who: Waiting) -> Entered {
        let mut guard = self.table(key.hash);
        let table = &mut *guard;
        if table.closed {
            return Entered::Elsewhere;
        }
        let name = match table.names.entry(key.hash, |name| name.key.is(key), Name::hash) {
            Slot::Vacant(free) => {
                let token = self.mint();
                free.insert(Name {
                    key: key.clone(),
                    state: State::Held(Holder { token, owner: who.owner, site: who.site }),
                });
                return Entered::Held(token);
            }
            Slot::Occupied(found) => found.into_mut(),
        };
        let (holder, first) = match &name.state {
            State::Held(holder) => (holder, true),
            State::Contended(contention) => (&contention.holder, contention.live == 0),
            State::Several(_) | State::Managed => return Entered::Elsewhere,
        };
        if self.waiting.fetch_add(1, Ordering::SeqCst) >= WAITING_MAX || !self.flows.wait(&who.owner, key) {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            return Entered::Elsewhere;
        }
        if first && !self.flows.block(&holder.owner, key) {
            self.flows.end(&who.owner);
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            return Entered::Elsewhere;
        }
        table.places += 1;
        let place = table.places * self.shards.len() as u64 + self.index(key.hash) as u64;
        let since = self.age.load(Ordering::Relaxed);
        let wait = Wait { place, since, who: Some(who) };
        match &mut name.state {
            State::Contended(contention) => contention.push(wait),
            state => {
                if let State::Held(holder) = std::mem::replace(state, State::Managed) {
                    let mut contention = Contention::new(holder, since, table.spare.take());
                    contention.push(wait);
                    *state = State::Contended(contention);
                    table.contended += 1;
                }
            }
        }
        Entered::Waiting { place }
    }

    /// Claims the name if it was handed to this place, and else waits on. The second waker is only to be dropped.
    pub(in crate::local) fn poll(&self, key: &Key, place: u64, waker: &Waker) -> (Polled, Option<Waker>) {
        let mut guard = self.table(key.hash);
        let table = &mut *guard;
        let Some(name) = table.names.find_mut(key.hash, |name| name.key.is(key)) else {
            return (Polled::Elsewhere, None);
        };
        let State::Contended(contention) = &mut name.state else { return (Polled::Elsewhere, None) };
        if contention.granted == Some(place) {
            contention.granted = None;
            let token = contention.holder.token;
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            table.calm(key);
            return (Polled::Held(token), None);
        }
        match contention.find(place).and_then(|wait| wait.who.as_mut()) {
            Some(who) if who.waker.will_wake(waker) => (Polled::Waiting, None),
            Some(who) => (Polled::Waiting, Some(std::mem::replace(&mut who.waker, waker.clone()))),
            None => (Polled::Elsewhere, None),
        }
    }

    /// Gives up a place, or what was handed to it. `Err` if it is not here.
    pub(in crate::local) fn give_up(&self, key: &Key, place: u64) -> Result<GivenUp, ()> {
        let mut guard = self.table(key.hash);
        let table = &mut *guard;
        let Some(name) = table.names.find_mut(key.hash, |name| name.key.is(key)) else { return Err(()) };
        let State::Contended(contention) = &mut name.state else { return Err(()) };
        if contention.granted == Some(place) {
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            let token = contention.holder.token;
            return Ok(match self.hand_over(table, key.hash, token) {
                Released::Next(waker) => GivenUp { wake: Some(waker), spent: None },
                Released::Free | Released::Elsewhere => GivenUp::default(),
            });
        }
        let Some(who) = contention.find(place).and_then(|wait| wait.who.take()) else { return Err(()) };
        contention.live -= 1;
        self.waiting.fetch_sub(1, Ordering::SeqCst);
        self.flows.end(&who.owner);
        if contention.live == 0 {
            self.flows.unblock(&contention.holder.owner, key);
        }
        contention.compact();
        table.calm(key);
        Ok(GivenUp { wake: None, spent: Some(who.waker) })
    }

    /// Passes a contended name on to the first who waits; without one, it is free.
    #[cold]
    #[inline(never)]
    pub(super) fn hand_over(&self, table: &mut Table, hash: u64, token: Token) -> Released {
        let Ok(mut found) = table.names.find_entry(hash, |name| name.is_held_under(token)) else {
            return Released::Elsewhere;
        };
        let Name { key, state } = found.get_mut();
        let State::Contended(contention) = state else { return Released::Elsewhere };
        let Some((place, who)) = contention.pop() else {
            let (name, _) = found.remove();
            table.contended -= 1;
            if let State::Contended(contention) = name.state {
                table.keep(contention);
            }
            table.shrink();
            return Released::Free;
        };
        self.flows.unblock(&contention.holder.owner, key);
        self.flows.hand(&who.owner, key, contention.live > 0);
        contention.holder = Holder { token: self.mint(), owner: who.owner, site: who.site };
        contention.granted = Some(place);
        contention.since = self.age.load(Ordering::Relaxed);
        Released::Next(who.waker)
    }

    /// Passes on what was handed over before the last `patience` ages and is not claimed (L4). Gives whom to wake.
    pub(in crate::local) fn grow_older(&self, patience: u32) -> Vec<Waker> {
        let now = self.age.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        let mut wake = Vec::new();
        for shard in &self.shards {
            let mut table = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
            if table.contended == 0 {
                continue;
            }
            let late = |since: u32| now.wrapping_sub(since) > patience;
            let late: Vec<_> = table.names.iter().filter_map(|name| name.unclaimed(late)).collect();
            for (hash, token) in late {
                self.waiting.fetch_sub(1, Ordering::SeqCst);
                self.unclaimed.fetch_add(1, Ordering::Relaxed);
                if let Released::Next(waker) = self.hand_over(&mut table, hash, token) {
                    wake.push(waker);
                }
            }
        }
        wake
    }

    /// Makes a name managed and takes out what was decided and promised about it.
    pub(super) fn take(&self, name: &mut Name, contended: &mut usize) -> Option<Taken> {
        match std::mem::replace(&mut name.state, State::Managed) {
            State::Managed => None,
            State::Held(holder) => Some(Taken::calm(vec![(holder, Claim::Exclusive)])),
            State::Several(several) => Some(Taken::calm(several.holders)),
            State::Contended(contention) => {
                *contended -= 1;
                let Contention { holder, granted, since, queue, live } = *contention;
                if live > 0 {
                    self.flows.unblock(&holder.owner, &name.key);
                }
                let age = self.age.load(Ordering::Relaxed);
                let taken = |wait: Wait| {
                    Some(TakenWait { place: wait.place, ages: age.wrapping_sub(wait.since), who: wait.who? })
                };
                let waits: Vec<_> = queue.into_iter().filter_map(taken).collect();
                for wait in &waits {
                    self.flows.moved(&wait.who.owner);
                }
                self.waiting.fetch_sub(waits.len() + usize::from(granted.is_some()), Ordering::SeqCst);
                let holders = vec![(holder, Claim::Exclusive)];
                Some(Taken { holders, ages: age.wrapping_sub(since), unclaimed: granted, waits })
            }
        }
    }

    /// Adds what is held and waited for here.
    pub(in crate::local) fn count_in(&self, stats: &mut Stats) {
        stats.unclaimed += self.unclaimed.load(Ordering::Relaxed);
        let age = self.age.load(Ordering::Relaxed);
        for shard in &self.shards {
            let table = shard.0.lock().unwrap_or_else(PoisonError::into_inner);
            for name in &table.names {
                stats.held += match &name.state {
                    State::Managed => 0,
                    State::Several(several) => several.holders.len(),
                    State::Held(_) | State::Contended(_) => 1,
                };
                if let State::Contended(contention) = &name.state {
                    stats.waiting += contention.live;
                    let first = contention.queue.iter().find(|wait| wait.who.is_some());
                    let waited = first.map_or(0, |wait| age.wrapping_sub(wait.since));
                    stats.waited_max = stats.waited_max.max(AGE * waited);
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
    pub(in crate::local) wake: Option<Waker>,
    /// Only to be dropped.
    #[expect(dead_code, reason = "it is dropped with this")]
    pub(in crate::local) spent: Option<Waker>,
}

impl Contention {
    fn new(holder: Holder, since: u32, spare: Option<Box<Self>>) -> Box<Self> {
        match spare {
            Some(mut spare) => {
                spare.holder = holder;
                spare.since = since;
                spare
            }
            None => Box::new(Self { holder, granted: None, since, queue: VecDeque::new(), live: 0 }),
        }
    }

    fn push(&mut self, wait: Wait) {
        self.queue.push_back(wait);
        self.live += 1;
    }

    fn pop(&mut self) -> Option<(u64, Waiting)> {
        loop {
            let wait = self.queue.pop_front()?;
            if let Some(who) = wait.who {
                self.live -= 1;
                return Some((wait.place, who));
            }
        }
    }

    /// Places ascend.
    fn find(&mut self, place: u64) -> Option<&mut Wait> {
        let at = self.queue.binary_search_by_key(&place, |wait| wait.place).ok()?;
        self.queue.get_mut(at)
    }

    /// Keeps memory in proportion to those who wait (L7).
    fn compact(&mut self) {
        if self.queue.len() > 2 * self.live {
            self.queue.retain(|wait| wait.who.is_some());
            if self.queue.capacity() > ROOMY.max(4 * self.live) {
                self.queue.shrink_to(2 * self.live);
            }
        }
    }
}

impl Table {
    /// A name that nobody waits for any more is simply held.
    fn calm(&mut self, key: &Key) {
        let Some(name) = self.names.find_mut(key.hash, |name| name.key.is(key)) else { return };
        if !matches!(&name.state, State::Contended(contention) if contention.live == 0 && contention.granted.is_none())
        {
            return;
        }
        if let State::Contended(mut contention) = std::mem::replace(&mut name.state, State::Managed) {
            let nobody = Holder { token: Token::new(0), owner: Owner::Detached(0), site: contention.holder.site };
            name.state = State::Held(std::mem::replace(&mut contention.holder, nobody));
            self.contended -= 1;
            self.keep(contention);
        }
    }

    fn keep(&mut self, mut contention: Box<Contention>) {
        contention.queue.clear();
        contention.granted = None;
        contention.holder.owner = Owner::Detached(0);
        self.spare = Some(contention).filter(|contention| contention.queue.capacity() <= ROOMY);
    }
}

impl Name {
    #[cfg(test)]
    pub(super) fn places(&self) -> usize {
        match &self.state {
            State::Contended(contention) => contention.queue.capacity(),
            _ => 0,
        }
    }

    /// The grant, if it was handed over, is not claimed, and is late.
    fn unclaimed(&self, late: impl Fn(u32) -> bool) -> Option<(u64, Token)> {
        match &self.state {
            State::Contended(contention) if contention.granted.is_some() && late(contention.since) => {
                Some((self.key.hash, contention.holder.token))
            }
            _ => None,
        }
    }
}
