//! What instances tell about themselves, and the same as plain metrics.

use std::sync::Arc;
use std::time::Duration;

use super::Room;
use crate::resilience::breaker::State;
use crate::resilience::{breaker, debounce, limiter, policy, recovery, retry, throttle, timeout};
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
    /// Of a debounce.
    Debounce(debounce::Stats),
    /// Of an event bus.
    Events(events::Stats),
    /// Of a rate limiter with a quota for each key.
    KeyedRateLimit(limiter::KeyedStats),
    /// Of a lock or a semaphore: who holds it, who waits.
    Lock(Lock),
    /// Of a policy.
    Policy(policy::Stats),
    /// Of a rate limiter.
    RateLimit(limiter::Stats),
    /// Of a recovery, all categories together.
    Recovery(recovery::Totals),
    /// Of a retry.
    Retry(retry::Stats),
    /// Of a service.
    Service(service::Stats),
    /// Of services that start and stop together.
    Startup(startup::Stats),
    /// Of a supervisor of tasks.
    Task(task::Stats),
    /// Of a throttle.
    Throttle(throttle::Stats),
    /// Of a time limit.
    Timeout(timeout::Stats),
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

fn number(name: &'static str, value: impl TryInto<u64>, about: &'static str) -> Metric {
    Metric { name, about, value: Value::Number(value.try_into().unwrap_or(u64::MAX)) }
}

const fn seconds(name: &'static str, value: Duration, about: &'static str) -> Metric {
    Metric { name, about, value: Value::Seconds(value) }
}

type States = &'static [&'static str];

const fn state(name: &'static str, (is, of): (&'static str, States), about: &'static str) -> Metric {
    Metric { name, about, value: Value::State { is, of } }
}

/// Metrics in the order of the page: `kind name => "what it counts";`. The value is the field of that name, or stands
/// behind an equals sign.
macro_rules! metrics {
    ($stats:expr; $($kind:ident $name:ident $(= $value:expr)? => $about:literal;)+) => {
        vec![$($kind(stringify!($name), metrics!(@value $stats, $name $(, $value)?), $about)),+]
    };
    (@value $stats:expr, $name:ident) => { $stats.$name };
    (@value $stats:expr, $name:ident, $value:expr) => { $value };
}

impl Stats {
    /// The same as plain metrics. Names and kinds are the same for every instance of a room.
    #[must_use]
    pub fn metrics(&self) -> Vec<Metric> {
        match self {
            Self::Breaker(stats) => of_breaker(stats),
            #[cfg(feature = "cache")]
            Self::Cache(stats) => of_cache(stats),
            Self::Debounce(stats) => of_debounce(stats),
            Self::Events(stats) => of_events(stats),
            Self::KeyedRateLimit(stats) => of_keyed_rate_limit(stats),
            Self::Lock(lock) => of_lock(lock),
            Self::Policy(stats) => of_policy(stats),
            Self::RateLimit(stats) => of_rate_limit(stats),
            Self::Recovery(totals) => of_recovery(totals),
            Self::Retry(stats) => of_retry(stats),
            Self::Service(stats) => of_service(stats),
            Self::Startup(stats) => of_startup(stats),
            Self::Task(stats) => of_task(stats),
            Self::Throttle(stats) => of_throttle(stats),
            Self::Timeout(stats) => of_timeout(stats),
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
    metrics![stats;
        state state = (is, &["closed", "open", "half_open"]) => "What it does with calls.";
        total successes => "Successes that were counted.";
        total failures => "Failures that were counted.";
        total refused => "Calls that were refused.";
        total abandoned => "Admitted calls that ended without a verdict.";
        total stale => "Results from before a change of state, ignored.";
        total opened => "How many times it opened.";
    ]
}

#[cfg(feature = "cache")]
fn of_cache(stats: &crate::cache::Stats) -> Vec<Metric> {
    metrics![stats;
        number entries => "Entries.";
        number weight => "What the entries weigh.";
        number loading => "Loads that are under way or queued.";
        number waiting = stats.waiters => "Callers that wait for a load.";
        total hits => "Callers served at once by a fresh entry.";
        total stale_hits => "Callers served at once by a stale entry.";
        total misses => "Callers that found nothing to serve.";
        total coalesced => "Callers that waited for a load of another.";
        total loads => "Loads that were started.";
        total failed => "Loads that failed.";
        total overtaken => "Loads whose key was written or invalidated while they ran.";
        total evicted => "Entries that went to make room.";
    ]
}

fn of_debounce(stats: &debounce::Stats) -> Vec<Metric> {
    metrics![stats;
        number pending = u64::from(stats.pending) => "1 if something waits to be handed on.";
        total pushed => "Events that were pushed.";
        total handed_on => "Values that were handed on, each of one event or of several.";
    ]
}

fn of_events(stats: &events::Stats) -> Vec<Metric> {
    let behind = stats.subscribers.iter().map(|subscriber| subscriber.behind).max().unwrap_or_default();
    let full = stats.subscribers.iter().filter(|subscriber| subscriber.full).count();
    metrics![stats;
        total published => "Events that were published.";
        number buffered => "Events that the bus holds.";
        number publishers_waiting => "Publishers that wait for room.";
        total disconnected => "Subscribers that were cut off.";
        number subscribers = stats.subscribers.len() => "Subscribers.";
        number subscribers_full = full => "Subscribers that publishers wait for.";
        number behind = behind => "Events that the slowest has yet to take.";
    ]
}

fn of_keyed_rate_limit(stats: &limiter::KeyedStats) -> Vec<Metric> {
    metrics![stats;
        total admitted => "Calls that were admitted.";
        total refused => "Calls that were refused.";
        number waiting => "Calls that wait.";
        number keys => "Keys that are remembered.";
        number keys_capacity = stats.capacity => "Keys that there is memory for.";
    ]
}

fn of_lock(lock: &Lock) -> Vec<Metric> {
    let taken: u64 = lock.holders.iter().map(|holder| u64::from(holder.take.unwrap_or(1))).sum();
    let held = lock.holders.iter().map(|holder| holder.age_ms).max().unwrap_or_default();
    let waited = lock.waiters.iter().map(|waiter| waiter.age_ms).max().unwrap_or_default();
    metrics![lock;
        number holders = lock.holders.len() => "Who holds it.";
        number taken = taken => "Permits that are held; 1 for each holder of a lock.";
        number waiting = lock.waiters_count => "Who waits for it.";
        seconds held = Duration::from_millis(held) => "For how long its first holder has had it.";
        seconds waited = Duration::from_millis(waited) => "For how long the first has waited for it.";
    ]
}

fn of_policy(stats: &policy::Stats) -> Vec<Metric> {
    metrics![stats;
        number running => "Calls that are under way.";
        number waiting => "Attempts that wait for room.";
        total calls => "Calls, each with one attempt or more.";
        total attempts => "Attempts, those that were refused included.";
        total failed => "Calls that have no result.";
        total timed_out => "Calls that took too long, all attempts together.";
        total busy => "Attempts that were refused for lack of room.";
    ]
}

fn of_rate_limit(stats: &limiter::Stats) -> Vec<Metric> {
    metrics![stats;
        total admitted => "Calls that were admitted.";
        total refused => "Calls that were refused.";
        number waiting => "Calls that wait.";
        number left => "Calls that would be admitted at once.";
    ]
}

fn of_recovery(totals: &recovery::Totals) -> Vec<Metric> {
    metrics![totals.counters;
        number categories = totals.categories => "Categories that are remembered.";
        number per_minute = totals.per_minute => "Errors within the last minute.";
        total reported => "Errors that were reported.";
        total critical => "Errors that were critical.";
        total recovered => "Attempts that recovered.";
        total failed => "Attempts that did not recover.";
        total alarms => "Times that a category failed too often.";
    ]
}

fn of_retry(stats: &retry::Stats) -> Vec<Metric> {
    metrics![stats;
        total calls => "Calls, each with one attempt or more.";
        total retries => "Attempts beyond the first of their call.";
        total failed => "Calls that failed for good.";
        total over_budget => "Calls that failed because the budget was spent.";
        number budget => "Retries that the budget covers.";
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
    metrics![stats;
        state phase = (is, &["idle", "starting", "ready", "cleaning_up", "closed"]) => "Where it is.";
        number waiting = stats.waiters => "Callers that wait.";
        seconds waited => "For how long there has been one.";
        total started => "Initialisations that were started.";
        total failed => "Initialisations that failed.";
        total discarded => "Initialisations whose value came too late to be wanted.";
        total coalesced => "Callers that waited for an initialisation of another.";
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
    let in_state = |state| stats.services.iter().filter(|service| service.state == state).count();
    metrics![stats;
        state phase = (is, &["starting", "running", "draining", "stopping", "over"])
            => "Where the services are together.";
        number ready = u64::from(stats.ready) => "1 if everything was started and is well.";
        number services = stats.services.len() => "Services.";
        number services_unhealthy = in_state(startup::State::Unhealthy) => "Services whose checks fail.";
        number services_failed = in_state(startup::State::Failed) => "Services that could not be started.";
        number services_stuck = in_state(startup::State::Stuck) => "Services whose stop did not end in time.";
    ]
}

fn of_task(stats: &task::Stats) -> Vec<Metric> {
    metrics![stats;
        number running = stats.running.len() => "Tasks that run.";
        number queued => "Tasks that wait for others of the same name.";
        number pausing => "Tasks that pause before they are started again.";
        total started => "Tasks that were started, restarts included.";
        total failed => "Tasks that returned an error.";
        total panicked => "Tasks that panicked.";
        total aborted => "Tasks that had to be stopped by force.";
        total refused => "Tasks that were refused.";
        total coalesced => "Tasks that were the same as one that waited.";
    ]
}

fn of_throttle(stats: &throttle::Stats) -> Vec<Metric> {
    metrics![stats;
        total begun => "Calls that began.";
        total refused => "Calls that came too soon.";
        number waiting => "Calls that wait.";
    ]
}

fn of_timeout(stats: &timeout::Stats) -> Vec<Metric> {
    metrics![stats;
        seconds limit => "How long a call may take.";
        total calls => "Calls.";
        total timed_out => "Calls that took too long.";
    ]
}

fn of_worker(stats: &worker::Stats) -> Vec<Metric> {
    metrics![stats;
        number waiting => "Requests in the mailbox.";
        number patient => "Requests of callers that wait for room in the mailbox.";
        number in_hand => "Requests that are being answered.";
        number workers => "Workers that have not ended.";
        total accepted => "Requests that were taken into the mailbox.";
        total refused => "Requests that were given back because there was no room.";
        total abandoned => "Requests whose callers went.";
        total expired => "Requests whose time was over before they were begun.";
        total answered => "Requests that were answered.";
        total panicked => "Panics.";
    ]
}
