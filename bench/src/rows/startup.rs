//! From the start of a server with an empty store to its first grant. What is done once per installation, such as
//! `initdb`, is done before.

use std::time::Instant;

use anyhow::Result;
use raceproof_bench_common::book::Metrics;

use crate::kind::Kind;
use crate::server::{Load, Prepared, Site};

pub(crate) async fn measure(kind: Kind, site: &Site) -> Result<Metrics> {
    let prepared = Prepared::new(site, kind.family(), Load::Usual)?;
    let started = Instant::now();
    let mut server = prepared.spawn()?;
    server.first_grant(kind).await?;
    let elapsed = started.elapsed();
    let usage = server.usage();
    Ok(vec![("first_grant_ms", elapsed.as_secs_f64() * 1e3), ("rss_mib", usage.rss_mib)])
}
