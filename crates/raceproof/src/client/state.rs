//! The machine, and who waits for what of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::task::Waker;

use raceproof_core::client::{Client, ConnectionState, Generation, ObserverId, OpError, OpId, Outcome, Output};
use raceproof_core::id::{SessionId, Token};
use raceproof_core::time::Time;
use raceproof_core::wire::{ClientFrame, LostReason};

use super::Shared;
use super::lease::{GrantCell, LeaseCell};
use super::op::Claimed;
use crate::lease::{Lease, LossHook, run_hook};

/// What the driver has to do.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) connect: Option<Generation>,
    pub(crate) disconnect: bool,
    pub(crate) frames: VecDeque<ClientFrame>,
    pub(crate) ping: bool,
    pub(crate) deadline: Option<Time>,
    pub(crate) over: bool,
}

/// A grant that a guard stands for.
struct Held {
    cell: Arc<GrantCell>,
    on_loss: Vec<LossHook>,
}

pub(crate) struct State {
    pub(crate) client: Client,
    work: Work,
    ops: BTreeMap<OpId, Waker>,
    observers: BTreeMap<ObserverId, Waker>,
    /// Wakers that are not needed any more. They may own what takes this lock when it is dropped.
    spent: Vec<Waker>,
    held: BTreeMap<Token, Held>,
    lease: Option<Arc<LeaseCell>>,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("client", &self.client).finish_non_exhaustive()
    }
}

/// What to do once the lock is let go.
#[derive(Default)]
pub(crate) struct Fired {
    wakers: Vec<Waker>,
    hooks: Vec<(LossHook, LostReason)>,
    /// Only to be dropped.
    spent: Vec<Waker>,
    pub(super) work: bool,
}

impl Fired {
    pub(super) fn fire(self) {
        for (hook, reason) in self.hooks {
            run_hook(hook, reason);
        }
        for waker in self.wakers {
            waker.wake();
        }
        drop(self.spent);
    }
}

impl State {
    pub(super) fn new(client: Client) -> Self {
        Self {
            client,
            work: Work::default(),
            ops: BTreeMap::new(),
            observers: BTreeMap::new(),
            spent: Vec::new(),
            held: BTreeMap::new(),
            lease: None,
        }
    }

    pub(super) fn drain(&mut self, now: Time, shared: &Shared) -> Fired {
        let mut fired = Fired { spent: std::mem::take(&mut self.spent), ..Fired::default() };
        while let Some(output) = self.client.poll_output() {
            self.handle(now, output, shared, &mut fired);
        }
        let deadline = self.client.next_deadline();
        if deadline.is_some_and(|at| self.work.deadline.is_none_or(|armed| at < armed)) {
            fired.work = true;
        }
        self.work.deadline = deadline;
        fired
    }

    fn handle(&mut self, now: Time, output: Output, shared: &Shared, fired: &mut Fired) {
        match output {
            Output::Connect { generation } => {
                self.work.connect = Some(generation);
                self.work.frames.clear();
                fired.work = true;
            }
            Output::Send { frame, .. } => {
                self.work.frames.push_back(frame);
                fired.work = true;
            }
            Output::Ping { .. } => {
                self.work.ping = true;
                fired.work = true;
            }
            Output::Disconnect { .. } => {
                self.work.disconnect = true;
                self.work.frames.clear();
                self.work.connect = None;
                self.work.ping = false;
                fired.work = true;
            }
            Output::Complete { op } => fired.wakers.extend(self.ops.remove(&op)),
            Output::Observed { observer } => fired.wakers.extend(self.observers.remove(&observer)),
            Output::Lost { token, reason } => {
                if let Some(held) = self.held.remove(&token)
                    && held.cell.lose(reason)
                {
                    fired.hooks.extend(held.on_loss.into_iter().map(|hook| (hook, reason)));
                }
            }
            Output::Lease { session, deadline } => self.lease_moved(now, session, deadline, shared),
            Output::SessionOver { .. } => {
                if let Some(lease) = self.lease.take() {
                    lease.end();
                }
                shared.leases.send_replace(None);
            }
            Output::State(state) => {
                self.work.over = matches!(state, ConnectionState::Closed | ConnectionState::Failed);
                shared.connection.send_replace(state);
                fired.work = true;
            }
            _ => {}
        }
    }

    fn lease_moved(&mut self, now: Time, session: SessionId, deadline: Time, shared: &Shared) {
        match &self.lease {
            Some(lease) if lease.session == session => {
                if !lease.extend(deadline) {
                    self.client.expire(now);
                    return;
                }
            }
            _ => self.lease = Some(Arc::new(LeaseCell::new(session, deadline))),
        }
        shared.leases.send_replace(Some(Lease { session, deadline }));
    }

    pub(super) fn take_work(&mut self) -> Work {
        let deadline = self.work.deadline;
        let over = self.work.over;
        std::mem::replace(&mut self.work, Work { deadline, over, ..Work::default() })
    }

    /// The operation's result with what its owner needs to live with it, or a promise to wake.
    pub(super) fn claim(&mut self, now: Time, op: OpId, waker: &Waker) -> Option<Result<Claimed, OpError>> {
        match self.client.claim(now, op) {
            None => {
                self.spent.extend(self.ops.insert(op, waker.clone()));
                None
            }
            Some(result) => {
                self.spent.extend(self.ops.remove(&op));
                Some(result.map(|outcome| self.claimed(outcome)))
            }
        }
    }

    fn claimed(&mut self, outcome: Outcome) -> Claimed {
        match outcome {
            Outcome::Granted { grant, .. } => {
                let cell = self.hold(grant.token);
                Claimed::Granted { grant, cell }
            }
            Outcome::Elected { leader } => {
                let cell = self.hold(leader.term);
                Claimed::Elected { leader, cell }
            }
            Outcome::Answer(response) => Claimed::Answer(response),
            _ => Claimed::Done,
        }
    }

    fn hold(&mut self, token: Token) -> Arc<GrantCell> {
        let lease = self.lease.clone().unwrap_or_else(|| {
            // Not reached while the machine keeps its promise that a claimed grant has a live session.
            Arc::new(LeaseCell::new(SessionId::new(0), Time::ZERO))
        });
        let cell = Arc::new(GrantCell::new(lease));
        self.held.insert(token, Held { cell: Arc::clone(&cell), on_loss: Vec::new() });
        cell
    }

    pub(super) fn forget(&mut self, now: Time, op: OpId) {
        self.spent.extend(self.ops.remove(&op));
        self.client.cancel(now, op);
    }

    pub(super) fn release(&mut self, now: Time, cell: &GrantCell, token: Token, to: Option<SessionId>) -> Option<OpId> {
        self.held.remove(&token);
        // The machine speaks first: an expiry that is due is the truer reason.
        let op = match to {
            Some(to) => self.client.transfer(now, token, to),
            None => self.client.release(now, token),
        };
        let expired = op.is_none() && !cell.lease.is_live();
        cell.lose(if expired { LostReason::Expired } else { LostReason::Released });
        op
    }

    /// Has `hook` run when the grant is lost, or gives it back when it was lost before.
    pub(crate) fn on_loss(&mut self, token: Token, hook: LossHook) -> Result<(), LossHook> {
        match self.held.get_mut(&token) {
            Some(held) => {
                held.on_loss.push(hook);
                Ok(())
            }
            None => Err(hook),
        }
    }

    /// Takes the hooks of a grant that is about to be given up.
    pub(crate) fn take_hooks(&mut self, token: Token) -> Vec<LossHook> {
        self.held.get_mut(&token).map(|held| std::mem::take(&mut held.on_loss)).unwrap_or_default()
    }

    pub(crate) fn wait_observed(&mut self, observer: ObserverId, waker: &Waker) {
        self.spent.extend(self.observers.insert(observer, waker.clone()));
    }

    pub(crate) fn unobserve(&mut self, now: Time, observer: ObserverId) {
        self.spent.extend(self.observers.remove(&observer));
        self.client.unobserve(now, observer);
    }
}
