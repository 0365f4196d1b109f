//! Something held of a server. Dropping it gives it back in the background.

use std::sync::Arc;

use raceproof_core::id::{SessionId, Token};
use raceproof_core::wire::LostReason;

use super::Owner;
use super::lease::GrantCell;
use crate::error::ReleaseError;
use crate::lease::{LossHook, run_hook};

#[derive(Debug)]
pub(crate) struct ServerHeld {
    owner: Arc<Owner>,
    token: Token,
    pub(crate) cell: Arc<GrantCell>,
    names: Vec<Arc<str>>,
    released: bool,
}

impl ServerHeld {
    pub(crate) const fn new(owner: Arc<Owner>, token: Token, names: Vec<Arc<str>>, cell: Arc<GrantCell>) -> Self {
        Self { owner, token, cell, names, released: false }
    }

    pub(crate) const fn token(&self) -> Token {
        self.token
    }

    pub(crate) fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// Has `hook` run when this is lost, or at once if it was.
    pub(crate) fn on_loss(&self, hook: LossHook) {
        let late = self.owner.0.with(|state, _| state.on_loss(self.token, hook));
        if let Err(hook) = late {
            run_hook(hook, self.cell.reason().unwrap_or(LostReason::Expired));
        }
    }

    pub(crate) async fn release(mut self, to: Option<SessionId>) -> Result<(), ReleaseError> {
        let lost = self.cell.reason();
        let op = self.owner.0.release(&self.cell, self.token, to);
        self.released = true;
        match op {
            Some(op) => {
                op.await?;
                Ok(())
            }
            None => Err(ReleaseError::Lost(lost.unwrap_or(LostReason::Expired))),
        }
    }
}

impl Drop for ServerHeld {
    fn drop(&mut self) {
        if !self.released {
            // The future's end gives up waiting for the answer, not the release.
            drop(self.owner.0.release(&self.cell, self.token, None));
        }
    }
}
