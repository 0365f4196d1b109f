//! The way to the sequencer: what connections and HTTP handlers hold of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use raceproof::store::StorageStats;
use raceproof_core::hub::Stats;
use raceproof_core::id::{ConnId, SessionKey};
use raceproof_core::wire::{Code, Problem, Request, Response};
use tokio::sync::{mpsc, oneshot};

use crate::outbox::Outbox;

/// What a request comes to.
pub(crate) type Answer = Result<Box<Response>, Box<Problem>>;

/// One thing for the sequencer to do.
#[derive(Debug)]
pub(crate) enum Input {
    /// A WebSocket is open.
    Connect { conn: ConnId, outbox: Arc<Outbox> },
    /// A WebSocket closed, or nobody listens any more for an HTTP request's answer.
    Disconnect { conn: ConnId },
    /// A WebSocket's frame.
    Frame { conn: ConnId, seq: u64, request: Request },
    /// An HTTP request: a connection of its own for as long as it lasts.
    Call { conn: ConnId, session: Option<SessionKey>, request: Request, reply: oneshot::Sender<Answer> },
    /// Somebody wants to see figures.
    Stats { reply: oneshot::Sender<Figures> },
}

/// The figures of one moment.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) hub: Stats,
    pub(crate) store: StorageStats,
}

/// Sends inputs. The queue has no bound of its own: each WebSocket has at most 64 requests in it, each HTTP connection
/// one, and the number of connections has a bound.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    inputs: mpsc::UnboundedSender<Input>,
    conns: Arc<AtomicU64>,
}

impl Link {
    pub(crate) fn new(inputs: mpsc::UnboundedSender<Input>) -> Self {
        Self { inputs, conns: Arc::new(AtomicU64::new(1)) }
    }

    pub(crate) fn conn(&self) -> ConnId {
        ConnId::new(self.conns.fetch_add(1, Ordering::Relaxed))
    }

    /// Queues an input. Once the sequencer has stopped it goes nowhere, and so does whoever sent it, soon.
    pub(crate) fn send(&self, input: Input) {
        let _stopped = self.inputs.send(input);
    }

    /// Asks one thing and waits for the answer.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request: a wait is given up, a grant that was not delivered is given back.
    pub(crate) async fn call(&self, session: Option<SessionKey>, request: Request) -> Answer {
        let (reply, answer) = oneshot::channel();
        let conn = self.conn();
        self.send(Input::Call { conn, session, request, reply });
        let mut guard = Abandon { link: self, conn, answered: false };
        let answer = answer.await;
        guard.answered = true;
        answer.unwrap_or_else(|_stopped| Err(Box::new(stopping())))
    }

    /// Asks for the figures; `None` once the sequencer has stopped.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub(crate) async fn stats(&self) -> Option<Figures> {
        let (reply, answer) = oneshot::channel();
        self.send(Input::Stats { reply });
        answer.await.ok()
    }
}

pub(crate) fn stopping() -> Problem {
    Problem::new(Code::Unavailable, "the server is stopping; sessions and grants outlive its restart")
        .with_retry_after_ms(1_000)
}

/// Tells the sequencer when a call's future is dropped before its answer came.
struct Abandon<'a> {
    link: &'a Link,
    conn: ConnId,
    answered: bool,
}

impl Drop for Abandon<'_> {
    fn drop(&mut self) {
        if !self.answered {
            self.link.send(Input::Disconnect { conn: self.conn });
        }
    }
}
