//! The coordinator in this process: the core's machine behind a lock, and in front of it the names that are wanted one
//! at a time and in the order of asking.
//!
//! Owns wakers, losses that guards have to be told of, and the order of the locks: the machine's first, then a shard's,
//! then a flow's. Decides only that a free name is granted; who is next at a name is its [line's] to decide, and
//! everything else the machine's, which is also the oracle of the tests.
//!
//! [line's]: raceproof_core::lock::Line
//!
//! - L2: one counter gives every token.
//! - L4: a future that is dropped gives its place or its grant back, whatever it had reached.
//! - L7: a name leaves nothing behind; see [`shards`].

mod claims;
mod flows;
mod held;
mod limit;
mod observer;
mod op;
mod queued;
mod shards;
mod text;

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError};
use std::task::Waker;

use raceproof_core::client::{ConnectionState, OpError, Outcome};
use raceproof_core::id::{SessionId, Token};
use raceproof_core::local::{Blocked, Local as Machine, ObserverId, OpId, Origin, Output, Site};
use raceproof_core::lock::Claim;
use raceproof_core::time::Time;
use raceproof_core::wire::{Acquire, Campaign, LostReason, Problem, Request, Response, WAIT_MS_FOREVER};
use tokio::sync::{SetOnce, watch};
use tokio::time::Instant;

use self::claims::AGE;
pub(crate) use self::held::LocalHeld;
pub(crate) use self::observer::LocalObserver;
use self::op::Asked;
pub(crate) use self::op::LocalOp;
pub(crate) use self::queued::{Entry, Left, Queued};
pub(crate) use self::shards::Key;
use self::shards::{Released, Shards, Taken, TakenHolder, TakenWait};
use crate::error::AcquireError;
use crate::lease::{Lease, LossHook, run_hook};
use crate::lock::{Stats, millis};
use crate::names::Names;
use crate::owner::{Flow, Owner};
use crate::sync::atomic::{AtomicBool, Ordering};
use crate::sync::{Mutex, MutexGuard};

/// The longest name that is granted without the machine, which refuses longer ones.
const NAME_BYTES_MAX: usize = 256;

/// A coordinator of this process.
pub(crate) struct Local {
    shards: Shards,
    slow: Mutex<Slow>,
    /// Whether somebody looks after unclaimed grants.
    watched: AtomicBool,
    /// Whether any guard has lost what it holds: so that one that has not is told so without the machine's lock.
    any_lost: AtomicBool,
    origin: Instant,
    pub(crate) connection: watch::Sender<ConnectionState>,
    /// There is none to follow here.
    pub(crate) leases: watch::Sender<Option<Lease>>,
}

impl std::fmt::Debug for Local {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

struct Slow {
    machine: Machine,
    /// The last token that the machine may give away in this call.
    set_aside: u64,
    ops: BTreeMap<OpId, Waker>,
    /// What waited elsewhere, by its place there, until its owner looks.
    moved: BTreeMap<u64, Moved>,
    observers: BTreeMap<ObserverId, Waker>,
    /// Wakers that are not needed any more. They may own what takes this lock when it is dropped.
    spent: Vec<Waker>,
    /// Who wants to be told of the end of a grant.
    fates: BTreeMap<Token, Arc<SetOnce<LostReason>>>,
    hooks: BTreeMap<Token, Vec<LossHook>>,
    /// Grants that ended against their guards' will, until the guards are gone.
    lost: BTreeMap<Token, Loss>,
}

/// A wait that the machine took over.
#[derive(Debug)]
struct Moved {
    op: OpId,
    /// Whose wait it is; none if it has been served.
    flow: Option<Owner>,
}

struct Loss {
    reason: LostReason,
    names: Vec<Arc<str>>,
}

/// What to do once the lock is let go.
#[derive(Default)]
struct Fired {
    wakers: Vec<Waker>,
    hooks: Vec<(LossHook, LostReason)>,
    /// Only to be dropped.
    spent: Vec<Waker>,
}

impl Local {
    pub(crate) fn new() -> Self {
        Self::with_shards(Shards::MANY)
    }

    /// Small, for one name.
    pub(crate) fn single() -> Self {
        Self::with_shards(1)
    }

    fn with_shards(shards: usize) -> Self {
        let name = format!("local:{}", std::process::id());
        let machine = Machine::new(name.into(), fastrand::u128(..), Time::ZERO);
        Self {
            shards: Shards::new(shards),
            watched: AtomicBool::new(false),
            any_lost: AtomicBool::new(false),
            slow: Mutex::new(Slow {
                machine,
                set_aside: 0,
                ops: BTreeMap::new(),
                moved: BTreeMap::new(),
                observers: BTreeMap::new(),
                spent: Vec::new(),
                fates: BTreeMap::new(),
                hooks: BTreeMap::new(),
                lost: BTreeMap::new(),
            }),
            origin: Instant::now(),
            connection: watch::Sender::new(ConnectionState::Connected),
            leases: watch::Sender::new(None),
        }
    }

    /// What [`Local::try_hold`] needs of a name. None if the machine has to be asked, which refuses it.
    #[inline]
    pub(crate) fn key(&self, name: &Arc<str>) -> Option<Key> {
        (1..=NAME_BYTES_MAX).contains(&name.len()).then(|| self.shards.key(name))
    }

    fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    fn instant(&self, at: Time) -> Instant {
        self.origin + at.since(Time::ZERO)
    }

    /// Why a grant was lost; none while it is held.
    fn lost_reason(&self, token: Token) -> Option<LostReason> {
        if !self.any_lost.load(Ordering::Acquire) {
            return None;
        }
        self.lock().lost.get(&token).map(|loss| loss.reason)
    }

    fn lock(&self) -> MutexGuard<'_, Slow> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes one input to the machine, drains every output, and then, outside the lock, wakes whom they concern.
    fn with<R>(&self, input: impl FnOnce(&mut Slow, Time) -> R) -> R {
        let mut slow = self.lock();
        let now = self.now();
        self.set_tokens_aside(&mut slow);
        let result = input(&mut slow, now);
        // What was not used goes back, unless others have gone on from there.
        let (last, set_aside) = (slow.machine.token_last().as_u64(), slow.set_aside);
        let _ = self.shards.tokens.compare_exchange(set_aside, last, Ordering::Relaxed, Ordering::Relaxed);
        let fired = slow.drain();
        self.shards.waiting_elsewhere.store(slow.machine.pending(), Ordering::Relaxed);
        self.any_lost.store(!slow.lost.is_empty(), Ordering::Release);
        drop(slow);
        fired.fire();
        result
    }

    /// As many as the machine may need for what it knows now; greater than all that were given before.
    fn set_tokens_aside(&self, slow: &mut Slow) {
        let wanted = slow.machine.tokens_wanted();
        let before = self.shards.tokens.fetch_add(wanted, Ordering::Relaxed);
        slow.machine.tokens_after(Token::new(before));
        slow.set_aside = before + wanted;
    }

    /// True at every 1,024th grant, whoever made them.
    #[inline]
    pub(crate) fn has_run_long(&self) -> bool {
        self.shards.tokens.load(Ordering::Relaxed) % 1_024 == 1_023
    }

    /// Takes one name alone, if nobody holds it or waits for it.
    #[inline(always)]
    pub(crate) fn try_hold(self: &Arc<Self>, key: &Key, flow: &Flow, site: Site) -> Option<LocalHeld> {
        let token = self.grant(key, flow, site)?;
        Some(LocalHeld::fast(Arc::clone(self), token, key.hash()))
    }

    /// Takes some of one name, beside others, if nobody waits for it and they go together.
    pub(crate) fn try_hold_beside(
        self: &Arc<Self>,
        key: &Key,
        flow: &Flow,
        claim: Claim,
        site: Site,
    ) -> Option<LocalHeld> {
        let usable = flow.is_usable().then_some(flow)?;
        let token = self.shards.try_hold_beside(key, usable, claim, site)?;
        Some(LocalHeld::fast(Arc::clone(self), token, key.hash()))
    }

    /// Not inlined, and its result in a register: what surrounds it is, and then passes nothing through memory.
    #[inline(never)]
    fn grant(&self, key: &Key, flow: &Flow, site: Site) -> Option<Token> {
        if !flow.is_usable() {
            return None;
        }
        self.shards.try_hold(key, flow, site)
    }

    /// Ends a grant that was made without the machine, and wakes who has it next. False if the machine has taken it over.
    #[inline(never)]
    fn give_back(&self, hash: u64, token: Token) -> bool {
        match self.shards.release(hash, token) {
            Released::Free => true,
            Released::Next(next) => {
                next.wake();
                true
            }
            Released::Elsewhere => false,
        }
    }

    /// Takes locks of every kind, after a wait if need be.
    pub(crate) async fn acquire(
        self: &Arc<Self>,
        names: Names,
        acquire: Acquire,
        owner: Owner,
        site: Site,
    ) -> Result<LocalHeld, AcquireError> {
        let wait_ms = acquire.wait_ms;
        self.granted(self.run(Asked::Locks(names, acquire, owner, site), wait_ms)).await
    }

    /// Waits for a grant of the machine's.
    pub(crate) async fn granted(self: &Arc<Self>, mut op: LocalOp) -> Result<LocalHeld, AcquireError> {
        match (&mut op).await {
            Ok(Outcome::Granted { grant, .. }) => Ok(LocalHeld::locks(Arc::clone(self), grant.token)),
            Ok(_) => Err(AcquireError::Closed),
            Err(error) => Err(op.explained(error)),
        }
    }

    pub(crate) async fn campaign(
        self: &Arc<Self>,
        campaign: Campaign,
    ) -> Result<(raceproof_core::wire::Leader, LocalHeld), OpError> {
        let wait_ms = campaign.wait_ms;
        match self.run(Asked::Lead(campaign), wait_ms).await? {
            Outcome::Elected { leader } => {
                let held = LocalHeld::lead(Arc::clone(self), leader.term);
                Ok((leader, held))
            }
            _ => Err(OpError::Closed),
        }
    }

    /// Asks something that is answered at once.
    pub(crate) fn ask(&self, request: Request) -> Result<Response, Box<Problem>> {
        let name = match &request {
            Request::Lock { name } | Request::Steal { name } => Some(Arc::clone(name)),
            Request::Check(check) => Some(Arc::clone(&check.name)),
            _ => None,
        };
        self.with(|slow, now| match name {
            Some(name) => {
                self.promote(slow, now, &name);
                let answer = slow.machine.ask(now, request);
                self.retire(slow, &name);
                answer
            }
            None => {
                self.promote_all(slow, now, false);
                slow.machine.ask(now, request)
            }
        })
    }

    /// Who waits for a lock, and for whom: the first of them.
    pub(crate) fn blocked(&self, max: usize) -> Vec<Blocked> {
        self.with(|slow, now| {
            self.promote_all(slow, now, false);
            slow.machine.blocked(now, max)
        })
    }

    /// Everything in numbers.
    pub(crate) fn stats(&self) -> Stats {
        let slow = self.lock();
        let now = self.now();
        let mut stats = slow.machine.stats(now);
        // No name changes sides meanwhile: that takes the machine's lock.
        self.shards.count_in(&mut stats);
        stats
    }

    pub(crate) fn close(&self) {
        self.with(|slow, now| {
            self.promote_all(slow, now, true);
            slow.machine.close(now);
        });
        self.connection.send_replace(ConnectionState::Closed);
    }

    pub(crate) fn session(&self) -> SessionId {
        self.lock().machine.session()
    }

    /// The machine decides about the name from here on, as long as it has a use for it.
    fn promote(&self, slow: &mut Slow, now: Time, name: &Arc<str>) {
        self.promote_key(slow, now, &self.shards.key(name));
    }

    fn promote_key(&self, slow: &mut Slow, now: Time, key: &Key) {
        let Some(taken) = self.shards.promote(key) else { return };
        let was_free = taken.holders.is_empty();
        slow.take_over(now, key.to_shared(), taken);
        // Also if others have gone on since this call began: one of them may have held the name until just now (L2).
        if !was_free || self.shards.tokens.load(Ordering::Relaxed) != slow.set_aside {
            self.set_tokens_aside(slow);
        }
    }

    fn promote_all(&self, slow: &mut Slow, now: Time, close: bool) {
        self.shards.promote_all(close, |name, taken| slow.take_over(now, name, taken));
        self.set_tokens_aside(slow);
    }

    fn retire(&self, slow: &Slow, name: &Arc<str>) {
        if !slow.machine.uses(name) {
            self.shards.retire(name);
        }
    }

    fn retire_all(&self, slow: &Slow, names: &[Arc<str>]) {
        for name in names {
            self.retire(slow, name);
        }
    }

    /// For how many names there is room.
    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.shards.capacity()
    }

    /// How many wait, or have not claimed what they were given.
    #[cfg(test)]
    pub(crate) fn waits(&self) -> usize {
        self.shards.waiting() + self.lock().machine.pending()
    }

    /// How many names, flows, operations, losses and fates are remembered.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        let slow = self.lock();
        self.shards.names_count()
            + self.shards.waiting()
            + self.shards.flows.count()
            + slow.moved.len()
            + slow.machine.pending()
            + slow.ops.len()
            + slow.lost.len()
            + slow.fates.len()
            + slow.hooks.len()
    }
}

impl Slow {
    /// Tells the machine of a name that was held, or waited for, without it.
    fn take_over(&mut self, now: Time, name: Arc<str>, taken: Taken) {
        let Taken { holders, waits } = taken;
        for TakenHolder { holder, claim, ages, unclaimed } in holders {
            let owner = holder.owner.text();
            let origin = Origin { site: holder.site, since: now.saturating_sub(AGE * ages) };
            match unclaimed {
                None => self.machine.adopt(origin, Arc::clone(&name), holder.token, owner, claim),
                Some(place) => {
                    let op = self.machine.adopt_unclaimed(now, origin, Arc::clone(&name), holder.token, owner, claim);
                    self.moved.insert(place, Moved { op, flow: None });
                }
            }
        }
        for TakenWait { place, ages, who, claim } in waits {
            let wait_ms = who.until.map_or(WAIT_MS_FOREVER, |until| millis(until.since(now)).max(1));
            let owner = Some(who.owner.text());
            let asked = Acquire { wait_ms, owner, ..claim.of(vec![Arc::clone(&name)]) };
            let origin = Origin { site: who.site, since: now.saturating_sub(AGE * ages) };
            let Ok(op) = self.machine.acquire(now, asked, origin) else { continue };
            self.ops.insert(op, who.waker);
            self.moved.insert(place, Moved { op, flow: Some(who.owner) });
        }
    }

    /// Has the machine take somebody on, who is one of all who wait.
    fn beside<R>(&mut self, local: &Local, ask: impl FnOnce(&mut Machine) -> R) -> R {
        self.machine.waiters_elsewhere(local.shards.waiting());
        let asked = ask(&mut self.machine);
        self.machine.waiters_elsewhere(0);
        asked
    }

    fn wake_op(&mut self, op: OpId, waker: &Waker) {
        self.spent.extend(self.ops.insert(op, waker.clone()));
    }

    fn forget_op(&mut self, op: OpId) {
        self.spent.extend(self.ops.remove(&op));
    }

    /// What a guard's grant is of.
    fn names(&self, token: Token) -> Vec<Arc<str>> {
        self.lost.get(&token).map_or_else(|| self.machine.names_of(token), |loss| loss.names.clone())
    }

    fn drain(&mut self) -> Fired {
        let mut fired = Fired { spent: std::mem::take(&mut self.spent), ..Fired::default() };
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Complete { op } => fired.wakers.extend(self.ops.remove(&op)),
                Output::Observed { observer } => fired.wakers.extend(self.observers.remove(&observer)),
                Output::Lost { token, reason, names } => {
                    self.lost.insert(token, Loss { reason, names });
                    if let Some(fate) = self.fates.remove(&token) {
                        drop(fate.set(reason));
                    }
                    let hooks = self.hooks.remove(&token).unwrap_or_default();
                    fired.hooks.extend(hooks.into_iter().map(|hook| (hook, reason)));
                }
                _ => {}
            }
        }
        fired
    }
}

impl Fired {
    fn fire(self) {
        for (hook, reason) in self.hooks {
            run_hook(hook, reason);
        }
        for waker in self.wakers {
            waker.wake();
        }
        drop(self.spent);
    }
}

#[cfg(test)]
mod tests;
