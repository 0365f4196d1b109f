//! The way to the sequencer: what connections and HTTP handlers hold of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use raceproof::store::StorageStats;
use raceproof_core::hub::Stats;
use raceproof_core::id::{ConnId, SessionKey};
use raceproof_core::wire::{Code, Problem, Release, Request, Resign, Response};
use tokio::sync::oneshot;

use crate::clock::Clock;
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
    Frame { conn: ConnId, outbox: Arc<Outbox>, seq: u64, request: Request },
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

/// Whoever takes inputs.
pub(super) trait Taker: Send + Sync + std::fmt::Debug {
    /// Takes an input; what is answered at once has been passed on when this returns. Says whether the sequencer's task
    /// was woken for what has to follow.
    fn take(&self, input: Input) -> bool;
}

/// Hands inputs over.
#[derive(Clone, Debug)]
pub(crate) struct Link {
    taker: Arc<dyn Taker>,
    conns: Arc<AtomicU64>,
    clock: Clock,
}

impl Link {
    pub(super) fn new(taker: Arc<dyn Taker>, clock: Clock) -> Self {
        Self { taker, conns: Arc::new(AtomicU64::new(1)), clock }
    }

    pub(crate) const fn clock(&self) -> Clock {
        self.clock
    }

    pub(crate) fn conn(&self) -> ConnId {
        ConnId::new(self.conns.fetch_add(1, Ordering::Relaxed))
    }

    /// Hands an input to the machine. What it answers at once has been passed on when this returns.
    pub(crate) fn send(&self, input: Input) {
        self.submit(input);
    }

    /// The same; says whether the sequencer has something to do that should come before the answer is written: to start
    /// the store.
    pub(crate) fn submit(&self, input: Input) -> bool {
        self.taker.take(input)
    }

    /// Asks one thing and waits for the answer.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the request: a wait is given up, a grant that was not delivered is given back.
    pub(crate) async fn call(&self, session: Option<SessionKey>, request: Request) -> Answer {
        let (reply, answer) = oneshot::channel();
        let conn = self.conn();
        let mut pending = Pending { link: self, conn, undo_as: undo_as(session, &request), answer, answered: false };
        self.send(Input::Call { conn, session, request, reply });
        let answer = (&mut pending.answer).await;
        pending.answered = true;
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

/// A call whose future may be dropped before its answer came, or after it came and before anybody looked.
struct Pending<'a> {
    link: &'a Link,
    conn: ConnId,
    undo_as: Option<SessionKey>,
    answer: oneshot::Receiver<Answer>,
    answered: bool,
}

impl Drop for Pending<'_> {
    fn drop(&mut self) {
        if self.answered {
            return;
        }
        // From here on the sequencer finds that nobody listens, and takes back what it grants.
        self.answer.close();
        match self.answer.try_recv() {
            Ok(answer) => {
                if let (Some(session), Some(request)) = (self.undo_as, undo(answer)) {
                    let (reply, _nobody) = oneshot::channel();
                    let conn = self.link.conn();
                    self.link.send(Input::Call { conn, session: Some(session), request, reply });
                }
            }
            Err(_) => self.link.send(Input::Disconnect { conn: self.conn }),
        }
    }
}

/// The session to give a grant back for, should nobody be there to take it. A request with an id is asked again by
/// whoever did not hear its answer, and must then find what it was given (L12): its lease bounds it.
pub(super) fn undo_as(session: Option<SessionKey>, request: &Request) -> Option<SessionKey> {
    let named = match request {
        Request::Acquire(acquire) => acquire.request.is_some(),
        Request::Campaign(campaign) => campaign.request.is_some(),
        _ => true,
    };
    session.filter(|_| !named)
}

/// The request that takes back what an undelivered answer gave.
pub(super) fn undo(answer: Answer) -> Option<Request> {
    match *answer.ok()? {
        Response::Granted(grant) => {
            let name = Arc::clone(grant.names.first()?);
            Some(Request::Release(Release { name, token: grant.token }))
        }
        Response::Elected(leader) => {
            Some(Request::Resign(Resign { election: leader.election, term: leader.term, to: None }))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Poll, Waker};

    use raceproof_core::id::{SessionId, Token};
    use raceproof_core::wire::{Acquire, Grant};

    use tokio::sync::mpsc;

    use super::*;

    impl Taker for mpsc::UnboundedSender<Input> {
        fn take(&self, input: Input) -> bool {
            self.send(input).unwrap();
            false
        }
    }

    fn acquire(id: &str) -> Request {
        let request = if id.is_empty() { String::new() } else { format!(r#""request":"{id}","#) };
        let acquire: Acquire = serde_json::from_str(&format!(r#"{{{request}"names":["x"]}}"#)).unwrap();
        Request::Acquire(acquire)
    }

    fn granted() -> Answer {
        let grant = Grant { token: Token::new(7), names: vec!["x".into()], mode: Default::default(), lease_ms: 1 };
        Ok(Box::new(Response::Granted(grant)))
    }

    /// Starts a call, does something with its end at the sequencer, drops it unlooked at, and gives what follows.
    fn abandon(id: &str, then: impl FnOnce(oneshot::Sender<Answer>)) -> Option<Input> {
        let (sender, mut inputs) = mpsc::unbounded_channel();
        let link = Link::new(Arc::new(sender), Clock::start());
        let key = SessionKey { id: SessionId::new(1), secret: 2 };
        {
            let mut call = Box::pin(link.call(Some(key), acquire(id)));
            let Poll::Pending = call.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
                panic!("answered by nobody")
            };
            let Ok(Input::Call { reply, .. }) = inputs.try_recv() else { panic!("no call") };
            then(reply);
        }
        inputs.try_recv().ok()
    }

    #[test]
    fn l4_a_grant_that_came_while_its_caller_left_is_given_back() {
        let back = abandon("", |reply| reply.send(granted()).unwrap());
        let Some(Input::Call { request: Request::Release(release), .. }) = back else { panic!("{back:?}") };
        assert_eq!((&*release.name, release.token), ("x", Token::new(7)));
    }

    #[test]
    fn l12_a_grant_under_an_id_waits_for_its_retry() {
        assert!(abandon("r", |reply| reply.send(granted()).unwrap()).is_none());
    }

    #[test]
    fn l4_a_call_that_nobody_waits_for_is_cancelled() {
        let mut kept = None;
        let told = abandon("", |reply| kept = Some(reply));
        assert!(matches!(told, Some(Input::Disconnect { .. })), "{told:?}");
        assert!(kept.unwrap().send(granted()).is_err(), "the sequencer must see that nobody listens");
    }
}
