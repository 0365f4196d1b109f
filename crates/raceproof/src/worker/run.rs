//! The tasks that answer.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll};

use raceproof_core::time::Time;
use raceproof_core::worker::{Next, Refilled, WorkerId};
use tokio::task::coop::poll_proceed;

use super::handler::Handler;
use super::shared::{Fault, Job, Reply, Shared, answer, expire};
use crate::rt::{caught, discarded};

/// One of the workers. Dropping it, wherever its task is, gives its place up.
struct Place<Q, R> {
    shared: Arc<Shared<Q, R>>,
    id: WorkerId,
    has_request: bool,
    expired: Vec<Job<Q, R>>,
}

impl<Q, R> Drop for Place<Q, R> {
    fn drop(&mut self) {
        self.shared.gone(self.id, self.has_request);
    }
}

pub(super) async fn run<Q, R, H>(
    shared: Arc<Shared<Q, R>>,
    id: WorkerId,
    make: Arc<dyn Fn() -> H + Send + Sync>,
    drops_abandoned: bool,
) where
    H: Handler<Q, Reply = R>,
{
    let mut place = Place { shared, id, has_request: false, expired: Vec::new() };
    loop {
        let (message, reply) = match caught(|| async { make() }).await {
            Ok(mut handler) => {
                let panicked = place.serve(&mut handler, drops_abandoned).await;
                discarded(|| drop(handler));
                match panicked {
                    Some((message, reply)) => (message, Some(reply)),
                    None => return,
                }
            }
            Err(message) => (message, None),
        };
        let next = place.panicked(&message);
        if let Some(reply) = reply {
            // Last, so that who has the answer finds it counted.
            answer(reply, Err(Fault::Panicked(message.to_string())));
        }
        match next {
            Next::Restart { after } if after.is_zero() => {}
            Next::Restart { after } => {
                let clock = &place.shared.clock;
                clock.sleep_until(clock.now() + after).await;
            }
            Next::GiveUp => return,
        }
    }
}

impl<Q, R> Place<Q, R> {
    /// Answers requests until there are no more, or until it panics; then, what it said, and who has to be told.
    async fn serve<H>(&mut self, handler: &mut H, drops_abandoned: bool) -> Option<(Arc<str>, Reply<Q, R>)>
    where
        H: Handler<Q, Reply = R>,
    {
        let mut finished = None;
        loop {
            let next = poll_fn(|cx| {
                let next = self.advance(cx, finished.is_some());
                // After it was counted, and however long the next request takes to come.
                if let Some((reply, reached)) = finished.take() {
                    answer(reply, Ok(reached));
                }
                next
            });
            let Job { request, mut reply } = next.await?;
            let reached = if drops_abandoned {
                // Within, because it is dropped there if its caller goes.
                let while_wanted = caught(|| async {
                    tokio::select! {
                        biased;
                        reached = handler.handle(request) => Some(reached),
                        () = reply.closed() => None,
                    }
                });
                while_wanted.await
            } else {
                caught(|| handler.handle(request)).await.map(Some)
            };
            match reached {
                Ok(Some(reached)) => finished = Some((reply, reached)),
                Ok(None) => {
                    self.has_request = false;
                    self.shared.lock().skipped();
                }
                Err(message) => return Some((message, reply)),
            }
        }
    }

    /// Ends the request in hand, if it is finished, and takes the next one that somebody waits for, or parks. None if
    /// there will be no more.
    fn advance(&mut self, cx: &mut Context<'_>, finished: bool) -> Poll<Option<Job<Q, R>>> {
        let Poll::Ready(coop) = poll_proceed(cx) else {
            if finished {
                self.has_request = false;
                self.shared.lock().done(self.id);
            }
            return Poll::Pending;
        };
        let mut spent = None;
        let mut mailbox = self.shared.lock();
        if finished {
            self.has_request = false;
            mailbox.done(self.id);
        }
        let next = loop {
            // Most requests have no deadline, and need no clock.
            let now = if mailbox.is_timed() { self.shared.clock.now() } else { Time::ZERO };
            match mailbox.take(now, &mut self.expired) {
                // The caller is about to take it back.
                Some(job) if job.reply.is_closed() => {
                    mailbox.skipped();
                    self.expired.push(job);
                }
                Some(job) => {
                    self.has_request = true;
                    break Poll::Ready(Some(job));
                }
                None => {
                    let mut inbox = self.shared.inbox();
                    match mailbox.refill(&mut inbox) {
                        Refilled::Some => {}
                        Refilled::Stopped => break Poll::Ready(None),
                        Refilled::Empty => {
                            // The waker of a task that this room has spawned: no foreign code.
                            spent = inbox.park(self.id, cx.waker().clone()).1;
                            break Poll::Pending;
                        }
                    }
                }
            }
        };
        drop(mailbox);
        drop(spent);
        expire(&mut self.expired);
        if next.is_ready() {
            coop.made_progress();
        }
        next
    }

    fn panicked(&mut self, message: &str) -> Next {
        let had_request = std::mem::take(&mut self.has_request);
        let next = self.shared.lock().panicked(self.id, had_request);
        let name = &*self.shared.name;
        match next {
            Next::Restart { after } => {
                tracing::error!(worker = name, panic = message, ?after, "a worker panicked and is started again");
            }
            Next::GiveUp => tracing::error!(worker = name, panic = message, "a worker panicked and has given up"),
        }
        next
    }
}
