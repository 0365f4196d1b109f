//! Where answers and pushes go: to a WebSocket's outbox, or to the HTTP handler that waits for its one answer.

use std::sync::Arc;

use raceproof_core::id::{ConnId, SessionKey};
use raceproof_core::wire::{Event, Problem, Request};
use rustc_hash::FxHashMap;
use tokio::sync::oneshot;

use super::Answer;
use super::link::{undo, undo_as};
use crate::metrics::Metrics;
use crate::outbox::{Ending, Message, Outbox};

/// Every connection that the hub may address.
#[derive(Debug)]
pub(super) struct Routes {
    sockets: FxHashMap<ConnId, Arc<Outbox>>,
    /// The socket that asked last: most answers are for it, and need not look for it.
    listener: Option<(ConnId, Arc<Outbox>)>,
    calls: FxHashMap<ConnId, Call>,
    done: Vec<Done>,
    metrics: Arc<Metrics>,
}

/// An HTTP handler that waits for its answer.
#[derive(Debug)]
pub(super) struct Call {
    reply: oneshot::Sender<Answer>,
    undo_as: Option<SessionKey>,
}

impl Call {
    pub(super) fn new(reply: oneshot::Sender<Answer>, session: Option<SessionKey>, request: &Request) -> Self {
        Self { reply, undo_as: undo_as(session, request) }
    }
}

/// An HTTP request that was answered.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) conn: ConnId,
    /// What gives back a grant whose answer reached nobody.
    pub(super) undo: Option<(SessionKey, Request)>,
}

impl Routes {
    pub(super) fn new(metrics: Arc<Metrics>) -> Self {
        Self { sockets: FxHashMap::default(), listener: None, calls: FxHashMap::default(), done: Vec::new(), metrics }
    }

    pub(super) fn add_socket(&mut self, conn: ConnId, outbox: Arc<Outbox>) {
        self.sockets.insert(conn, outbox);
    }

    pub(super) fn add_call(&mut self, conn: ConnId, call: Call) {
        self.calls.insert(conn, call);
    }

    /// A socket asks something.
    pub(super) fn listens(&mut self, conn: ConnId, outbox: Arc<Outbox>) {
        self.listener = Some((conn, outbox));
    }

    pub(super) fn nobody_listens(&mut self) {
        self.listener = None;
    }

    fn socket(&self, conn: ConnId) -> Option<&Arc<Outbox>> {
        match &self.listener {
            Some((listener, outbox)) if *listener == conn => Some(outbox),
            _ => self.sockets.get(&conn),
        }
    }

    /// Forgets a connection; says whether it was known.
    pub(super) fn remove(&mut self, conn: ConnId) -> bool {
        self.sockets.remove(&conn).is_some() || self.calls.remove(&conn).is_some()
    }

    pub(super) fn answer(&mut self, conn: ConnId, seq: u64, result: Answer) {
        self.metrics.answered(&result);
        if let Some(outbox) = self.socket(conn) {
            outbox.push(Message::Answer { re: seq, result });
        } else if let Some(Call { reply, undo_as }) = self.calls.remove(&conn) {
            let undo = undo_as.zip(reply.send(result).err().and_then(undo));
            self.done.push(Done { conn, undo });
        }
    }

    pub(super) fn push(&mut self, conn: ConnId, event: Event) {
        self.metrics.pushed(&event);
        if let Some(outbox) = self.socket(conn) {
            outbox.push(Message::Push(Box::new(event)));
        }
    }

    pub(super) fn end(&mut self, conn: ConnId, ending: Ending) {
        if let Some(outbox) = self.socket(conn) {
            outbox.end(ending);
        }
    }

    pub(super) fn end_all(&mut self, ending: Ending) {
        for outbox in self.sockets.values() {
            outbox.end(ending);
        }
    }

    /// The next HTTP request that was answered and has to be taken off the hub.
    pub(super) fn take_done(&mut self) -> Option<Done> {
        self.done.pop()
    }

    /// Answers every HTTP request that still waits: the server ends.
    pub(super) fn refuse_calls(&mut self, problem: &Problem) -> Vec<ConnId> {
        let calls = std::mem::take(&mut self.calls);
        calls
            .into_iter()
            .map(|(conn, call)| {
                let _gone = call.reply.send(Err(Box::new(problem.clone())));
                conn
            })
            .collect()
    }
}
