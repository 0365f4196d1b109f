//! What is done about errors, by category, and who is told.
//!
//! Owns: running strategies and telling. Which is run when, and who is told, is the
//! [machine's](raceproof_core::resilience::recovery).

mod builder;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use raceproof_core::resilience::recovery::{Attempt, Decision, Ending, Recovery as Machine};
pub use raceproof_core::resilience::recovery::{Counters, Severity, Strategy};
use raceproof_core::time::Time;
use tracing::Instrument as _;

pub use self::builder::Builder;
use super::clock::Clock;
use crate::rt::{BoxFuture, Runtime, caught, message};
use crate::sync::{Mutex, MutexGuard};

/// Takes errors, and runs what recovers from them. Clones share everything.
///
/// Errors have categories of the user's own type. A category may have a strategy: a function that tries to make things
/// work again. Of one category at most one attempt runs at a time, so many may fail in a row, and there is a pause
/// after each ([`Strategy`]). Critical errors, and categories that fail too often, are told to hooks.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use std::time::Duration;
/// use raceproof::resilience::recovery::{Outcome, Recovery, Severity, Strategy};
///
/// #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
/// enum Category { FileSystem, Communication }
///
/// let recovery = Recovery::builder()
///     .strategy(Category::FileSystem, Strategy::new(3, Duration::from_secs(5)), async |_attempt| Ok(()))
///     .on_critical(|entry| eprintln!("tell somebody: {}", entry.message))
///     .build();
/// let outcome = recovery.report(Category::FileSystem, Severity::High, "the directory is gone").await;
/// assert_eq!(outcome, Outcome::Recovered);
/// let outcome = recovery.report(Category::Communication, Severity::Low, "a message was lost").await;
/// assert_eq!(outcome, Outcome::NoStrategy);
/// # }
/// ```
pub struct Recovery<C> {
    inner: Arc<Inner<C>>,
}

/// The number of the attempt, from 1, in; what is still wrong out.
type Run = Arc<dyn Fn(u32) -> BoxFuture<Result<(), Arc<str>>> + Send + Sync>;
type OnCritical<C> = Box<dyn Fn(&Entry<C>) + Send + Sync>;
type OnAlarm<C> = Box<dyn Fn(&C, u32) + Send + Sync>;

struct Inner<C> {
    clock: Clock,
    machine: Mutex<Machine<C>>,
    strategies: BTreeMap<C, Run>,
    on_critical: Option<OnCritical<C>>,
    on_alarm: Option<OnAlarm<C>>,
}

/// An error that was reported.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Entry<C> {
    /// How long ago, when the history was asked for.
    pub age: Duration,
    /// Its category.
    pub category: C,
    /// How bad it is.
    pub severity: Severity,
    /// What it says.
    pub message: Arc<str>,
    /// Whether an attempt to recover was begun for it.
    pub attempted: bool,
}

/// What was done about an error.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Its strategy ran, and it works again.
    Recovered,
    /// Its strategy ran, and it does not.
    Failed {
        /// What the strategy said, or the message of its panic.
        reason: Arc<str>,
    },
    /// An attempt of its category is under way.
    UnderWay,
    /// The last attempt of its category was too short a time ago.
    CoolingDown {
        /// How long until there may be another.
        retry_after: Duration,
    },
    /// As many attempts of its category failed in a row as may.
    Exhausted {
        /// How long until its category begins anew.
        retry_after: Duration,
    },
    /// Its category has no strategy.
    NoStrategy,
    /// There are as many categories as are remembered. The error is in the history.
    TooManyCategories,
}

/// What happened in a category so far.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct CategoryStats<C> {
    /// Which.
    pub category: C,
    /// Errors within the last minute.
    pub per_minute: u32,
    /// Everything else.
    pub counters: Counters,
}

/// What happened so far in all categories together.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Totals {
    /// How many categories are remembered.
    pub categories: usize,
    /// Errors within the last minute.
    pub per_minute: u32,
    /// Everything else.
    pub counters: Counters,
}

impl<C: Ord + Clone + Send + Sync + 'static> Recovery<C> {
    /// Begins a recovery.
    pub fn builder() -> Builder<C> {
        Builder::new()
    }

    /// An error happened. Runs its strategy if it may run now, and waits for it. The strategy runs in a task of its
    /// own: once begun it goes on, whoever waits for it. Without a runtime it runs in the caller.
    ///
    /// # Cancel safety
    /// Dropping the future stops the waiting. What was reported is counted, and the strategy goes on.
    pub async fn report(&self, category: C, severity: Severity, message: impl Into<Arc<str>>) -> Outcome {
        let inner = &self.inner;
        let message = message.into();
        let (reported, now) = {
            let mut machine = inner.lock();
            let now = inner.clock.now();
            (machine.report(now, category.clone(), severity, Arc::clone(&message)), now)
        };
        let attempt = match reported.decision {
            Decision::Recover(attempt) => Some(attempt),
            _ => None,
        };
        // Ended by its drop too, so that a hook that panics does not leave it under way.
        let running = attempt.map(|attempt| Running { inner: Arc::clone(inner), category: category.clone(), attempt });
        if reported.notify {
            let attempted = attempt.is_some();
            let entry = Entry { age: Duration::ZERO, category: category.clone(), severity, message, attempted };
            inner.tell_critical(&entry);
        }
        if reported.alarm {
            inner.tell_alarm(&category, reported.per_minute);
        }
        match (reported.decision, running) {
            (_, Some(running)) => running.run_to_its_end().await,
            (decision, None) => Outcome::of(decision, now),
        }
    }

    /// Lets a category begin anew: no attempt counts, and one under way is ignored when it ends.
    pub fn reset(&self, category: &C) {
        self.inner.lock().reset(category);
    }

    /// The latest errors, the oldest first.
    #[must_use]
    pub fn history(&self) -> Vec<Entry<C>> {
        let machine = self.inner.lock();
        let now = self.inner.clock.now();
        let entries = machine.history().map(|entry| Entry {
            age: now.since(entry.at),
            category: entry.category.clone(),
            severity: entry.severity,
            message: Arc::clone(&entry.message),
            attempted: matches!(entry.decision, Decision::Recover(_)),
        });
        entries.collect()
    }

    /// What happened so far, by category.
    #[must_use]
    pub fn stats(&self) -> Vec<CategoryStats<C>> {
        let mut machine = self.inner.lock();
        let categories = machine
            .categories(self.inner.clock.now())
            .map(|(category, per_minute, counters)| CategoryStats { category: category.clone(), per_minute, counters });
        categories.collect()
    }

    /// What happened so far in all categories together.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let mut machine = self.inner.lock();
        let empty = Totals { categories: 0, per_minute: 0, counters: Counters::default() };
        machine.categories(self.inner.clock.now()).fold(empty, |sum, (_, per_minute, counters)| Totals {
            categories: sum.categories + 1,
            per_minute: sum.per_minute.saturating_add(per_minute),
            counters: sum.counters + counters,
        })
    }
}

impl Outcome {
    fn of(decision: Decision, now: Time) -> Self {
        match decision {
            Decision::CoolingDown { until } => Self::CoolingDown { retry_after: until.since(now) },
            Decision::Exhausted { until } => Self::Exhausted { retry_after: until.since(now) },
            Decision::NoStrategy => Self::NoStrategy,
            Decision::TooManyCategories => Self::TooManyCategories,
            // An attempt to be run is not asked about here.
            _ => Self::UnderWay,
        }
    }
}

/// An attempt that the machine believes to be under way.
struct Running<C: Ord + Clone> {
    inner: Arc<Inner<C>>,
    category: C,
    attempt: Attempt,
}

impl<C: Ord + Clone + Send + Sync + 'static> Running<C> {
    async fn run_to_its_end(self) -> Outcome {
        let (tell, told) = tokio::sync::oneshot::channel();
        let run = async move {
            // Nobody waits any more: the attempt counts all the same.
            drop(tell.send(self.run().await));
        };
        match Runtime::current() {
            Some(runtime) => runtime.spawn(run),
            None => run.await,
        }
        told.await.unwrap_or_else(|_| Outcome::Failed { reason: "the runtime was shut down".into() })
    }

    async fn run(self) -> Outcome {
        let Some(strategy) = self.inner.strategies.get(&self.category).map(Arc::clone) else {
            return Outcome::NoStrategy;
        };
        let number = self.attempt.number;
        let span = tracing::debug_span!("raceproof.recovery", attempt = number);
        let attempt = caught(|| strategy(number)).instrument(span);
        let result = attempt.await.unwrap_or_else(Err);
        match result {
            Ok(()) => {
                self.inner.ended(&self.category, self.attempt, Ending::Recovered);
                Outcome::Recovered
            }
            Err(reason) => {
                self.inner.ended(&self.category, self.attempt, Ending::Failed);
                tracing::warn!(attempt = number, reason = &*reason, "did not recover");
                Outcome::Failed { reason }
            }
        }
    }
}

/// An attempt that ends without a result failed. One that had a result has ended, and this is ignored.
impl<C: Ord + Clone> Drop for Running<C> {
    fn drop(&mut self) {
        self.inner.ended(&self.category, self.attempt, Ending::Failed);
    }
}

impl<C: Ord + Clone> Inner<C> {
    fn ended(&self, category: &C, attempt: Attempt, ending: Ending) {
        let mut machine = self.lock();
        machine.ended(self.clock.now(), category, attempt, ending);
    }
}

impl<C> Inner<C> {
    fn tell_critical(&self, entry: &Entry<C>) {
        tracing::error!(error = &*entry.message, "critical");
        if let Some(hook) = &self.on_critical {
            isolated(|| hook(entry));
        }
    }

    fn tell_alarm(&self, category: &C, per_minute: u32) {
        tracing::warn!(per_minute, "a category fails too often");
        if let Some(hook) = &self.on_alarm {
            isolated(|| hook(category, per_minute));
        }
    }

    fn lock(&self) -> MutexGuard<'_, Machine<C>> {
        // Only an order of categories that panics could leave it half changed; then a count is wrong.
        self.machine.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A hook that panics is logged, and nothing else.
fn isolated(hook: impl FnOnce()) {
    if let Err(panic) = std::panic::catch_unwind(std::panic::AssertUnwindSafe(hook)) {
        tracing::error!(panic = &*message(&*panic), "a hook of a recovery panicked");
    }
}

impl<C> Clone for Recovery<C> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<C> fmt::Debug for Recovery<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recovery").field("strategies", &self.inner.strategies.len()).finish_non_exhaustive()
    }
}
