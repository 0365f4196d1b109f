//! The tasks that answer.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Poll, ready};

use raceproof_core::time::Time;
use raceproof_core::worker::{Next, Taken, WorkerId};
use tokio::sync::oneshot;
use tokio::task::coop::poll_proceed;

use super::handler::Handler;
use super::shared::{Fault, Job, Shared, expire};
use crate::panic::caught;

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
        let (message, reply) = match caught(async { make() }).await {
            Ok(mut handler) => {
                let panicked = place.serve(&mut handler, drops_abandoned).await;
                // It is foreign code that may panic, too; there is nobody to be told of it but the log.
                if let Err(message) = caught(async { drop(handler) }).await {
                    tracing::error!(worker = &*place.shared.name, panic = message, "a handler panicked when dropped");
                }
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
            let _ = reply.send(Err(Fault::Panicked(message)));
        }
        match next {
            Next::Restart { after } if after.is_zero() => {}
            Next::Restart { after } => tokio::time::sleep(after).await,
            Next::GiveUp => return,
        }
    }
}

type Reply<Q, R> = oneshot::Sender<Result<R, Fault<Q>>>;

impl<Q, R> Place<Q, R> {
    /// Answers requests until there are no more, or until it panics; then, what it said, and who has to be told.
    async fn serve<H>(&mut self, handler: &mut H, drops_abandoned: bool) -> Option<(String, Reply<Q, R>)>
    where
        H: Handler<Q, Reply = R>,
    {
        loop {
            let Job { request, mut reply } = self.next().await?;
            let answer = caught(async { handler.handle(request).await });
            let answer = if drops_abandoned {
                tokio::select! {
                    biased;
                    answer = answer => answer,
                    () = reply.closed() => {
                        self.has_request = false;
                        self.shared.lock().skipped();
                        continue;
                    }
                }
            } else {
                answer.await
            };
            match answer {
                Ok(answer) => {
                    self.has_request = false;
                    self.shared.lock().done(self.id);
                    let _ = reply.send(Ok(answer));
                }
                Err(message) => return Some((message, reply)),
            }
        }
    }

    /// The next request that somebody waits for; none if there will be none.
    async fn next(&mut self) -> Option<Job<Q, R>> {
        poll_fn(|cx| {
            let coop = ready!(poll_proceed(cx));
            let mut waker = None;
            loop {
                match self.take() {
                    Taken::Request(job) => {
                        coop.made_progress();
                        return Poll::Ready(Some(job));
                    }
                    Taken::Stopped => return Poll::Ready(None),
                    Taken::Empty => {
                        let waker = waker.take().unwrap_or_else(|| cx.waker().clone());
                        let (parked, spent) = self.shared.lock().park(self.id, waker);
                        drop(spent);
                        if parked {
                            return Poll::Pending;
                        }
                    }
                }
            }
        })
        .await
    }

    fn take(&mut self) -> Taken<Job<Q, R>> {
        loop {
            let mut mailbox = self.shared.lock();
            // Most requests have no deadline, and need no clock.
            let now = if mailbox.is_timed() { self.shared.now() } else { Time::ZERO };
            let taken = mailbox.take(now, &mut self.expired);
            if let Taken::Request(job) = &taken
                && job.reply.is_closed()
            {
                // The caller is about to take it back.
                mailbox.skipped();
                drop(mailbox);
                drop(taken);
                continue;
            }
            drop(mailbox);
            self.has_request = matches!(taken, Taken::Request(_));
            expire(&mut self.expired);
            return taken;
        }
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
