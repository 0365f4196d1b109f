//! What every implementation of `Storage` must do, run against all of them.
#![cfg(feature = "store")]
#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::sync::Arc;

use raceproof::store::disk::SimDisk;
use raceproof::store::{Keep, LogOptions, LogStore, MemStore, RedbStore, Storage, WriteError};
use raceproof_core::id::Lsn;

/// A place where a store can be opened again and again.
enum Place {
    Mem(MemStore),
    Log(tempfile::TempDir),
    Redb(tempfile::TempDir),
    Sim(SimDisk),
}

impl Place {
    fn all() -> [Self; 4] {
        let dir = || tempfile::tempdir().unwrap();
        [Self::Mem(MemStore::new()), Self::Log(dir()), Self::Redb(dir()), Self::Sim(SimDisk::new())]
    }

    /// What a process that starts here finds; the one before it closed its store.
    fn open(&mut self) -> Box<dyn Storage> {
        match self {
            Self::Mem(store) => {
                *store = store.crash(Keep::Flushed);
                Box::new(store.clone())
            }
            Self::Log(dir) => Box::new(LogStore::open(dir.path(), small()).unwrap()),
            Self::Redb(dir) => Box::new(RedbStore::open(dir.path()).unwrap()),
            Self::Sim(disk) => {
                disk.restart_process();
                Box::new(LogStore::open_on(Arc::new(disk.clone()), small()).unwrap())
            }
        }
    }
}

fn small() -> LogOptions {
    let mut options = LogOptions::default();
    options.segment_bytes = 16 << 10;
    options
}

fn lsn(number: u64) -> Lsn {
    Lsn::new(number)
}

fn record(number: u64) -> Vec<u8> {
    let len = usize::try_from(number * 37 % 300).unwrap();
    vec![u8::try_from(number % 251).unwrap(); len]
}

fn append(store: &mut dyn Storage, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        store.append(lsn(number), &record(number)).unwrap();
    }
}

#[test]
fn l2_what_was_flushed_is_there_after_the_store_was_opened_again() {
    for mut place in Place::all() {
        let mut store = place.open();
        let empty = store.load().unwrap();
        assert_eq!((empty.last_lsn(), empty.snapshot, empty.torn), (lsn(0), None, None));
        append(store.as_mut(), 1..=500);
        store.flush().unwrap();
        assert_eq!(store.stats().flushed_lsn, lsn(500));
        append(store.as_mut(), 501..=501);
        assert_eq!((store.stats().last_lsn, store.stats().flushed_lsn), (lsn(501), lsn(500)));
        drop(store);

        let mut store = place.open();
        let loaded = store.load().unwrap();
        let expected: Vec<_> = (1..=500).map(|number| (lsn(number), record(number))).collect();
        assert_eq!(loaded.records, expected);
        assert_eq!(loaded.torn, None);
        append(store.as_mut(), 501..=502);
        store.close().unwrap();
        drop(store);
        assert_eq!(place.open().load().unwrap().last_lsn(), lsn(502));
    }
}

#[test]
fn a_snapshot_replaces_what_is_below_it_and_nothing_else() {
    for mut place in Place::all() {
        let mut store = place.open();
        store.load().unwrap();
        append(store.as_mut(), 1..=300);
        store.install_snapshot(lsn(250), b"what 250 records amount to").unwrap();
        let stats = store.stats();
        assert_eq!((stats.snapshot_lsn, stats.records_since_snapshot), (lsn(250), 50));
        // It flushed.
        assert_eq!(stats.flushed_lsn, lsn(300));
        // One that is older than what is installed changes nothing.
        store.install_snapshot(lsn(10), b"old").unwrap();
        append(store.as_mut(), 301..=310);
        store.flush().unwrap();
        drop(store);

        let loaded = place.open().load().unwrap();
        assert_eq!(loaded.snapshot, Some((lsn(250), b"what 250 records amount to".to_vec())));
        let expected: Vec<_> = (251..=310).map(|number| (lsn(number), record(number))).collect();
        assert_eq!(loaded.records, expected);
    }
}

#[test]
fn a_snapshot_of_everything_leaves_no_records_and_the_log_goes_on_behind_it() {
    for mut place in Place::all() {
        for round in 1..=5_u64 {
            let mut store = place.open();
            let before = store.load().unwrap();
            assert_eq!(before.last_lsn(), lsn((round - 1) * 200));
            assert_eq!(before.records.len(), if round == 1 { 0 } else { 1 });
            append(store.as_mut(), before.last_lsn().next().as_u64()..=round * 200 - 1);
            store.install_snapshot(lsn(round * 200 - 1), &round.to_le_bytes()).unwrap();
            append(store.as_mut(), round * 200..=round * 200);
            store.close().unwrap();
        }
    }
}

#[test]
fn records_out_of_order_and_snapshots_of_the_future_are_refused_for_good() {
    for mut place in Place::all() {
        let mut store = place.open();
        store.load().unwrap();
        append(store.as_mut(), 1..=2);
        store.flush().unwrap();
        let error = store.append(lsn(4), b"x").unwrap_err();
        assert!(matches!(error, WriteError::OutOfOrder { expected, got } if expected == lsn(3) && got == lsn(4)));
        // Whoever lost count may have lost more.
        assert!(matches!(store.append(lsn(3), b"x"), Err(WriteError::FailedBefore { .. })));
        assert!(matches!(store.flush(), Err(WriteError::FailedBefore { .. })));
        drop(store);
        let mut store = place.open();
        assert_eq!(store.load().unwrap().last_lsn(), lsn(2));
        assert!(matches!(store.install_snapshot(lsn(3), b"x"), Err(WriteError::OutOfOrder { .. })));
    }
}

#[test]
fn empty_and_large_records_come_back() {
    for mut place in Place::all() {
        let mut store = place.open();
        store.load().unwrap();
        let large = vec![0; 11_000];
        store.append(lsn(1), b"").unwrap();
        store.append(lsn(2), &large).unwrap();
        store.append(lsn(3), &large).unwrap();
        // Several segments' worth.
        let huge = vec![7; 100_000];
        store.append(lsn(4), &huge).unwrap();
        store.append(lsn(5), b"").unwrap();
        store.flush().unwrap();
        drop(store);
        let mut store = place.open();
        let expected = [vec![], large.clone(), large, huge.clone(), vec![]];
        let expected: Vec<_> = (1..).map(lsn).zip(expected).collect();
        assert_eq!(store.load().unwrap().records, expected);
        // And behind a snapshot as ever.
        store.append(lsn(6), &huge).unwrap();
        store.install_snapshot(lsn(5), b"x").unwrap();
        store.append(lsn(7), b"x").unwrap();
        store.close().unwrap();
        drop(store);
        let loaded = place.open().load().unwrap();
        assert_eq!(loaded.records, [(lsn(6), huge), (lsn(7), b"x".to_vec())]);
    }
}
