//! The log store on a disk that loses power, fails and fills up, at every step that it makes.
#![cfg(feature = "store")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[path = "../common/mod.rs"]
mod common;
mod damage;

use std::sync::Arc;

use fastrand::Rng;
use raceproof::store::disk::{SimDisk, SimFault};
use raceproof::store::{Job, LoadError, Loaded, LogOptions, LogStore, OpenError, Storage, WriteError};
use raceproof_core::id::Lsn;

use self::common::{go_on, load_and_prepare};
use self::damage::{filled, load_damaged, used_files};

fn options() -> LogOptions {
    let mut options = LogOptions::default();
    options.segment_bytes = 8 << 10;
    options.segments_spare = 1;
    options
}

fn open(disk: &SimDisk) -> Result<LogStore, OpenError> {
    LogStore::open_on(Arc::new(disk.clone()), options())
}

fn lsn(number: u64) -> Lsn {
    Lsn::new(number)
}

/// What record `number` holds; some are long enough to be torn, some are mostly zeros, and one needs more than a segment.
fn record(number: u64) -> Vec<u8> {
    if number == 41 {
        return ordinary(number).into_iter().chain(vec![4; 20_000]).collect();
    }
    ordinary(number)
}

fn ordinary(number: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(number);
    let len = if number.is_multiple_of(5) { rng.usize(500..1500) } else { rng.usize(0..90) };
    let zeros = number.is_multiple_of(15);
    (0..len).map(|_| if zeros { 0 } else { rng.u8(..) }).collect()
}

fn snapshot(number: u64) -> Vec<u8> {
    let mut rng = Rng::with_seed(!number);
    let len = rng.usize(1..3000);
    (0..len).map(|_| rng.u8(..)).collect()
}

/// What a client of the store was told.
#[derive(Debug, Clone, Copy, Default)]
struct Told {
    /// Everything up to here was said to be durable.
    durable: u64,
    /// What was handed to the store at all.
    appended: u64,
    snapshot: u64,
}

/// Uses the store in all ways, as `rng` has it, until it fails.
fn work(store: &mut LogStore, rng: &mut Rng, told: &mut Told) -> Result<(), WriteError> {
    let mut held: Option<Job> = None;
    for _ in 0..60 {
        match rng.u8(0..10) {
            0..5 => {
                for _ in 0..rng.u8(1..5) {
                    // Handed over counts from before the call: it may write and fail afterwards.
                    told.appended += 1;
                    store.append(lsn(told.appended), &record(told.appended))?;
                }
            }
            5..8 => {
                store.flush()?;
                told.durable = told.appended;
            }
            8 => store.idle()?,
            _ if told.appended > 0 => {
                let at = rng.u64(told.durable.max(1)..=told.appended);
                store.begin_snapshot(lsn(at), snapshot(at))?;
            }
            _ => {}
        }
        // Snapshots are written beside the log; the rest is not worth interleaving.
        if rng.u8(0..3) == 0
            && let Some(job) = held.take()
        {
            let _ = job.run();
        }
        while held.is_none()
            && let Some(job) = store.take_job()
        {
            if job.snapshot().is_some() {
                held = Some(job);
            } else {
                let _ = job.run();
            }
        }
        told.snapshot = store.stats().snapshot_lsn.as_u64();
    }
    if let Some(job) = held {
        let _ = job.run();
    }
    store.flush()?;
    told.durable = told.appended;
    if rng.bool() {
        store.close()?;
    }
    Ok(())
}

/// Everything that was said to be durable is there, and nothing that was never written.
fn verify(loaded: &Loaded, told: &Told) {
    let mut due = 1;
    if let Some((at, payload)) = &loaded.snapshot {
        assert_eq!(*payload, snapshot(at.as_u64()));
        due = at.as_u64() + 1;
    }
    assert!(due > told.snapshot, "the snapshot of {} is gone", told.snapshot);
    for (at, payload) in &loaded.records {
        assert_eq!(at.as_u64(), due);
        assert_eq!(*payload, record(due), "record {due}");
        due += 1;
    }
    let last = due - 1;
    assert!(last >= told.durable, "records up to {} were durable, {last} are there", told.durable);
    assert!(last <= told.appended, "{last} records, of which {} were written", told.appended);
}

/// One life of the store, from opening to the end of the work or a failure.
fn live(disk: &SimDisk, rng: &mut Rng, told: &mut Told) -> Result<(), String> {
    let mut store = open(disk).map_err(|error| error.to_string())?;
    let loaded = store.load().map_err(|error| error.to_string())?;
    verify(&loaded, told);
    // Its reader acts on what it read: that is as good as a promise.
    let last = loaded.last_lsn().as_u64();
    *told = Told { durable: last, appended: last, snapshot: told.snapshot };
    let outcome = work(&mut store, rng, told);
    if outcome.is_err() {
        assert!(store.append(lsn(told.appended + 1), b"").is_err(), "a store that failed goes on");
        assert!(store.flush().is_err(), "a store that failed goes on");
    }
    outcome.map_err(|error| error.to_string())
}

fn steps_of(seed: u64) -> u64 {
    let disk = SimDisk::new();
    live(&disk, &mut Rng::with_seed(seed), &mut Told::default()).unwrap();
    disk.steps()
}

/// Replays `seed` with a fault at `step`, then crashes it again and again.
fn crash(seed: u64, step: u64, fault: SimFault, luck: u64) {
    let disk = SimDisk::new();
    let mut told = Told::default();
    let mut chance = Rng::with_seed(luck);
    disk.fail_at(step, fault);
    let _ = live(&disk, &mut Rng::with_seed(seed), &mut told);
    for life in 0..3_u64 {
        if disk.is_dead() || chance.bool() {
            disk.restart(&mut chance);
        } else {
            disk.restart_process();
        }
        if life < 2 {
            // The crash may come while the last one is being repaired.
            disk.fail_at(chance.u64(0..60), SimFault::PowerLoss);
        }
        let outcome = live(&disk, &mut Rng::with_seed(seed + life + 1), &mut told);
        assert!(outcome.is_ok() || disk.is_dead(), "life {life}: {}", outcome.unwrap_err());
    }
    disk.restart(&mut chance);
    live(&disk, &mut Rng::with_seed(seed + 9), &mut told).unwrap();
}

fn crash_everywhere(fault: SimFault, seeds: std::ops::Range<u64>, lucks: u64) {
    for seed in seeds {
        let steps = steps_of(seed);
        for step in 0..steps {
            for luck in 0..lucks {
                let luck = luck * 7919 + step;
                let run = std::panic::AssertUnwindSafe(|| crash(seed, step, fault, luck));
                if let Err(panic) = std::panic::catch_unwind(run) {
                    eprintln!("failed: crash({seed}, {step}, SimFault::{fault:?}, {luck})");
                    std::panic::resume_unwind(panic);
                }
            }
        }
    }
}

#[test]
fn l2_power_loss_at_any_step_loses_nothing_that_was_durable() {
    crash_everywhere(SimFault::PowerLoss, 0..4, 3);
}

#[test]
fn l2_a_failed_write_or_sync_at_any_step_ends_the_store_and_loses_nothing() {
    crash_everywhere(SimFault::Io, 100..104, 2);
}

#[test]
fn l2_a_full_disk_at_any_step_loses_nothing() {
    crash_everywhere(SimFault::Full, 200..204, 2);
}

#[test]
fn a_failed_sync_is_not_asked_again_and_what_the_cache_still_shows_is_written_again() {
    let disk = SimDisk::new();
    let mut store = open(&disk).unwrap();
    store.load().unwrap();
    store.append(lsn(1), b"first").unwrap();
    // The write is the step before the sync.
    disk.fail_at(1, SimFault::Io);
    assert!(matches!(store.flush(), Err(WriteError::Io { doing: "sync", .. })));
    assert!(matches!(store.flush(), Err(WriteError::FailedBefore { .. })));
    assert!(matches!(store.append(lsn(2), b""), Err(WriteError::FailedBefore { .. })));
    assert!(store.take_job().is_none());
    drop(store);

    // The next process reads the record from the cache, so it must be on disk from then on.
    disk.restart_process();
    let mut store = open(&disk).unwrap();
    assert_eq!(store.load().unwrap().records, [(lsn(1), b"first".to_vec())]);
    disk.restart(&mut Rng::with_seed(1));
    let mut store = open(&disk).unwrap();
    assert_eq!(store.load().unwrap().records, [(lsn(1), b"first".to_vec())]);
}

#[test]
fn on_a_full_disk_snapshots_still_fit_and_the_log_goes_round() {
    let disk = SimDisk::new();
    let mut store = open(&disk).unwrap();
    load_and_prepare(&mut store);
    // Not a byte more than the store holds already.
    disk.set_capacity(Some(store.stats().bytes_on_disk + 200));
    let snapshots = go_on(&mut store, 400, ordinary, snapshot);
    assert!(snapshots > 3, "{snapshots}");
    drop(store);
    disk.restart(&mut Rng::with_seed(3));
    let Loaded { snapshot: Some((at, payload)), records, .. } = open(&disk).unwrap().load().unwrap() else {
        panic!("no snapshot")
    };
    assert_eq!(payload, snapshot(at.as_u64()));
    let expected: Vec<_> = (at.as_u64() + 1..=400).map(|number| (lsn(number), ordinary(number))).collect();
    assert_eq!(records, expected);
}

#[test]
fn a_snapshot_that_does_not_fit_leaves_the_store_as_it_was() {
    let disk = SimDisk::new();
    let mut store = open(&disk).unwrap();
    store.load().unwrap();
    for number in 1..=20 {
        store.append(lsn(number), &record(number)).unwrap();
    }
    store.install_snapshot(lsn(5), &snapshot(5)).unwrap();
    disk.set_capacity(Some(store.stats().bytes_on_disk + 300));
    let error = store.install_snapshot(lsn(20), &vec![7; 100_000]).unwrap_err();
    assert!(error.is_full(), "{error}");
    store.append(lsn(21), &record(21)).unwrap();
    store.flush().unwrap();
    store.install_snapshot(lsn(20), &snapshot(20)).unwrap();
    drop(store);
    disk.restart(&mut Rng::with_seed(4));
    let loaded = open(&disk).unwrap().load().unwrap();
    verify(&loaded, &Told { durable: 21, appended: 21, snapshot: 20 });
}

#[test]
fn without_snapshots_a_full_disk_is_a_typed_error_and_loses_nothing() {
    let disk = SimDisk::new();
    let mut store = open(&disk).unwrap();
    store.load().unwrap();
    disk.set_capacity(Some(30_000));
    let mut durable = 0;
    let error = loop {
        let outcome = store.append(lsn(durable + 1), &record(durable + 1)).and_then(|()| store.flush());
        match outcome {
            Ok(()) => durable += 1,
            Err(error) => break error,
        }
    };
    assert!(error.is_full(), "{error}");
    assert!(durable > 20);
    drop(store);
    disk.set_capacity(None);
    disk.restart(&mut Rng::with_seed(5));
    let loaded = open(&disk).unwrap().load().unwrap();
    verify(&loaded, &Told { durable, appended: durable + 1, snapshot: 0 });
}

#[test]
fn what_a_recycled_segment_held_before_is_never_read_again() {
    let disk = SimDisk::new();
    let mut store = open(&disk).unwrap();
    store.load().unwrap();
    let mut next = 1;
    for _ in 0..8 {
        for _ in 0..60 {
            store.append(lsn(next), &record(next)).unwrap();
            next += 1;
        }
        store.install_snapshot(lsn(next - 1), &snapshot(next - 1)).unwrap();
    }
    let stats = store.stats();
    assert!(stats.bytes_on_disk < 6 * (8 << 10), "{stats:?}");
    drop(store);
    // A disk that lied about the zeros: the old records of a recycled segment are back.
    use raceproof::store::disk::Disk;
    let old = disk.list().unwrap().into_iter().filter(|name| name.starts_with("log-")).min().unwrap();
    let content = disk.read(&old).unwrap();
    let (last, _) = used_files(&disk).into_iter().rfind(|(name, _)| name.starts_with("log-")).unwrap();
    let outcome = load_damaged(&disk, &last, |bytes| bytes[4096..].copy_from_slice(&content[4096..]));
    match outcome {
        Ok(loaded) => verify(&loaded, &Told { durable: next - 1, appended: next - 1, snapshot: next - 1 }),
        Err(error) => assert!(matches!(error, OpenError::Load(LoadError::Corrupt { .. })), "{error}"),
    }
}

proptest::proptest! {
    #[test]
    fn whatever_happens_to_the_files_no_wrong_record_is_returned(
        file in 0_usize..6,
        damages in proptest::collection::vec((0_usize..9000, proptest::collection::vec(proptest::num::u8::ANY, 1..80)), 1..6),
        cut in proptest::option::of(0_usize..9000),
    ) {
        let (disk, _) = filled();
        let mut store = open(&disk).unwrap();
        store.load().unwrap();
        store.install_snapshot(lsn(10), &snapshot(10)).unwrap();
        drop(store);
        let files = used_files(&disk);
        let (name, _) = &files[file % files.len()];
        let outcome = load_damaged(&disk, name, |bytes| {
            for (at, garbage) in damages {
                for (byte, new) in bytes.iter_mut().skip(at).zip(garbage) {
                    *byte = new;
                }
            }
            if let Some(cut) = cut {
                bytes.truncate(cut);
            }
        });
        if let Ok(loaded) = outcome {
            verify(&loaded, &Told { durable: 10, appended: 40, snapshot: 10 });
        }
    }
}
