//! What the handles of one bus share: the core's machine behind a lock, and the names of its subscribers.
//!
//! Wakers and events are called, dropped and cloned outside of the lock, because they may be foreign code that takes it
//! again. Cloning an `Arc` is not.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, PoisonError};
use std::task::Waker;

use raceproof_core::events::{Bus as Machine, Config, Outputs, Read, ReaderConfig, ReaderId};
use tokio::sync::Notify;

use super::error::SubscribeError;
use super::handler::HandlerPanic;
use super::stats::{Stats, SubscriberStats};
use crate::rt::Clock;
use crate::sync::atomic::{AtomicU64, Ordering};
use crate::sync::{Mutex, MutexGuard};

pub(super) type Out<E> = Outputs<Arc<E>, Waker>;
pub(super) type PanicHook = Box<dyn Fn(&HandlerPanic) + Send + Sync>;

/// Who a subscriber is, apart from its place in the ring.
#[derive(Debug)]
pub(super) struct Meta {
    pub(super) name: Arc<str>,
    pub(super) panics: AtomicU64,
}

pub(super) struct State<E> {
    pub(super) machine: Machine<Arc<E>, Waker>,
    metas: BTreeMap<ReaderId, Arc<Meta>>,
    disconnected: u64,
}

pub(super) struct Shared<E> {
    state: Mutex<State<E>>,
    /// Told when the last subscriber is gone.
    pub(super) emptied: Notify,
    pub(super) on_panic: Option<PanicHook>,
    pub(super) clock: Clock,
}

impl<E> Shared<E> {
    pub(super) fn new(config: Config, on_panic: Option<PanicHook>) -> Self {
        let state = State { machine: Machine::new(config), metas: BTreeMap::new(), disconnected: 0 };
        Self { state: Mutex::new(state), emptied: Notify::new(), on_panic, clock: Clock::new() }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State<E>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the machine an input, then calls and drops what came of it.
    #[inline]
    pub(super) fn input<R>(&self, input: impl FnOnce(&mut Machine<Arc<E>, Waker>, &mut Out<E>) -> R) -> R {
        let mut out = Outputs::default();
        let result = input(&mut self.lock().machine, &mut out);
        self.fire(&mut out);
        result
    }

    /// Without the lock.
    #[inline]
    pub(super) fn fire(&self, out: &mut Out<E>) {
        for waker in out.wakes.drain(..) {
            waker.wake();
        }
        out.spent.clear();
        out.spent_wakes.clear();
        if std::mem::take(&mut out.emptied) {
            self.emptied.notify_waiters();
        }
    }

    pub(super) fn subscribe(
        &self,
        name: Arc<str>,
        wanted: ReaderConfig,
    ) -> Result<(ReaderId, Arc<Meta>), SubscribeError> {
        let meta = Arc::new(Meta { name, panics: AtomicU64::new(0) });
        let mut state = self.lock();
        let id = state.machine.subscribe(wanted)?;
        state.metas.insert(id, Arc::clone(&meta));
        Ok((id, meta))
    }

    pub(super) fn read(&self, id: ReaderId, max: usize, taken: &mut VecDeque<Arc<E>>, out: &mut Out<E>) -> Read {
        let mut state = self.lock();
        let read = state.machine.read(id, max, taken, out);
        let meta = match read {
            Read::Disconnected(_) => {
                state.disconnected += 1;
                state.metas.remove(&id)
            }
            Read::Closed => state.metas.remove(&id),
            _ => None,
        };
        drop(state);
        drop(meta);
        self.fire(out);
        read
    }

    pub(super) fn unsubscribe(&self, id: ReaderId) {
        let mut out = Outputs::default();
        let mut state = self.lock();
        state.machine.unsubscribe(id, &mut out);
        let meta = state.metas.remove(&id);
        drop(state);
        drop(meta);
        self.fire(&mut out);
    }

    pub(super) fn close(&self) {
        self.input(Machine::close);
    }

    /// Who has not received everything, or not said so.
    pub(super) fn left(&self) -> Vec<String> {
        self.lock().metas.values().map(|meta| meta.name.to_string()).collect()
    }

    pub(super) fn stats(&self) -> Stats {
        let state = self.lock();
        let subscribers = state.machine.readers().map(|(id, reading)| {
            let meta = state.metas.get(&id);
            SubscriberStats {
                name: meta.map(|meta| meta.name.to_string()).unwrap_or_default(),
                behind: reading.behind,
                missed: reading.missed,
                full: reading.full,
                panics: meta.map_or(0, |meta| meta.panics.load(Ordering::Relaxed)),
            }
        });
        Stats {
            published: state.machine.published(),
            buffered: state.machine.len(),
            publishers_waiting: state.machine.waiting(),
            disconnected: state.disconnected,
            closed: state.machine.is_closed(),
            subscribers: subscribers.collect(),
        }
    }
}
