//! What instances tell about themselves, and the same as plain metrics.

use std::sync::Arc;
use std::time::Duration;

use super::Room;
use crate::resilience::breaker::State;
use crate::resilience::{breaker, limiter, retry};
use crate::service::{self, Phase};
use crate::wire::Lock;
use crate::{events, startup, task, worker};

/// An instance at one moment.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub struct Observed {
    /// Which room it is of.
    pub room: Room,
    /// Its name.
    pub name: Arc<str>,
    /// What it tells.
    pub stats: Stats,
}

/// What an instance tells, in the words of its room.
#[derive(Clone, PartialEq, Debug)]
#[non_exhaustive]
pub enum Stats {
    /// Of a breaker.
    Breaker(breaker::Stats),
    /// Of a cache.
    #[cfg(feature = "cache")]
    Cache(crate::cache::Stats),
    /// Of an event bus.
    Events(events::Stats),
    /// Of a rate limiter with a quota for each key.
    KeyedRateLimit(limiter::KeyedStats),
    /// Of a lock or a semaphore: who holds it, who waits.
    Lock(Lock),
    /// Of a rate limiter.
    RateLimit(limiter::Stats),
    /// Of a retry.
    Retry(retry::Stats),
    /// Of a service.
    Service(service::Stats),
    /// Of services that start and stop together.
    Startup(startup::Stats),
    /// Of a supervisor of tasks.
    Task(task::Stats),
    /// Of a throttle.
    #[non_exhaustive]
    Throttle {
        /// How many calls wait.
        waiting: usize,
    },
    /// Of a time limit.
    #[non_exhaustive]
    Timeout {
        /// The limit.
        limit: Duration,
    },
    /// Of a worker.
    Worker(worker::Stats),
}

/// One number, or one state, that an instance tells.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub struct Metric {
    /// Its name within the room.
    pub name: &'static str,
    /// What it counts.
    pub about: &'static str,
    /// What it is.
    pub value: Value,
}

/// The value of a metric.
#[derive(Clone, Copy, PartialEq, Debug)]
#[non_exhaustive]
pub enum Value {
    /// Counts since the instance was built.
    Total(u64),
    /// Goes up and down.
    Number(u64),
    /// A time.
    Seconds(Duration),
    /// One of several.
    State {
        /// Which.
        is: &'static str,
        /// All there are.
        of: &'static [&'static str],
    },
}

const fn total(name: &'static str, value: u64, about: &'static str) -> Metric {
    Metric { name, about, value: Value::Total(value) }
}

fn number(name: &'static str, value: usize, about: &'static str) -> Metric {
    Metric { name, about, value: Value::Number(u64::try_from(value).unwrap_or(u64::MAX)) }
}

impl Stats {
    /// The same as plain metrics. Names and kinds are the same for every instance of a room.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        match self {
            Self::Breaker(stats) => of_breaker(stats),
            #[cfg(feature = "cache")]
            Self::Cache(stats) => of_cache(stats),
            Self::Events(stats) => of_events(stats),
            Self::KeyedRateLimit(stats) => vec![
                total("admitted", stats.admitted, "Calls that were admitted."),
                total("refused", stats.refused, "Calls that were refused."),
                number("waiting", stats.waiting, "Calls that wait."),
                number("keys", stats.keys, "Keys that are remembered."),
                number("keys_capacity", stats.capacity, "Keys that there is memory for."),
            ],
            Self::Lock(lock) => of_lock(lock),
            Self::RateLimit(stats) => vec![
                total("admitted", stats.admitted, "Calls that were admitted."),
                total("refused", stats.refused, "Calls that were refused."),
                number("waiting", stats.waiting, "Calls that wait."),
                Metric {
                    name: "left",
                    about: "Calls that would be admitted at once.",
                    value: Value::Number(stats.left.into()),
                },
            ],
            Self::Retry(stats) => vec![
                total("calls", stats.calls, "Calls, each with one attempt or more."),
                total("retries", stats.retries, "Attempts beyond the first of their call."),
                total("failed", stats.failed, "Calls that failed for good."),
                total("over_budget", stats.over_budget, "Calls that failed because the budget was spent."),
                Metric {
                    name: "budget",
                    about: "Retries that the budget covers.",
                    value: Value::Number(stats.budget.into()),
                },
            ],
            Self::Service(stats) => of_service(stats),
            Self::Startup(stats) => of_startup(stats),
            Self::Task(stats) => of_task(stats),
            Self::Throttle { waiting } => vec![number("waiting", *waiting, "Calls that wait.")],
            Self::Timeout { limit } => {
                vec![Metric { name: "limit", about: "How long a call may take.", value: Value::Seconds(*limit) }]
            }
            Self::Worker(stats) => of_worker(stats),
        }
    }
}

fn of_breaker(stats: &breaker::Stats) -> Vec<Metric> {
    let is = match stats.state {
        State::Closed => "closed",
        State::Open => "open",
        State::HalfOpen => "half_open",
    };
    let state = Value::State { is, of: &["closed", "open", "half_open"] };
    vec![
        Metric { name: "state", about: "What it does with calls.", value: state },
        total("successes", stats.successes, "Successes that were counted."),
        total("failures", stats.failures, "Failures that were counted."),
        total("refused", stats.refused, "Calls that were refused."),
        total("abandoned", stats.abandoned, "Admitted calls that ended without a verdict."),
        total("stale", stats.stale, "Results from before a change of state, ignored."),
        total("opened", stats.opened, "How many times it opened."),
    ]
}

#[cfg(feature = "cache")]
fn of_cache(stats: &crate::cache::Stats) -> Vec<Metric> {
    let weight = Metric { name: "weight", about: "What the entries weigh.", value: Value::Number(stats.weight) };
    vec![
        number("entries", stats.entries, "Entries."),
        weight,
        number("loading", stats.loading, "Loads that are under way or queued."),
        number("waiting", stats.waiters, "Callers that wait for a load."),
        total("hits", stats.hits, "Callers served at once by a fresh entry."),
        total("stale_hits", stats.stale_hits, "Callers served at once by a stale entry."),
        total("misses", stats.misses, "Callers that found nothing to serve."),
        total("coalesced", stats.coalesced, "Callers that waited for a load of another."),
        total("loads", stats.loads, "Loads that were started."),
        total("failed", stats.failed, "Loads that failed."),
        total("overtaken", stats.overtaken, "Loads whose key was written or invalidated while they ran."),
        total("evicted", stats.evicted, "Entries that went to make room."),
    ]
}

fn of_events(stats: &events::Stats) -> Vec<Metric> {
    let behind = stats.subscribers.iter().map(|subscriber| subscriber.behind).max().unwrap_or_default();
    let behind =
        Metric { name: "behind", about: "Events that the slowest has yet to take.", value: Value::Number(behind) };
    let full = stats.subscribers.iter().filter(|subscriber| subscriber.full).count();
    vec![
        total("published", stats.published, "Events that were published."),
        number("buffered", stats.buffered, "Events that the bus holds."),
        number("publishers_waiting", stats.publishers_waiting, "Publishers that wait for room."),
        total("disconnected", stats.disconnected, "Subscribers that were cut off."),
        number("subscribers", stats.subscribers.len(), "Subscribers."),
        number("subscribers_full", full, "Subscribers that publishers wait for."),
        behind,
    ]
}

fn of_service(stats: &service::Stats) -> Vec<Metric> {
    let is = match stats.phase {
        Phase::Idle => "idle",
        Phase::Starting => "starting",
        Phase::Ready => "ready",
        Phase::CleaningUp => "cleaning_up",
        Phase::Closed => "closed",
    };
    let phase = Value::State { is, of: &["idle", "starting", "ready", "cleaning_up", "closed"] };
    vec![
        Metric { name: "phase", about: "Where it is.", value: phase },
        number("waiting", stats.waiters, "Callers that wait."),
        total("started", stats.started, "Initialisations that were started."),
        total("failed", stats.failed, "Initialisations that failed."),
        total("discarded", stats.discarded, "Initialisations whose value came too late to be wanted."),
        total("coalesced", stats.coalesced, "Callers that waited for an initialisation of another."),
    ]
}

fn of_task(stats: &task::Stats) -> Vec<Metric> {
    vec![
        number("running", stats.running.len(), "Tasks that run."),
        number("queued", stats.queued, "Tasks that wait for others of the same name."),
        number("pausing", stats.pausing, "Tasks that pause before they are started again."),
        total("started", stats.started, "Tasks that were started, restarts included."),
        total("failed", stats.failed, "Tasks that returned an error."),
        total("panicked", stats.panicked, "Tasks that panicked."),
        total("aborted", stats.aborted, "Tasks that had to be stopped by force."),
        total("refused", stats.refused, "Tasks that were refused."),
        total("coalesced", stats.coalesced, "Tasks that were the same as one that waited."),
    ]
}

fn of_lock(lock: &Lock) -> Vec<Metric> {
    let taken = lock.holders.iter().map(|holder| u64::from(holder.take.unwrap_or(1))).sum();
    vec![
        number("holders", lock.holders.len(), "Who holds it."),
        Metric {
            name: "taken",
            about: "Permits that are held; 1 for each holder of a lock.",
            value: Value::Number(taken),
        },
        Metric { name: "waiting", about: "Who waits for it.", value: Value::Number(lock.waiters_count) },
    ]
}

fn of_startup(stats: &startup::Stats) -> Vec<Metric> {
    let is = match stats.phase {
        startup::Phase::Starting => "starting",
        startup::Phase::Running => "running",
        startup::Phase::Draining => "draining",
        startup::Phase::Stopping => "stopping",
        startup::Phase::Over => "over",
    };
    let phase = Value::State { is, of: &["starting", "running", "draining", "stopping", "over"] };
    let in_state = |state| stats.services.iter().filter(|service| service.state == state).count();
    vec![
        Metric { name: "phase", about: "Where the services are together.", value: phase },
        number("ready", usize::from(stats.ready), "1 if everything was started and is well."),
        number("services", stats.services.len(), "Services."),
        number("services_unhealthy", in_state(startup::State::Unhealthy), "Services whose checks fail."),
        number("services_failed", in_state(startup::State::Failed), "Services that could not be started."),
        number("services_stuck", in_state(startup::State::Stuck), "Services whose stop did not end in time."),
    ]
}

fn of_worker(stats: &worker::Stats) -> Vec<Metric> {
    vec![
        number("waiting", stats.waiting, "Requests that wait."),
        number("in_hand", stats.in_hand, "Requests that are being answered."),
        number("workers", stats.workers, "Workers that have not ended."),
        total("accepted", stats.accepted, "Requests that were taken into the mailbox."),
        total("refused", stats.refused, "Requests that were given back because the mailbox was full."),
        total("abandoned", stats.abandoned, "Requests whose callers went."),
        total("expired", stats.expired, "Requests whose time was over before they were begun."),
        total("answered", stats.answered, "Requests that were answered."),
        total("panicked", stats.panicked, "Panics."),
    ]
}
