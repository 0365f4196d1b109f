//! The same program under an allocator that counts, which the other one asks how much a row allocates. Its counters are
//! on one line of the cache, for which threads that allocate and free contend: a time that is measured here is theirs.

use std::alloc::System;
use std::process::ExitCode;

use raceproof_bench_local::Counts;
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

fn main() -> ExitCode {
    raceproof_bench_local::count_by(|| {
        let stats = ALLOCATOR.stats();
        Counts {
            allocations: stats.allocations,
            live_bytes: stats.bytes_allocated.saturating_sub(stats.bytes_deallocated),
        }
    });
    raceproof_bench_local::main()
}
