//! A store that served stays small and opens fast: the example `store_served`, smaller.
#![cfg(feature = "store")]

#[path = "../examples/store_served/served.rs"]
mod served;

use std::time::Duration;

use raceproof::store::{LogOptions, check};

#[test]
fn l7_what_a_store_takes_does_not_grow_with_what_it_served() {
    let mut options = LogOptions::default();
    options.segment_bytes = 64 << 10;
    options.snapshot_after_bytes = 128 << 10;
    let sizes = [6_000, 24_000].map(|cycles| {
        let dir = tempfile::tempdir().unwrap();
        let seen = served::serve(dir.path(), options.clone(), 50, cycles).unwrap();
        assert!(seen.acquired >= cycles && seen.released == seen.acquired, "{seen:?}");
        assert!(check(dir.path()).unwrap().is_good());
        let opened = served::reopen(dir.path(), options.clone()).unwrap();
        assert_eq!(opened.sessions, 50);
        assert!(opened.token > seen.token_last, "L2: {opened:?} after {seen:?}");
        // It was stopped where the log is as long as it gets, and that is what opening it reads.
        assert!(seen.log_bytes < 256 << 10 && (opened.records as u64) < seen.records / 2, "{opened:?} after {seen:?}");
        assert!(opened.read <= opened.restored && opened.restored < Duration::from_secs(5), "{opened:?}");
        (seen.bytes_max, seen.snapshots)
    });
    let [(small, _), (large, snapshots)] = sizes;
    assert!(snapshots >= 3, "{snapshots}");
    // Four times the work, and not more on disk than a snapshot and some segments.
    assert!(large < small + (256 << 10) && large < 2 << 20, "{small} and {large}");
}
