//! What the server counts, in Prometheus' manner.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};
use raceproof_core::wire::{Event, Request, Response};

use crate::sequencer::{Answer, Figures};

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Kind {
    kind: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Refused {
    code: &'static str,
}

#[derive(Clone, PartialEq, Eq, Hash, Debug, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Every figure. Counters are kept as things happen; gauges are set when somebody asks.
#[derive(Debug)]
pub(crate) struct Metrics {
    registry: Registry,
    requests: Requests,
    refusals: Family<Refused, Counter>,
    grants: Counter,
    releases: Counter,
    steals: Counter,
    elections: Counter,
    lost: Family<Reason, Counter>,
    unauthorized: Counter,
    flush_seconds: Histogram,
    gauges: Gauges,
}

/// What is read from the hub and the store when somebody asks.
#[derive(Debug)]
struct Gauges {
    expiries: Counter,
    deadlocks: Counter,
    stalls: Counter,
    recovering: Gauge<u64, AtomicU64>,
    sessions: Gauge<u64, AtomicU64>,
    locks: Gauge<u64, AtomicU64>,
    grants: Gauge<u64, AtomicU64>,
    waiters: Gauge<u64, AtomicU64>,
    connections: Gauge<u64, AtomicU64>,
    store_bytes: Gauge<u64, AtomicU64>,
    store_records: Gauge<u64, AtomicU64>,
}

macro_rules! requests {
    ($($field:ident $pattern:pat => $kind:literal,)*) => {
        /// A counter per kind of request, found without looking anything up: this is once per request.
        #[derive(Debug)]
        struct Requests {
            $($field: Counter,)*
            other: Counter,
        }

        impl Requests {
            fn new(family: &Family<Kind, Counter>) -> Self {
                let of = |kind| family.get_or_create(&Kind { kind }).clone();
                Self { $($field: of($kind),)* other: of("other") }
            }

            fn of(&self, request: &Request) -> &Counter {
                match request {
                    $($pattern => &self.$field,)*
                    _ => &self.other,
                }
            }
        }
    };
}

requests! {
    open Request::Open(_) => "open",
    resume Request::Resume(_) => "resume",
    keepalive Request::Keepalive {} => "keepalive",
    end Request::End {} => "end",
    acquire Request::Acquire(_) => "acquire",
    cancel Request::Cancel { .. } => "cancel",
    release Request::Release(_) => "release",
    steal Request::Steal { .. } => "steal",
    check Request::Check(_) => "check",
    campaign Request::Campaign(_) => "campaign",
    resign Request::Resign(_) => "resign",
    observe Request::Observe { .. } => "observe",
}

impl Metrics {
    pub(crate) fn new() -> Self {
        let mut registry = Registry::with_prefix("raceproof");
        let requests = Family::<Kind, Counter>::default();
        let refusals = Family::<Refused, Counter>::default();
        let lost = Family::<Reason, Counter>::default();
        let [grants, releases, steals, elections, unauthorized] = [(); 5].map(|()| Counter::default());
        // 16 µs to 0.5 s: from a battery-backed cache to a disk in trouble.
        let flush_seconds = Histogram::new(exponential_buckets(16e-6, 2.0, 16));
        registry.register("requests", "Requests put to the hub", requests.clone());
        registry.register("refusals", "Requests refused, by the problem's code", refusals.clone());
        registry.register("lock_grants", "Grants handed out", grants.clone());
        registry.register("lock_releases", "Grants given back by their holders", releases.clone());
        registry.register("lock_steals", "Grants ended by an operator", steals.clone());
        registry.register("lock_losses", "Grants that a connected holder lost, by reason", lost.clone());
        registry.register("elections_won", "Campaigns that led to a term", elections.clone());
        registry.register("unauthorized", "Calls without right credentials", unauthorized.clone());
        registry.register_with_unit(
            "store_flush",
            "Time for one flush of the store",
            Unit::Seconds,
            flush_seconds.clone(),
        );
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "This server", build);
        let gauges = Gauges::register(&mut registry);
        let requests = Requests::new(&requests);
        Self {
            registry,
            requests,
            refusals,
            grants,
            releases,
            steals,
            elections,
            lost,
            unauthorized,
            flush_seconds,
            gauges,
        }
    }

    pub(crate) fn requested(&self, request: &Request) {
        self.requests.of(request).inc();
    }

    pub(crate) fn answered(&self, answer: &Answer) {
        match answer.as_deref() {
            Ok(Response::Granted(_)) => self.grants.inc(),
            Ok(Response::Released {}) => self.releases.inc(),
            Ok(Response::Stolen { tokens }) => self.steals.inc_by(tokens.len() as u64),
            Ok(Response::Elected(_)) => self.elections.inc(),
            Ok(_) => return,
            Err(problem) => self.refusals.get_or_create(&Refused { code: problem.code.as_str() }).inc(),
        };
    }

    pub(crate) fn pushed(&self, event: &Event) {
        if let Event::Lost { reason, .. } = event {
            self.lost.get_or_create(&Reason { reason: reason.as_str() }).inc();
        }
    }

    pub(crate) fn unauthorized(&self) {
        self.unauthorized.inc();
    }

    pub(crate) fn flushed(&self, took: Duration) {
        self.flush_seconds.observe(took.as_secs_f64());
    }

    pub(crate) fn connected(&self) {
        self.gauges.connections.inc();
    }

    pub(crate) fn disconnected(&self) {
        self.gauges.connections.dec();
    }

    /// Everything as text, with gauges as they are in `stats`.
    pub(crate) fn encode(&self, stats: &Figures) -> String {
        self.gauges.set(stats);
        let mut text = String::new();
        encode(&mut text, &self.registry).expect("writing to a string does not fail");
        text
    }
}

impl Gauges {
    fn register(registry: &mut Registry) -> Self {
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        let recovering = gauge("recovering", "1 while holders from before a crash are awaited");
        let [expiries, deadlocks, stalls] = [(); 3].map(|()| Counter::default());
        registry.register("session_expiries", "Leases that ran out", expiries.clone());
        registry.register("deadlocks", "Waits refused because they would close a cycle", deadlocks.clone());
        registry.register("stalls", "Stalls of the server, after which every lease ran anew", stalls.clone());
        let mut gauge = |name: &str, help: &str| {
            let gauge = Gauge::default();
            registry.register(name, help, gauge.clone());
            gauge
        };
        Self {
            expiries,
            deadlocks,
            stalls,
            recovering,
            sessions: gauge("sessions", "Sessions that are open"),
            locks: gauge("locks", "Locks that are held or waited for"),
            grants: gauge("grants", "Grants that are valid"),
            waiters: gauge("waiters", "Requests that wait"),
            connections: gauge("connections", "Connections that are open"),
            store_bytes: gauge("store_bytes", "Size of the store on disk"),
            store_records: gauge("store_records", "Records behind the last snapshot"),
        }
    }

    fn set(&self, stats: &Figures) {
        self.expiries.inner().store(stats.hub.expiries_total, Ordering::Relaxed);
        self.deadlocks.inner().store(stats.hub.deadlocks_total, Ordering::Relaxed);
        self.stalls.inner().store(stats.hub.stalls_total, Ordering::Relaxed);
        self.recovering.set(u64::from(stats.hub.recovering));
        self.sessions.set(stats.hub.sessions as u64);
        self.locks.set(stats.hub.names as u64);
        self.grants.set(stats.hub.grants as u64);
        self.waiters.set(stats.hub.waits as u64);
        self.store_bytes.set(stats.store.bytes_on_disk);
        self.store_records.set(stats.store.records_since_snapshot);
    }
}
