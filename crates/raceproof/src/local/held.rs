//! Something held here. Dropping it gives it back at once.

use std::sync::{Arc, OnceLock};

use raceproof_core::client::OpError;
use raceproof_core::id::{SessionId, Token};
use raceproof_core::wire::LostReason;
use tokio::sync::SetOnce;

use super::Local;
use crate::error::ReleaseError;
use crate::lease::LossHook;
use crate::names::Names;

#[derive(Debug)]
enum What {
    /// One name that the machine may not have heard of.
    Fast(u64),
    Locks,
    Lead,
}

#[derive(Debug)]
pub(crate) struct LocalHeld {
    local: Arc<Local>,
    token: Token,
    what: What,
    names: Names,
    /// Made when somebody asks for it: most guards are never asked.
    fate: OnceLock<Arc<SetOnce<LostReason>>>,
    released: bool,
}

impl LocalHeld {
    pub(super) const fn fast(local: Arc<Local>, token: Token, name: Arc<str>, hash: u64) -> Self {
        Self { local, token, what: What::Fast(hash), names: Names::One(name), fate: OnceLock::new(), released: false }
    }

    pub(super) const fn locks(local: Arc<Local>, token: Token, names: Names) -> Self {
        Self { local, token, what: What::Locks, names, fate: OnceLock::new(), released: false }
    }

    pub(super) const fn lead(local: Arc<Local>, term: Token, election: Arc<str>) -> Self {
        let names = Names::One(election);
        Self { local, token: term, what: What::Lead, names, fate: OnceLock::new(), released: false }
    }

    pub(crate) const fn token(&self) -> Token {
        self.token
    }

    pub(crate) const fn names(&self) -> &Names {
        &self.names
    }

    pub(crate) fn session(&self) -> SessionId {
        self.local.session()
    }

    pub(crate) fn lost_reason(&self) -> Option<LostReason> {
        self.local.lock().lost.get(&self.token).copied()
    }

    pub(crate) fn fate(&self) -> Arc<SetOnce<LostReason>> {
        let fate = self.fate.get_or_init(|| {
            let fate = Arc::new(SetOnce::new());
            let mut slow = self.local.lock();
            match slow.lost.get(&self.token) {
                Some(reason) => drop(fate.set(*reason)),
                None => drop(slow.fates.insert(self.token, Arc::clone(&fate))),
            }
            fate
        });
        Arc::clone(fate)
    }

    /// Has `hook` run when this is lost, or at once if it was.
    pub(crate) fn on_loss(&self, hook: LossHook) {
        let mut slow = self.local.lock();
        match slow.lost.get(&self.token).copied() {
            None => slow.hooks.entry(self.token).or_default().push(hook),
            Some(reason) => {
                drop(slow);
                hook(reason);
            }
        }
    }

    pub(crate) fn release(mut self, to: Option<SessionId>) -> Result<(), ReleaseError> {
        self.give_back(to)
    }

    fn give_back(&mut self, to: Option<SessionId>) -> Result<(), ReleaseError> {
        self.released = true;
        let result = match self.what {
            What::Fast(hash) if self.local.shards.release(hash, self.token) => {
                if self.fate.get().is_some() {
                    self.local.lock().fates.remove(&self.token);
                }
                Ok(())
            }
            _ => self.give_back_slowly(to),
        };
        if let Some(fate) = self.fate.get() {
            drop(fate.set(LostReason::Released));
        }
        result
    }

    fn give_back_slowly(&self, to: Option<SessionId>) -> Result<(), ReleaseError> {
        let local = &self.local;
        if matches!(self.what, What::Lead) {
            // Before anyone hears of it (E7).
            let hooks = local.lock().hooks.remove(&self.token).unwrap_or_default();
            for hook in hooks {
                hook(LostReason::Released);
            }
        }
        let name = self.names.as_slice().first().cloned().unwrap_or_default();
        local.with(|slow, now| {
            slow.fates.remove(&self.token);
            if let Some(reason) = slow.lost.remove(&self.token) {
                if !matches!(self.what, What::Lead) {
                    local.retire_all(slow, &self.names);
                }
                return Err(ReleaseError::Lost(reason));
            }
            let released = match self.what {
                What::Lead => slow.machine.resign(now, name, self.token, to),
                What::Fast(_) | What::Locks => {
                    let released = slow.machine.release(now, name, self.token);
                    local.retire_all(slow, &self.names);
                    released
                }
            };
            released.map_err(|problem| OpError::Refused(problem).into())
        })
    }
}

impl Drop for LocalHeld {
    fn drop(&mut self) {
        if !self.released {
            // Nobody is left to be told that it was lost before.
            drop(self.give_back(None));
        }
    }
}
