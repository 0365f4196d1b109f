//! What the disk can do at best: 512 bytes and `fdatasync`, one after the other, at the end of a growing file and
//! within one that was written before.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Result;
use raceproof_bench_common::book::Metrics;
use raceproof_bench_common::stats::Latencies;

const BLOCK: usize = 512;
const PREALLOCATED: usize = 16 << 20;

pub(crate) fn measure(dir: &Path, duration: Duration) -> Result<Metrics> {
    let path = dir.join("probe");
    let mut metrics = Vec::new();
    for (p50, p99, preallocated) in
        [("growing_p50_us", "growing_p99_us", false), ("prealloc_p50_us", "prealloc_p99_us", true)]
    {
        let file = File::create(&path)?;
        if preallocated {
            file.write_all_at(&vec![1; PREALLOCATED], 0)?;
        }
        file.sync_all()?;
        let mut latencies = run(&file, duration / 2)?;
        std::fs::remove_file(&path)?;
        metrics.push((p50, latencies.quantile_us(0.5)?));
        metrics.push((p99, latencies.quantile_us(0.99)?));
    }
    Ok(metrics)
}

fn run(file: &File, duration: Duration) -> Result<Latencies> {
    let mut latencies = Latencies::default();
    let block = [7; BLOCK];
    let until = Instant::now() + duration;
    let mut at = 0;
    while Instant::now() < until {
        let started = Instant::now();
        file.write_all_at(&block, at)?;
        file.sync_data()?;
        latencies.push(started.elapsed());
        at += BLOCK as u64;
    }
    Ok(latencies)
}
