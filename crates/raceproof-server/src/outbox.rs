//! What the hub has to say to one connection and the connection has not yet written. Bounded: a reader too slow for
//! it loses its connection, not the server its memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use raceproof_core::wire::{Event, Lock, Problem, Response};

/// Entries of lists, some hundred bytes each, from which on they have to be written before more is asked for.
const ENTRIES_CROWD: usize = 1_000;

/// One message on its way out; it is numbered when it is written.
#[derive(Debug)]
pub(crate) enum Message {
    Answer { re: u64, result: Result<Box<Response>, Box<Problem>> },
    Push(Box<Event>),
}

impl Message {
    /// The entries of its lists. What else it says is short.
    fn entries(&self) -> usize {
        let of_lock = |lock: &Lock| 1 + lock.holders.len() + lock.waiters.len();
        match self {
            Self::Answer { result: Ok(response), .. } => match &**response {
                Response::Locks(page) => page.locks.iter().map(of_lock).sum(),
                Response::Waiting(waiting) => waiting.blocked_by.iter().map(of_lock).sum(),
                Response::Lock(lock) => of_lock(lock),
                Response::Sessions(page) => page.sessions.len(),
                Response::Election(election) | Response::Observing(election) => election.candidates.len(),
                _ => 0,
            },
            Self::Answer { result: Err(problem), .. } => problem.holders.len(),
            Self::Push(_) => 0,
        }
    }
}

/// Why the server ends a connection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Ending {
    /// The hub said so: its session lives on another connection.
    Superseded,
    /// More waits to be written than the outbox takes.
    SlowReader,
    /// The server stops.
    GoingAway,
    /// The store failed.
    StoreFailed,
}

#[derive(Debug, Default)]
struct Queue {
    messages: VecDeque<Message>,
    entries: usize,
    ending: Option<Ending>,
    waker: Option<Waker>,
    attended: bool,
}

/// The queue between the hub and one connection's task.
#[derive(Debug)]
pub(crate) struct Outbox {
    queue: Mutex<Queue>,
    crowded: AtomicBool,
    frames_max: usize,
}

impl Outbox {
    pub(crate) fn new(frames_max: usize) -> Self {
        Self { queue: Mutex::default(), crowded: AtomicBool::new(false), frames_max }
    }

    /// Adds a message. Past the bound it ends the connection instead.
    pub(crate) fn push(&self, message: Message) {
        let mut queue = self.lock();
        if queue.ending.is_some() {
            return;
        }
        if queue.messages.len() >= self.frames_max {
            queue.messages = VecDeque::new();
            queue.ending = Some(Ending::SlowReader);
        } else {
            queue.entries += message.entries();
            if queue.entries >= ENTRIES_CROWD {
                self.crowded.store(true, Ordering::Relaxed);
            }
            queue.messages.push_back(message);
        }
        wake(queue);
    }

    /// Ends the connection once what is queued has been written.
    pub(crate) fn end(&self, ending: Ending) {
        let mut queue = self.lock();
        if queue.ending.is_none() {
            queue.ending = Some(ending);
            wake(queue);
        }
    }

    /// Its connection is awake and will look here before it sleeps: until then it need not be woken.
    pub(crate) fn attend(&self) {
        self.lock().attended = true;
    }

    /// Whether there is anything to write.
    pub(crate) fn has_some(&self) -> bool {
        !self.lock().messages.is_empty()
    }

    /// Whether so much waits to be written that no more should be asked for. Few frames can weigh a lot.
    pub(crate) fn is_crowded(&self) -> bool {
        self.crowded.load(Ordering::Relaxed)
    }

    /// Whether its connection is to end.
    pub(crate) fn has_ended(&self) -> bool {
        self.lock().ending.is_some()
    }

    /// Moves everything queued into `batch`. No room is kept for more: most connections are idle most of the time, and
    /// what the allocator gave back last is nearer than what lay here since the message before. Ready when there is
    /// something, or an ending; otherwise whatever comes next wakes the one who asks.
    pub(crate) fn poll_take(&self, cx: &Context<'_>, batch: &mut VecDeque<Message>) -> Poll<Option<Ending>> {
        let mut queue = self.lock();
        if queue.messages.is_empty() && queue.ending.is_none() {
            queue.attended = false;
            if !queue.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
                queue.waker = Some(cx.waker().clone());
            }
            return Poll::Pending;
        }
        queue.entries = 0;
        self.crowded.store(false, Ordering::Relaxed);
        let mut messages = std::mem::take(&mut queue.messages);
        if batch.is_empty() {
            *batch = messages;
        } else {
            batch.append(&mut messages);
        }
        Poll::Ready(queue.ending)
    }

    fn lock(&self) -> MutexGuard<'_, Queue> {
        // Nothing in here panics half way through a change.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn wake(queue: MutexGuard<'_, Queue>) {
    if queue.attended {
        return;
    }
    let waker = queue.waker.clone();
    drop(queue);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(outbox: &Outbox) -> (usize, Poll<Option<Ending>>) {
        let mut batch = VecDeque::new();
        let poll = outbox.poll_take(&Context::from_waker(Waker::noop()), &mut batch);
        (batch.len(), poll)
    }

    #[test]
    fn a_full_outbox_ends_its_connection_and_drops_what_it_held() {
        let outbox = Outbox::new(3);
        for _ in 0..3 {
            outbox.push(Message::Push(Box::new(Event::Draining {})));
        }
        assert_eq!(take(&outbox), (3, Poll::Ready(None)));
        for _ in 0..4 {
            outbox.push(Message::Push(Box::new(Event::Draining {})));
        }
        assert_eq!(take(&outbox), (0, Poll::Ready(Some(Ending::SlowReader))));
        outbox.push(Message::Push(Box::new(Event::Draining {})));
        assert_eq!(take(&outbox), (0, Poll::Ready(Some(Ending::SlowReader))));
    }

    #[test]
    fn an_ending_comes_after_what_was_queued_and_the_first_one_counts() {
        let outbox = Outbox::new(3);
        assert_eq!(take(&outbox), (0, Poll::Pending));
        outbox.push(Message::Push(Box::new(Event::Draining {})));
        outbox.end(Ending::GoingAway);
        outbox.end(Ending::Superseded);
        assert_eq!(take(&outbox), (1, Poll::Ready(Some(Ending::GoingAway))));
    }
}
