//! What Raceproof set itself, and what came out. A miss is reported as a miss.

use serde::Serialize;

use crate::book::{Book, number};

#[derive(Clone, Copy, Debug)]
enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

#[derive(Clone, Copy, Debug)]
struct Target {
    what: &'static str,
    row: &'static str,
    metric: &'static str,
    ours: &'static str,
    /// The peer that ours is divided by; none for an absolute bound.
    peer: Option<&'static str>,
    bound: Bound,
}

/// A target beside what was measured.
#[derive(Debug, Serialize)]
pub(crate) struct Verdict {
    pub(crate) what: &'static str,
    pub(crate) wanted: String,
    pub(crate) measured: String,
    pub(crate) met: bool,
}

const fn against(
    what: &'static str,
    row: &'static str,
    metric: &'static str,
    ours: &'static str,
    peer: &'static str,
    bound: Bound,
) -> Target {
    Target { what, row, metric, ours, peer: Some(peer), bound }
}

const fn absolute(
    what: &'static str,
    row: &'static str,
    metric: &'static str,
    ours: &'static str,
    bound: Bound,
) -> Target {
    Target { what, row, metric, ours, peer: None, bound }
}

use Bound::{AtLeast, AtMost};

const TARGETS: &[Target] = &[
    against("1 client, durable: cycle p50 / etcd", "private@1", "cycle_p50_us", "durable", "etcd", AtMost(0.5)),
    against("1 client, durable: acquire p50 / etcd", "private@1", "acquire_p50_us", "durable", "etcd", AtMost(0.5)),
    against("1 client, durable: cycle p50 / Redis", "private@1", "cycle_p50_us", "durable", "redis", AtMost(1.1)),
    against("1 client, durable: acquire p50 / Redis", "private@1", "acquire_p50_us", "durable", "redis", AtMost(1.1)),
    against("1 client, reclaim: cycle p50 / etcd", "private@1", "cycle_p50_us", "reclaim", "etcd", AtMost(0.2)),
    against("1 client, reclaim: acquire p50 / etcd", "private@1", "acquire_p50_us", "reclaim", "etcd", AtMost(0.2)),
    against(
        "64 clients, durable: cycles / etcd (aim 8)",
        "private@64",
        "cycles_per_s",
        "durable",
        "etcd",
        AtLeast(5.0),
    ),
    against(
        "64 clients, durable: cycles / Redis (aim 1)",
        "private@64",
        "cycles_per_s",
        "durable",
        "redis",
        AtLeast(0.8),
    ),
    against("64 clients, durable: cycle p99 / etcd", "private@64", "cycle_p99_us", "durable", "etcd", AtMost(1.0)),
    against("64 clients, durable: cycle p99 / Redis", "private@64", "cycle_p99_us", "durable", "redis", AtMost(1.0)),
    against("hot name, 16, durable: hand-offs / etcd", "hot@16", "handoffs_per_s", "durable", "etcd", AtLeast(20.0)),
    against(
        "hot name, 16, reclaim: hand-offs / PostgreSQL advisory",
        "hot@16",
        "handoffs_per_s",
        "reclaim",
        "pg-advisory",
        AtLeast(1.0),
    ),
    absolute("kill -9 to next grant, durable, worst, ms", "kill", "max_ms", "durable", AtMost(10.0)),
    absolute("kill -9 to next grant, reclaim, worst, ms", "kill", "max_ms", "reclaim", AtMost(10.0)),
    absolute("expiry overshoot, durable, worst, ms", "expiry", "late_max_ms", "durable", AtMost(20.0)),
    absolute("expiry overshoot, reclaim, worst, ms", "expiry", "late_max_ms", "reclaim", AtMost(20.0)),
    against("memory after the cycles, durable / etcd", "memory", "rss_mib", "durable", "etcd", AtMost(0.2)),
    against("memory after the cycles, reclaim / etcd", "memory", "rss_mib", "reclaim", "etcd", AtMost(0.2)),
    absolute("data after the cycles, durable, MiB", "memory", "data_mib", "durable", AtMost(64.0)),
    absolute("data after the cycles, reclaim, MiB", "memory", "data_mib", "reclaim", AtMost(64.0)),
    absolute("start to first grant, durable, ms", "startup", "first_grant_ms", "durable", AtMost(50.0)),
    absolute("start to first grant, reclaim, ms", "startup", "first_grant_ms", "reclaim", AtMost(50.0)),
    absolute("idle sessions: server memory, MiB", "idle", "rss_mib", "reclaim", AtMost(200.0)),
    absolute("idle sessions: server CPU, % of a core", "idle", "server_cpu_pct", "reclaim", AtMost(5.0)),
];

/// The targets of the rows that were measured.
pub(crate) fn verdicts(book: &Book) -> Vec<Verdict> {
    TARGETS.iter().filter_map(|target| verdict(book, target)).collect()
}

fn verdict(book: &Book, target: &Target) -> Option<Verdict> {
    if !book.systems(target.row).contains(&target.ours) {
        return None;
    }
    let (wanted, wanted_bound) = match target.bound {
        AtMost(bound) => (format!("≤ {}", number(bound)), bound),
        AtLeast(bound) => (format!("≥ {}", number(bound)), bound),
    };
    let spread = match target.peer {
        Some(peer) if !book.systems(target.row).contains(&peer) => return None,
        Some(peer) => book.ratio(target.row, target.metric, target.ours, peer),
        None => book.spread(target.row, target.ours, target.metric),
    };
    let failed = book.failures().any(|(at, _)| at.row == target.row && at.system == target.ours);
    let Some(spread) = spread.filter(|_| !failed) else {
        return Some(Verdict { what: target.what, wanted, measured: "failed".into(), met: false });
    };
    // An absolute bound of the worst is judged by the worst of all repeats.
    let judged = if target.metric.contains("max") { spread.max } else { spread.median };
    let met = match target.bound {
        AtMost(_) => judged <= wanted_bound,
        AtLeast(_) => judged >= wanted_bound,
    };
    let measured = format!("{} ({}–{})", number(judged), number(spread.min), number(spread.max));
    Some(Verdict { what: target.what, wanted, measured, met })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_miss_is_a_miss() {
        let mut book = Book::default();
        book.record("hot@16", "durable", 0, Ok(vec![("handoffs_per_s", 190.0)]));
        book.record("hot@16", "etcd", 0, Ok(vec![("handoffs_per_s", 10.0)]));
        book.record("kill", "durable", 0, Ok(vec![("max_ms", 3.0)]));
        book.record("kill", "durable", 1, Ok(vec![("max_ms", 11.0)]));
        book.record("startup", "durable", 0, Ok(vec![("first_grant_ms", 9.0)]));
        book.record("startup", "durable", 1, Err(anyhow::anyhow!("no")));
        let verdicts = verdicts(&book);
        let met: Vec<bool> = verdicts.iter().map(|verdict| verdict.met).collect();
        assert_eq!(met, [false, false, false], "{verdicts:?}");
    }
}
