//! What the handles of one service share, and the tasks that make and clean up its values.

use std::sync::{Arc, OnceLock, PoisonError, Weak};
use std::task::Waker;
use std::time::Duration;

use arc_swap::ArcSwapOption;
use raceproof_core::service::{Close, Config, Generation, Next, Reset, Service as Machine, Verdict};
use raceproof_core::time::Time;
use tokio::time::Instant;
use tracing::Instrument as _;

use super::{CleanUpError, Done, Failure, GetError, Stats};
use crate::attempt::{attempt, limited};
use crate::rt::{BoxFuture, Runtime, caught};
use crate::sync::atomic::{AtomicUsize, Ordering};
use crate::sync::{Mutex, MutexGuard};
use crate::waiting::{Waiting, wake};

pub(super) type Init<T, E> = Box<dyn Fn() -> BoxFuture<Result<T, E>> + Send + Sync>;
pub(super) type CleanUp<T> = Box<dyn Fn(Arc<T>) -> BoxFuture<()> + Send + Sync>;

pub(super) struct Shared<T, E> {
    pub(super) name: Arc<str>,
    init: Init<T, E>,
    clean_up: Option<CleanUp<T>>,
    timeout: Option<Duration>,
    waiters_max: usize,
    origin: Instant,
    /// Which value is the service's, counted from one; zero for none. Changed under the lock.
    published: AtomicUsize,
    /// The first value, the only one of most services, which costs no more than a cell that is set once. It is owned
    /// under the lock, so that it can be let go.
    first: OnceLock<Weak<T>>,
    /// Each later one, while it is the service's.
    later: ArcSwapOption<T>,
    inner: Mutex<Inner<T, E>>,
}

/// What changes under the lock.
pub(super) struct Inner<T, E> {
    pub(super) machine: Machine,
    value: Option<Arc<T>>,
    accepted: usize,
    /// Where a clean-up runs.
    pub(super) runtime: Option<Runtime>,
    pub(super) last_failure: Option<Failure<E>>,
    pub(super) getters: Waiting<Result<Arc<T>, GetError<E>>>,
    /// Who waits for a clean-up.
    pub(super) settlers: Waiting<Result<(), CleanUpError>>,
}

impl<T, E> Inner<T, E> {
    /// The value and which one it is.
    pub(super) fn value(&self) -> Option<(usize, Arc<T>)> {
        self.value.clone().map(|value| (self.accepted, value))
    }
}

impl<T, E> Shared<T, E> {
    pub(super) fn new(
        init: Init<T, E>,
        clean_up: Option<CleanUp<T>>,
        name: Arc<str>,
        timeout: Option<Duration>,
        config: Config,
    ) -> Self {
        Self {
            name,
            init,
            clean_up,
            timeout,
            waiters_max: config.waiters_max,
            origin: Instant::now(),
            published: AtomicUsize::new(0),
            first: OnceLock::new(),
            later: ArcSwapOption::empty(),
            inner: Mutex::new(Inner {
                machine: Machine::new(config),
                value: None,
                accepted: 0,
                runtime: None,
                last_failure: None,
                getters: Waiting::new(),
                settlers: Waiting::new(),
            }),
        }
    }

    /// The value, without a lock (V3).
    #[inline(always)]
    pub(super) fn ready(&self) -> Option<Arc<T>> {
        if self.published() == 1 { self.first.get()?.upgrade() } else { self.later() }
    }

    /// The value, if it is not the first one. Apart, so that the first one's way is short enough to be inlined.
    #[inline(never)]
    fn later(&self) -> Option<Arc<T>> {
        self.later.load_full()
    }

    /// Which value is the service's; zero for none.
    #[inline]
    pub(super) fn published(&self) -> usize {
        self.published.load(Ordering::Acquire)
    }

    /// The value and which one it is.
    pub(super) fn value(&self) -> Option<(usize, Arc<T>)> {
        self.lock().value()
    }

    pub(super) fn stats(&self) -> Stats {
        let now = self.now();
        let inner = self.lock();
        let counters = inner.machine.stats();
        Stats {
            phase: inner.machine.phase(),
            waiters: inner.machine.waiters(),
            waited: inner.machine.waited(now),
            started: counters.started,
            failed: counters.failed,
            discarded: counters.discarded,
            coalesced: counters.coalesced,
        }
    }

    pub(super) const fn waiters_max(&self) -> usize {
        self.waiters_max
    }

    pub(super) fn now(&self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Inner<T, E>> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T, E> Shared<T, E>
where
    T: Send + Sync + 'static,
    E: Send + Sync + 'static,
{
    /// Makes a value, in a task that no caller's end can end (V2).
    pub(super) fn start(shared: &Arc<Self>, runtime: &Runtime, generation: Generation) {
        let running = Attempt { shared: Arc::clone(shared), generation, ended: false };
        let span = tracing::debug_span!("raceproof.service.init", service = &*shared.name);
        let making = async move {
            let mut running = running;
            let shared = &running.shared;
            tracing::debug!(service = &*shared.name, "initialising");
            let result = limited(Instant::now(), shared.timeout, attempt(|| (shared.init)())).await;
            running.ended = true;
            running.shared.made(generation, result);
        };
        runtime.spawn(making.instrument(span));
    }

    /// An attempt ended.
    fn made(self: &Arc<Self>, generation: Generation, result: Result<T, Failure<E>>) {
        let now = self.now();
        let mut inner = self.lock();
        match (inner.machine.ended(now, generation, result.is_ok()), result) {
            (Verdict::Accept, Ok(value)) => {
                let wakers = self.publish(&mut inner, Arc::new(value));
                drop(inner);
                wake(wakers);
            }
            (Verdict::Fail, Err(failure)) => {
                let wakers = inner.getters.settle(|| Err(GetError::Init(failure.clone())));
                let before = inner.last_failure.replace(failure.clone());
                drop((inner, before));
                self.report(&failure);
                wake(wakers);
            }
            (Verdict::CleanUp, Ok(value)) => {
                drop(inner);
                tracing::debug!(service = &*self.name, "a value that nobody wants any more is cleaned up");
                Self::clean_up(self, Arc::new(value));
            }
            (Verdict::Then(next), _) => self.go_on(inner, next, Ok(())),
            (_, result) => drop((inner, result)),
        }
    }

    fn report(&self, failure: &Failure<E>) {
        tracing::warn!(service = &*self.name, why = failure.why(), "the initialisation failed");
    }

    fn publish(&self, inner: &mut Inner<T, E>, value: Arc<T>) -> Vec<Waker> {
        inner.accepted += 1;
        if inner.accepted == 1 {
            // Each number is given once, so this is not set.
            let _ = self.first.set(Arc::downgrade(&value));
        } else {
            self.later.store(Some(Arc::clone(&value)));
        }
        inner.value = Some(Arc::clone(&value));
        self.published.store(inner.accepted, Ordering::Release);
        inner.getters.settle(|| Ok(Arc::clone(&value)))
    }

    /// Takes the value from those who ask next.
    fn withdraw(&self, inner: &mut Inner<T, E>) -> Option<Arc<T>> {
        self.published.store(0, Ordering::Release);
        // It is still owned here, so that its drop, which is the user's code, does not run under the lock.
        self.later.store(None);
        inner.value.take()
    }

    pub(super) fn reset(shared: &Arc<Self>) -> Done<T, E> {
        let mut inner = shared.lock();
        match inner.machine.reset() {
            Reset::Nothing => Done::now(),
            Reset::Later => Done::later(shared, &mut inner),
            Reset::CleanUp => Self::give_up(shared, inner),
        }
    }

    pub(super) fn close(shared: &Arc<Self>) -> Done<T, E> {
        let mut inner = shared.lock();
        let close = inner.machine.close();
        let wakers = inner.getters.settle(|| Err(GetError::Closed));
        let done = match close {
            Close::CleanUp => {
                let done = Self::give_up(shared, inner);
                wake(wakers);
                return done;
            }
            Close::Done => Done::now(),
            Close::Later => Done::later(shared, &mut inner),
        };
        drop(inner);
        wake(wakers);
        done
    }

    /// Cleans up the value that the service has.
    fn give_up(shared: &Arc<Self>, mut inner: MutexGuard<'_, Inner<T, E>>) -> Done<T, E> {
        let value = shared.withdraw(&mut inner);
        let done = Done::later(shared, &mut inner);
        drop(inner);
        if let Some(value) = value {
            Self::clean_up(shared, value);
        }
        done
    }

    fn clean_up(shared: &Arc<Self>, value: Arc<T>) {
        let mut cleaning = Cleaning { shared: Arc::clone(shared), outcome: Err(CleanUpError::Aborted) };
        if shared.clean_up.is_none() {
            drop(value);
            cleaning.outcome = Ok(());
            return;
        }
        let runtime = Runtime::current().or_else(|| shared.lock().runtime.clone());
        let Some(runtime) = runtime else { return };
        let shared = Arc::clone(shared);
        let span = tracing::debug_span!("raceproof.service.clean_up", service = &*shared.name);
        let cleaning = async move {
            // Owned by the task from the start: it also ends the clean-up of a task that is dropped.
            let mut cleaning = cleaning;
            if let Some(clean_up) = &shared.clean_up {
                cleaning.outcome = caught(|| clean_up(value)).await.map_err(CleanUpError::Panicked);
            }
        };
        runtime.spawn(cleaning.instrument(span));
    }

    /// What follows a clean-up, or a failure that nobody waits for.
    fn go_on(self: &Arc<Self>, mut inner: MutexGuard<'_, Inner<T, E>>, next: Next, outcome: Result<(), CleanUpError>) {
        let runtime = Runtime::current().or_else(|| inner.runtime.clone());
        let wakers = inner.settlers.settle(|| outcome.clone());
        drop(inner);
        match (next, runtime) {
            (Next::Start(generation), Some(runtime)) => Self::start(self, &runtime, generation),
            (Next::Start(generation), None) => self.made(generation, Err(Failure::Aborted)),
            (Next::Rest | Next::Closed, _) => {}
        }
        wake(wakers);
    }
}

/// An initialisation, which ends even if its runtime drops it.
struct Attempt<T: Send + Sync + 'static, E: Send + Sync + 'static> {
    shared: Arc<Shared<T, E>>,
    generation: Generation,
    ended: bool,
}

impl<T: Send + Sync + 'static, E: Send + Sync + 'static> Drop for Attempt<T, E> {
    fn drop(&mut self) {
        if !self.ended {
            self.shared.made(self.generation, Err(Failure::Aborted));
        }
    }
}

/// A clean-up, which ends even if its runtime drops it.
struct Cleaning<T: Send + Sync + 'static, E: Send + Sync + 'static> {
    shared: Arc<Shared<T, E>>,
    outcome: Result<(), CleanUpError>,
}

impl<T: Send + Sync + 'static, E: Send + Sync + 'static> Drop for Cleaning<T, E> {
    fn drop(&mut self) {
        if let Err(error) = &self.outcome {
            tracing::error!(service = &*self.shared.name, %error, "the clean-up failed");
        }
        let mut inner = self.shared.lock();
        let next = inner.machine.cleaned_up();
        self.shared.go_on(inner, next, self.outcome.clone());
    }
}
