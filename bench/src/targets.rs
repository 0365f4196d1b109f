//! What Raceproof set itself over a server.

use raceproof_bench_common::book::Book;
use raceproof_bench_common::targets::Bound::{AtLeast, AtMost};
use raceproof_bench_common::targets::{Target, Verdict, absolute, against};

const TARGETS: &[Target<'_>] = &[
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
    absolute("idle sessions, durable: server memory, MiB", "idle", "rss_mib", "durable", AtMost(200.0)),
    absolute("idle sessions, durable: server CPU, % of a core", "idle", "server_cpu_pct", "durable", AtMost(5.0)),
    absolute("idle sessions, reclaim: server memory, MiB", "idle", "rss_mib", "reclaim", AtMost(200.0)),
    absolute("idle sessions, reclaim: server CPU, % of a core", "idle", "server_cpu_pct", "reclaim", AtMost(5.0)),
];

/// The targets of the rows that were measured.
pub(crate) fn verdicts(book: &Book) -> Vec<Verdict> {
    TARGETS.iter().filter_map(|target| target.verdict(book)).collect()
}
