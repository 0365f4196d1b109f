//! The shell around the core's client: one machine behind a lock, shared by the handles, the guards and the task that
//! owns the transport. It decides nothing: it passes inputs in, outputs out, and wakes whom they concern.

pub(crate) mod driver;
pub(crate) mod held;
mod lease;
pub(crate) mod observer;
pub(crate) mod op;
pub(crate) mod socket;
mod state;
pub(crate) mod url;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raceproof_core::client::{Client, ConnectionState, Failure, OpId, RefusedReason};
use raceproof_core::id::{SessionId, SessionKey, Token};
use raceproof_core::time::Time;
use raceproof_core::wire::LostReason;
use tokio::sync::{Notify, watch};

pub(crate) use self::lease::GrantCell;
pub(crate) use self::op::{Claimed, OpFuture};
pub(crate) use self::state::{State, Work};
use crate::lease::{Lease, run_hook};

/// What the handles and the driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    state: Mutex<State>,
    /// There is work for the driver, or an earlier deadline.
    pub(crate) wake: Notify,
    pub(crate) connection: watch::Sender<ConnectionState>,
    pub(crate) leases: watch::Sender<Option<Lease>>,
}

impl Shared {
    pub(crate) fn new(client: Client) -> Self {
        Self {
            connection: watch::Sender::new(client.state()),
            state: Mutex::new(State::new(client)),
            wake: Notify::new(),
            leases: watch::Sender::new(None),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Passes something in, drains every output, and then, outside the lock, wakes whom they concern.
    pub(crate) fn with<R>(&self, input: impl FnOnce(&mut State, Time) -> R) -> R {
        let mut state = self.lock();
        let now = crate::clock::now();
        let result = input(&mut state, now);
        let fired = state.drain(now, self);
        drop(state);
        if fired.work {
            self.wake.notify_one();
        }
        fired.fire();
        result
    }

    pub(crate) fn take_work(&self) -> Work {
        self.lock().take_work()
    }

    pub(crate) fn session(&self) -> Option<SessionKey> {
        self.lock().client.session()
    }

    /// How many grants are believed in, and how many operations are under way.
    pub(crate) fn counts(&self) -> (usize, usize) {
        let state = self.lock();
        (state.client.held().count(), state.client.pending())
    }

    pub(crate) fn failure(&self) -> Option<Failure> {
        self.lock().client.failure().cloned()
    }

    pub(crate) fn start(
        self: &Arc<Self>,
        submit: impl FnOnce(&mut Client, Time) -> Result<OpId, RefusedReason>,
    ) -> Result<OpFuture, RefusedReason> {
        let op = self.with(|state, now| submit(&mut state.client, now))?;
        Ok(OpFuture::new(Arc::clone(self), op))
    }

    /// Gives a grant or leadership back, to a named successor if there is one. None when it was lost before. Its hooks
    /// run first, when nobody but its owner has heard of it (E7).
    pub(crate) fn release(self: &Arc<Self>, cell: &GrantCell, token: Token, to: Option<SessionId>) -> Option<OpFuture> {
        let hooks = self.with(|state, _| state.take_hooks(token));
        if !hooks.is_empty() && cell.lose(LostReason::Released) {
            for hook in hooks {
                run_hook(hook, LostReason::Released);
            }
        }
        let op = self.with(|state, now| state.release(now, cell, token, to))?;
        Some(OpFuture::new(Arc::clone(self), op))
    }

    pub(crate) fn close(self: &Arc<Self>) -> OpFuture {
        let op = self.with(|state, now| state.client.close(now));
        OpFuture::new(Arc::clone(self), op)
    }
}

/// Closes the client when the last handle and the last guard are gone.
#[derive(Debug)]
pub(crate) struct Owner(pub(crate) Arc<Shared>);

impl Drop for Owner {
    fn drop(&mut self) {
        drop(self.0.close());
    }
}
