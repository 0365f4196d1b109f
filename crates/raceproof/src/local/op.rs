//! The future of an operation that may have to wait. Dropping it gives the operation up (L4).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use raceproof_core::client::{OpError, Outcome};
use raceproof_core::local::{Blocked, OpId, Origin, Site};
use raceproof_core::time::Time;
use raceproof_core::wire::{Acquire, Campaign, WAIT_MS_FOREVER};
use tokio::time::Instant;

use super::limit::Limit;
use super::{Local, Moved};
use crate::error::AcquireError;
use crate::lock::Deadlock;
use crate::names::Names;
use crate::owner::Owner;

/// What is wanted.
#[derive(Debug)]
pub(super) enum Asked {
    Locks(Names, Acquire, Owner, Site),
    Lead(Campaign),
}

enum Phase {
    /// Nothing was asked for yet: a future that is never polled asks for nothing.
    Asking(Box<Asked>),
    Waiting(OpId),
    Over,
}

pub(crate) struct LocalOp {
    local: Arc<Local>,
    phase: Phase,
    /// Names that the machine may have no use for when this is over.
    names: Option<Names>,
    /// Whose wait is counted, for the search for deadlocks.
    flow: Option<Owner>,
    wait: Option<Duration>,
    limit: Limit,
    /// The deadlock that it was refused for.
    cycle: Vec<Blocked>,
}

impl Local {
    pub(super) fn run(self: &Arc<Self>, asked: Asked, wait_ms: u64) -> LocalOp {
        LocalOp {
            local: Arc::clone(self),
            phase: Phase::Asking(Box::new(asked)),
            names: None,
            flow: None,
            wait: (wait_ms < WAIT_MS_FOREVER).then(|| Duration::from_millis(wait_ms)),
            limit: Limit::new(None),
            cycle: Vec::new(),
        }
    }
}

impl LocalOp {
    /// A wait that the machine took over.
    pub(super) fn resume(local: &Arc<Local>, name: Arc<str>, moved: Moved, until: Option<Time>) -> Self {
        Self {
            local: Arc::clone(local),
            phase: Phase::Waiting(moved.op),
            names: Some(Names::One(name)),
            flow: moved.flow,
            wait: None,
            // The machine counts in whole milliseconds.
            limit: Limit::new(until.map(|until| local.instant(until) + Duration::from_millis(1))),
            cycle: Vec::new(),
        }
    }

    /// Asks, and claims the result if it is there at once.
    fn ask(&mut self, asked: Asked, cx: &Context<'_>) -> Option<Result<Outcome, OpError>> {
        let local = Arc::clone(&self.local);
        let mut asked_at = None;
        let (op, result) = local.with(|slow, now| {
            let started = match asked {
                Asked::Locks(names, acquire, owner, site) => {
                    if acquire.wait_ms > 0 {
                        for key in local.shards.flows.wait_in_machine(&owner) {
                            local.promote_key(slow, now, &key);
                        }
                        self.flow = Some(owner);
                    }
                    for name in names.as_slice() {
                        local.promote(slow, now, name);
                    }
                    self.names = Some(names);
                    asked_at = Some(site);
                    slow.beside(&local, |machine| machine.acquire(now, acquire, Origin { site, since: now }))
                }
                Asked::Lead(campaign) => slow.beside(&local, |machine| machine.campaign(now, campaign)),
            };
            match started {
                Ok(op) => {
                    let result = self.claim(slow, now, op, cx);
                    if let (Some(Err(error)), Some(site)) = (&result, asked_at) {
                        self.cycle = cycle(slow, now, error, site);
                    }
                    (Some(op), result)
                }
                Err(error) => (None, self.settled(slow, Err(error))),
            }
        });
        if let (Some(op), None) = (op, &result) {
            self.phase = Phase::Waiting(op);
            self.limit = Limit::new(self.wait.map(|wait| Instant::now() + wait));
        }
        result
    }

    fn claim(&self, slow: &mut super::Slow, now: Time, op: OpId, cx: &Context<'_>) -> Option<Result<Outcome, OpError>> {
        match slow.machine.claim(now, op) {
            Some(result) => {
                slow.forget_op(op);
                self.settled(slow, result)
            }
            None => {
                slow.wake_op(op, cx.waker());
                None
            }
        }
    }

    /// Leaves nothing behind of an operation that gained nothing (L7).
    fn settled(&self, slow: &super::Slow, result: Result<Outcome, OpError>) -> Option<Result<Outcome, OpError>> {
        if result.is_err()
            && let Some(names) = &self.names
        {
            self.local.retire_all(slow, names.as_slice());
        }
        Some(result)
    }

    /// The error, with what is known of a deadlock.
    pub(super) fn explained(&mut self, error: OpError) -> AcquireError {
        match error {
            OpError::Refused(problem) if !self.cycle.is_empty() => {
                AcquireError::Deadlock(Box::new(Deadlock::new(problem, std::mem::take(&mut self.cycle))))
            }
            error => error.into(),
        }
    }

    /// The flow has one wait less.
    fn end_flow(&mut self) {
        if let Some(owner) = self.flow.take() {
            self.local.shards.flows.end_in_machine(&owner);
        }
    }
}

fn cycle(slow: &super::Slow, now: Time, error: &OpError, site: Site) -> Vec<Blocked> {
    match error {
        OpError::Refused(problem) => slow.machine.cycle(now, &problem.cycle, site),
        _ => Vec::new(),
    }
}

impl Future for LocalOp {
    type Output = Result<Outcome, OpError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        loop {
            let result = match std::mem::replace(&mut this.phase, Phase::Over) {
                Phase::Asking(asked) => this.ask(*asked, cx),
                Phase::Waiting(op) => {
                    this.phase = Phase::Waiting(op);
                    let local = Arc::clone(&this.local);
                    local.with(|slow, now| this.claim(slow, now, op, cx))
                }
                Phase::Over => Some(Err(OpError::Closed)),
            };
            if let Some(result) = result {
                this.phase = Phase::Over;
                this.end_flow();
                return Poll::Ready(result);
            }
            // Somebody looks after grants that others leave unclaimed; only the end of this wait is its own affair.
            this.local.watch();
            ready!(this.limit.poll(cx));
        }
    }
}

impl Drop for LocalOp {
    fn drop(&mut self) {
        if let Phase::Waiting(op) = self.phase {
            self.local.with(|slow, now| {
                slow.forget_op(op);
                slow.machine.cancel(now, op);
                if let Some(names) = &self.names {
                    self.local.retire_all(slow, names.as_slice());
                }
            });
        }
        self.end_flow();
    }
}
