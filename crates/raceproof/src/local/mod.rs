//! The coordinator in this process: the core's machine behind a lock, and in front of it the names that nobody
//! contends for.
//!
//! Owns wakers, losses that guards have to be told of, and the order of the two locks: the machine's first, then a
//! shard's. Decides nothing: what is not free at once is the machine's to decide.
//!
//! - L2: one counter gives every token.
//! - L4: a future that is dropped gives its place or its grant back, whatever it had reached.
//! - L7: a name leaves nothing behind; see [`shards`].

mod held;
mod observer;
mod op;
mod shards;
mod text;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use raceproof_core::client::{ConnectionState, OpError, Outcome};
use raceproof_core::id::{SessionId, Token};
use raceproof_core::local::{Local as Machine, ObserverId, OpId, Output};
use raceproof_core::time::Time;
use raceproof_core::wire::{Acquire, Campaign, LostReason, Problem, Request, Response};
use tokio::sync::{SetOnce, watch};
use tokio::time::Instant;

pub(crate) use self::held::LocalHeld;
pub(crate) use self::observer::LocalObserver;
use self::op::Asked;
pub(crate) use self::shards::Key;
use self::shards::Shards;
use crate::lease::{Lease, LossHook, run_hook};
use crate::names::Names;
use crate::owner::Flow;

/// The longest name that is granted without the machine, which refuses longer ones.
const NAME_BYTES_MAX: usize = 256;

/// A coordinator of this process.
pub(crate) struct Local {
    shards: Shards,
    /// The last token that was given away or set aside.
    tokens: AtomicU64,
    slow: Mutex<Slow>,
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
    ops: BTreeMap<OpId, Waker>,
    observers: BTreeMap<ObserverId, Waker>,
    /// Wakers that are not needed any more. They may own what takes this lock when it is dropped.
    spent: Vec<Waker>,
    /// Who wants to be told of the end of a grant.
    fates: BTreeMap<Token, Arc<SetOnce<LostReason>>>,
    hooks: BTreeMap<Token, Vec<LossHook>>,
    /// Grants that ended against their guards' will, until the guards are gone.
    lost: BTreeMap<Token, Loss>,
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
        let name = format!("local:{}", std::process::id());
        let machine = Machine::new(name.into(), fastrand::u128(..), Time::ZERO);
        Self {
            shards: Shards::new(),
            tokens: AtomicU64::new(0),
            slow: Mutex::new(Slow {
                machine,
                ops: BTreeMap::new(),
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

    fn lock(&self) -> MutexGuard<'_, Slow> {
        self.slow.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes one input to the machine, drains every output, and then, outside the lock, wakes whom they concern.
    fn with<R>(&self, input: impl FnOnce(&mut Slow, Time) -> R) -> R {
        let mut slow = self.lock();
        let now = self.now();
        let wanted = slow.machine.tokens_wanted();
        let before = self.tokens.fetch_add(wanted, Ordering::Relaxed);
        slow.machine.tokens_after(Token::new(before));
        let result = input(&mut slow, now);
        // What was not used goes back, unless others have gone on from there.
        let last = slow.machine.token_last().as_u64();
        let _ = self.tokens.compare_exchange(before + wanted, last, Ordering::Relaxed, Ordering::Relaxed);
        let fired = slow.drain();
        drop(slow);
        fired.fire();
        result
    }

    /// True at every 1,024th grant, whoever made them.
    #[inline]
    pub(crate) fn has_run_long(&self) -> bool {
        self.tokens.load(Ordering::Relaxed) % 1_024 == 1_023
    }

    /// Takes one name alone, if nobody holds it or waits for it.
    #[inline(always)]
    pub(crate) fn try_hold(self: &Arc<Self>, key: &Key, flow: &Flow) -> Option<LocalHeld> {
        let token = self.grant(key, flow)?;
        Some(LocalHeld::fast(Arc::clone(self), token, key.hash()))
    }

    /// Not inlined, and its result in a register: what surrounds it is, and then passes nothing through memory.
    #[inline(never)]
    fn grant(&self, key: &Key, flow: &Flow) -> Option<Token> {
        if !flow.is_usable() {
            return None;
        }
        self.shards.try_hold(key, flow, || Token::new(self.tokens.fetch_add(1, Ordering::Relaxed) + 1))
    }

    /// Takes locks of every kind, after a wait if need be.
    pub(crate) async fn acquire(self: &Arc<Self>, names: Names, acquire: Acquire) -> Result<LocalHeld, OpError> {
        let wait_ms = acquire.wait_ms;
        match self.run(Asked::Locks(names, acquire), wait_ms).await? {
            Outcome::Granted { grant, .. } => Ok(LocalHeld::locks(Arc::clone(self), grant.token)),
            _ => Err(OpError::Closed),
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
        if let Some(holder) = self.shards.promote(name) {
            slow.machine.adopt(now, Arc::clone(name), holder.token, holder.owner.text());
        }
    }

    fn promote_all(&self, slow: &mut Slow, now: Time, close: bool) {
        self.shards.promote_all(close, |name, holder| slow.machine.adopt(now, name, holder.token, holder.owner.text()));
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

    /// How many names, operations, losses and fates are remembered.
    #[cfg(test)]
    pub(crate) fn remembered(&self) -> usize {
        let slow = self.lock();
        self.shards.names_count()
            + slow.machine.pending()
            + slow.ops.len()
            + slow.lost.len()
            + slow.fates.len()
            + slow.hooks.len()
    }
}

impl Slow {
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
