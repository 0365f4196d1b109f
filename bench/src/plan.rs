//! The order of measuring: repeats outside, then rows, then systems, so that what else the machine does meets all of
//! them alike and a ratio compares what was measured within seconds.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use anyhow::{Result, anyhow};
use raceproof_bench_common::book::{Book, Metrics};

use crate::kind::{Family, Kind};
use crate::rows::{expiry, fanout, handover, hot, keepalive, kill, memory, private, probe, startup};
use crate::server::{Load, Server, Site};

/// What is to be measured, and for how long.
#[derive(Debug)]
pub(crate) struct Plan {
    pub(crate) site: Site,
    pub(crate) systems: Vec<Kind>,
    pub(crate) repeats: usize,
    /// Of the rows that wait for leases or set up a thousand sessions.
    pub(crate) slow_repeats: usize,
    pub(crate) duration: Duration,
    pub(crate) cycles: usize,
    /// Rows by their names, with or without the number of clients; all if empty.
    pub(crate) only: Vec<String>,
}

/// A row that is measured on servers that run throughout.
#[derive(Clone, Copy, Debug)]
enum Row {
    Private(usize),
    Hot(usize),
    Handover,
    Kill,
    Expiry,
}

const ROWS: &[(&str, Row)] = &[
    ("private@1", Row::Private(1)),
    ("private@16", Row::Private(16)),
    ("private@64", Row::Private(64)),
    ("hot@2", Row::Hot(2)),
    ("hot@16", Row::Hot(16)),
    ("hot@64", Row::Hot(64)),
    ("handover", Row::Handover),
    ("kill", Row::Kill),
    ("expiry", Row::Expiry),
];

impl Row {
    const fn is_slow(self) -> bool {
        matches!(self, Self::Kill | Self::Expiry)
    }

    const fn concerns(self, kind: Kind) -> bool {
        !matches!(self, Self::Expiry) || kind.can_stop_renewing()
    }

    async fn measure(self, kind: Kind, server: &Server, duration: Duration) -> Result<Metrics> {
        match self {
            Self::Private(clients) => private::measure(kind, server, clients, duration).await,
            Self::Hot(clients) => hot::measure(kind, server, clients, duration).await,
            Self::Handover => handover::measure(kind, server, duration).await,
            Self::Kill => kill::measure(kind, server).await,
            Self::Expiry => expiry::measure(kind, server).await,
        }
    }
}

impl Plan {
    /// Measures everything that was asked for.
    pub(crate) async fn run(&self, book: &mut Book) {
        self.run_on_fleet(book).await;
        for repeat in 0..self.repeats_of("startup", self.repeats) {
            for kind in self.rotated(repeat) {
                let result = bounded(Duration::from_secs(60), startup::measure(kind, &self.site)).await;
                book.record("startup", kind.name(), repeat, result);
            }
        }
        for repeat in 0..self.repeats_of("fanout", self.slow_repeats) {
            for family in self.families() {
                let result = bounded(Duration::from_secs(90), fanout::measure(family, &self.site)).await;
                book.record("fanout", family_name(family), repeat, result);
            }
        }
        for repeat in 0..self.repeats_of("keepalive", 1) {
            for kind in self.rotated(repeat) {
                let window = Duration::from_secs(10);
                let result = bounded(Duration::from_secs(180), keepalive::measure(kind, &self.site, window)).await;
                book.record("keepalive", kind.name(), repeat, result);
            }
        }
        for repeat in 0..self.repeats_of("memory", 1) {
            for kind in self.rotated(repeat) {
                let bound = Duration::from_secs(60 + u64::try_from(self.cycles / 1_000).unwrap_or(u64::MAX / 2));
                let result = bounded(bound, memory::measure(kind, &self.site, self.cycles)).await;
                book.record("memory", kind.name(), repeat, result);
            }
        }
    }

    async fn run_on_fleet(&self, book: &mut Book) {
        let rows: Vec<(&'static str, Row)> = ROWS.iter().copied().filter(|(name, _)| self.wants(name)).collect();
        let mut fleet = Fleet::default();
        for repeat in 0..self.repeats {
            if self.wants("probe") {
                book.record("probe", "disk", repeat, probe::measure(&self.site.data, self.duration));
            }
            for (name, row) in &rows {
                if row.is_slow() && repeat >= self.slow_repeats {
                    continue;
                }
                for kind in self.rotated(repeat).into_iter().filter(|kind| row.concerns(*kind)) {
                    let result = fleet.measure(self, *row, kind).await;
                    book.record(name, kind.name(), repeat, result);
                }
            }
        }
    }

    fn wants(&self, row: &str) -> bool {
        let family = row.split('@').next().unwrap_or(row);
        self.only.is_empty() || self.only.iter().any(|only| only == row || only == family)
    }

    fn repeats_of(&self, row: &str, repeats: usize) -> usize {
        if self.wants(row) { repeats } else { 0 }
    }

    /// The systems, each repeat beginning with another one.
    fn rotated(&self, repeat: usize) -> Vec<Kind> {
        let mut systems = self.systems.clone();
        let by = repeat % systems.len().max(1);
        systems.rotate_left(by);
        systems
    }

    fn families(&self) -> Vec<Family> {
        let mut families: Vec<Family> = self.systems.iter().map(|kind| kind.family()).collect();
        families.sort_unstable();
        families.dedup();
        families
    }
}

const fn family_name(family: Family) -> &'static str {
    match family {
        Family::Raceproof => "raceproof",
        Family::Etcd => "etcd",
        Family::Redis => "redis",
        Family::Postgres => "postgres",
        Family::Zookeeper => "zookeeper",
    }
}

/// The servers that run throughout. One that failed a measurement is replaced.
#[derive(Debug, Default)]
struct Fleet(BTreeMap<Family, Server>);

impl Fleet {
    async fn measure(&mut self, plan: &Plan, row: Row, kind: Kind) -> Result<Metrics> {
        let family = kind.family();
        let server = match self.0.entry(family) {
            Entry::Vacant(place) => place.insert(Server::start(&plan.site, family, Load::Usual).await?),
            Entry::Occupied(running) => running.into_mut(),
        };
        let result = bounded(plan.duration + Duration::from_secs(20), row.measure(kind, server, plan.duration)).await;
        if result.is_err() {
            self.0.remove(&family);
        }
        result
    }
}

async fn bounded(bound: Duration, measure: impl Future<Output = Result<Metrics>>) -> Result<Metrics> {
    tokio::time::timeout(bound, measure).await.unwrap_or_else(|_| Err(anyhow!("not finished within {bound:?}")))
}
