//! What a recovery is made of.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use raceproof_core::resilience::recovery::{Config, Recovery as Machine, Strategy};

use super::{Entry, Inner, OnAlarm, OnCritical, Recovery, Run};
use crate::resilience::clock::Clock;
use crate::rt::BoxFuture;
use crate::sync::Mutex;

/// What a [`Recovery`] is made of.
#[must_use]
pub struct Builder<C> {
    config: Config,
    strategies: BTreeMap<C, (Strategy, Run)>,
    on_critical: Option<OnCritical<C>>,
    on_alarm: Option<OnAlarm<C>>,
}

impl<C: Ord + Clone + Send + Sync + 'static> Builder<C> {
    pub(super) fn new() -> Self {
        Self { config: Config::default(), strategies: BTreeMap::new(), on_critical: None, on_alarm: None }
    }

    /// How a category is recovered. `run` is given the number of the attempt, from 1, and says what is still wrong. It
    /// may report errors of other categories; one of its own is told that an attempt is under way.
    pub fn strategy<F, Fut>(mut self, category: C, strategy: Strategy, run: F) -> Self
    where
        F: Fn(u32) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<(), Arc<str>>> + Send + 'static,
    {
        let run: Run = Arc::new(move |attempt| Box::pin(run(attempt)) as BoxFuture<_>);
        self.strategies.insert(category, (strategy, run));
        self
    }

    /// Is told of every critical error, before its strategy runs. Runs in the task that reports it: it has to be short.
    pub fn on_critical(mut self, hook: impl Fn(&Entry<C>) + Send + Sync + 'static) -> Self {
        self.on_critical = Some(Box::new(hook));
        self
    }

    /// Is told once when a category begins to fail more than [`alarm_per_minute`](Self::alarm_per_minute) times within
    /// a minute, and how often it did.
    pub fn on_alarm(mut self, hook: impl Fn(&C, u32) + Send + Sync + 'static) -> Self {
        self.on_alarm = Some(Box::new(hook));
        self
    }

    /// How many errors of a category within a minute are still not too many. Default: 10.
    pub fn alarm_per_minute(mut self, errors: u32) -> Self {
        self.config.alarm_per_minute = errors;
        self
    }

    /// How many errors are remembered. Default: 100.
    pub fn history_max(mut self, errors: usize) -> Self {
        self.config.history_max = errors;
        self
    }

    /// How many categories are remembered. Default: 256.
    pub fn categories_max(mut self, categories: usize) -> Self {
        self.config.categories_max = categories;
        self
    }

    /// The recovery.
    #[must_use]
    pub fn build(self) -> Recovery<C> {
        let mut machine = Machine::new(self.config);
        let mut strategies = BTreeMap::new();
        for (category, (strategy, run)) in self.strategies {
            machine.set_strategy(category.clone(), strategy);
            strategies.insert(category, run);
        }
        let (on_critical, on_alarm) = (self.on_critical, self.on_alarm);
        let inner = Inner { clock: Clock::new(), machine: Mutex::new(machine), strategies, on_critical, on_alarm };
        Recovery { inner: Arc::new(inner) }
    }
}

impl<C: fmt::Debug> fmt::Debug for Builder<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let strategies: Vec<_> = self.strategies.iter().map(|(category, (strategy, _))| (category, strategy)).collect();
        f.debug_struct("Builder").field("config", &self.config).field("strategies", &strategies).finish_non_exhaustive()
    }
}
