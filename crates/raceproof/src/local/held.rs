//! Something held here. Dropping it gives it back at once.

use std::sync::{Arc, OnceLock};

use once_cell::race::OnceBox;
use raceproof_core::client::OpError;
use raceproof_core::id::{SessionId, Token};
use raceproof_core::wire::{LostReason, Problem};
use tokio::sync::SetOnce;

use super::Local;
use crate::error::ReleaseError;
use crate::lease::{LossHook, run_hook};

/// A whole word: what has padding is copied in odd pieces, and a processor waits for each of them.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
enum What {
    /// One name that the machine may not have heard of.
    Fast,
    Locks,
    Lead,
    /// Nothing any more.
    Over,
}

/// Small, because it is moved about on the way to its owner and back.
#[derive(Debug)]
pub(crate) struct LocalHeld {
    local: Arc<Local>,
    token: Token,
    what: What,
    /// Of the name, for [`What::Fast`].
    hash: u64,
    /// Made when somebody asks: most guards are never asked.
    rest: OnceBox<Rest>,
}

#[derive(Debug, Default)]
struct Rest {
    names: OnceLock<Vec<Arc<str>>>,
    fate: OnceLock<Arc<SetOnce<LostReason>>>,
}

impl LocalHeld {
    pub(super) const fn fast(local: Arc<Local>, token: Token, hash: u64) -> Self {
        Self { local, token, what: What::Fast, hash, rest: OnceBox::new() }
    }

    pub(super) const fn locks(local: Arc<Local>, token: Token) -> Self {
        Self { local, token, what: What::Locks, hash: 0, rest: OnceBox::new() }
    }

    pub(super) const fn lead(local: Arc<Local>, term: Token) -> Self {
        Self { local, token: term, what: What::Lead, hash: 0, rest: OnceBox::new() }
    }

    pub(crate) const fn token(&self) -> Token {
        self.token
    }

    pub(crate) fn names(&self) -> &[Arc<str>] {
        let rest = self.rest.get_or_init(Box::default);
        rest.names.get_or_init(|| match self.what {
            What::Fast => match self.local.shards.name(self.hash, self.token) {
                Some(name) => vec![name],
                // The machine has taken it over meanwhile, and keeps it as long as this guard lives.
                None => self.local.lock().names(self.token),
            },
            What::Locks | What::Lead | What::Over => self.local.lock().names(self.token),
        })
    }

    pub(crate) fn session(&self) -> SessionId {
        self.local.session()
    }

    pub(crate) fn lost_reason(&self) -> Option<LostReason> {
        self.local.lost_reason(self.token)
    }

    pub(crate) fn fate(&self) -> Arc<SetOnce<LostReason>> {
        let fate = self.rest.get_or_init(Box::default).fate.get_or_init(|| {
            let fate = Arc::new(SetOnce::new());
            let mut slow = self.local.lock();
            match slow.lost.get(&self.token) {
                Some(loss) => drop(fate.set(loss.reason)),
                None => drop(slow.fates.insert(self.token, Arc::clone(&fate))),
            }
            fate
        });
        Arc::clone(fate)
    }

    /// Has `hook` run when this is lost, or at once if it was.
    pub(crate) fn on_loss(&self, hook: LossHook) {
        let mut slow = self.local.lock();
        match slow.lost.get(&self.token).map(|loss| loss.reason) {
            None => slow.hooks.entry(self.token).or_default().push(hook),
            Some(reason) => {
                drop(slow);
                run_hook(hook, reason);
            }
        }
    }

    pub(crate) fn release(mut self, to: Option<SessionId>) -> Result<(), ReleaseError> {
        self.give_back(to)
    }

    #[inline]
    fn give_back(&mut self, to: Option<SessionId>) -> Result<(), ReleaseError> {
        let what = std::mem::replace(&mut self.what, What::Over);
        if what == What::Fast && self.local.give_back(self.hash, self.token) {
            if self.rest.get().is_some() {
                self.forget_fate();
            }
            return Ok(());
        }
        self.give_back_slowly(what, to)
    }

    #[cold]
    fn forget_fate(&self) {
        self.local.lock().fates.remove(&self.token);
        self.tell(LostReason::Released);
    }

    fn tell(&self, reason: LostReason) {
        if let Some(fate) = self.rest.get().and_then(|rest| rest.fate.get()) {
            drop(fate.set(reason));
        }
    }

    #[cold]
    fn give_back_slowly(&self, what: What, to: Option<SessionId>) -> Result<(), ReleaseError> {
        let local = &self.local;
        if what == What::Lead {
            // Before anyone hears of it (E7).
            let hooks = local.lock().hooks.remove(&self.token).unwrap_or_default();
            for hook in hooks {
                run_hook(hook, LostReason::Released);
            }
        }
        let result = local.with(|slow, now| {
            let names = slow.names(self.token);
            slow.fates.remove(&self.token);
            let lost = slow.lost.remove(&self.token);
            let name = names.first().cloned().unwrap_or_default();
            let released = match (lost, what) {
                (Some(loss), _) => Err(ReleaseError::Lost(loss.reason)),
                (None, What::Lead) => slow.machine.resign(now, name, self.token, to).map_err(refused),
                (None, _) => slow.machine.release(now, name, self.token).map_err(refused),
            };
            if what != What::Lead {
                local.retire_all(slow, &names);
            }
            released
        });
        self.tell(LostReason::Released);
        result
    }
}

fn refused(problem: Box<Problem>) -> ReleaseError {
    OpError::Refused(problem).into()
}

impl Drop for LocalHeld {
    #[inline]
    fn drop(&mut self) {
        if self.what != What::Over {
            // Nobody is left to be told that it was lost before.
            drop(self.give_back(None));
        }
    }
}
