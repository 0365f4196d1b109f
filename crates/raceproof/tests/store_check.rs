//! `check`, and stores that format version 1 left behind.
#![cfg(feature = "store")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::path::{Path, PathBuf};

use raceproof::store::{CheckError, Kind, LogOptions, LogStore, OpenError, RedbStore, Storage, check, open};
use raceproof_core::id::Lsn;

fn lsn(number: u64) -> Lsn {
    Lsn::new(number)
}

fn small() -> LogOptions {
    let mut options = LogOptions::default();
    options.segment_bytes = 8 << 10;
    options.segments_spare = 1;
    options
}

fn record(number: u64) -> Vec<u8> {
    format!("record {number} {}", "·".repeat(usize::try_from(number % 40).unwrap())).into_bytes()
}

/// What the fixtures hold: a snapshot of 50 records, and records up to 120.
fn fill(store: &mut dyn Storage) {
    store.load().unwrap();
    for number in 1..=120 {
        store.append(lsn(number), &record(number)).unwrap();
        if number % 3 == 0 {
            store.flush().unwrap();
        }
        if number == 50 {
            store.install_snapshot(lsn(50), b"fifty records").unwrap();
        }
    }
    store.close().unwrap();
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        std::fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
    }
}

fn content(dir: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut files: Vec<_> = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    files.into_iter().map(|path| (path.clone(), std::fs::read(path).unwrap())).collect()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// With RACEPROOF_WRITE_FIXTURES set, writes the fixtures that are not there. Those of a version are never replaced.
fn fixtures() -> [(PathBuf, Kind); 2] {
    let fixtures = [(fixture("store-log-1"), Kind::Log), (fixture("store-redb-1"), Kind::Redb)];
    if std::env::var_os("RACEPROOF_WRITE_FIXTURES").is_some() {
        for (dir, kind) in fixtures.iter().filter(|(dir, _)| !dir.exists()) {
            match kind {
                Kind::Log => fill(&mut LogStore::open(dir, small()).unwrap()),
                _ => fill(&mut RedbStore::open(dir).unwrap()),
            }
            std::fs::remove_file(dir.join("lock")).unwrap();
        }
    }
    fixtures
}

#[test]
fn stores_of_format_1_are_read_and_written_on() {
    for (from, kind) in fixtures() {
        let dir = tempfile::tempdir().unwrap();
        copy(&from, dir.path());
        let mut store = open(dir.path(), Some(kind)).unwrap();
        let loaded = store.load().unwrap();
        assert_eq!(loaded.snapshot, Some((lsn(50), b"fifty records".to_vec())));
        let expected: Vec<_> = (51..=120).map(|number| (lsn(number), record(number))).collect();
        assert_eq!(loaded.records, expected);
        assert_eq!(loaded.torn, None);
        store.append(lsn(121), &record(121)).unwrap();
        store.install_snapshot(lsn(121), b"more").unwrap();
        drop(store);
        assert_eq!(open(dir.path(), None).unwrap().load().unwrap().last_lsn(), lsn(121));
    }
}

#[test]
fn a_good_store_is_reported_and_not_changed() {
    for (from, kind) in fixtures() {
        let dir = tempfile::tempdir().unwrap();
        copy(&from, dir.path());
        let before = content(dir.path());
        let report = check(dir.path()).unwrap();
        assert!(report.is_good(), "{:?}", report.findings);
        assert_eq!((report.kind, report.format), (kind, 1));
        assert_eq!(report.snapshot, Some((lsn(50), 13)));
        assert_eq!((report.records, report.last_lsn), (70, lsn(120)));
        assert_eq!(report.record_bytes, (51..=120).map(|number| record(number).len() as u64).sum::<u64>());
        assert_eq!(report.bytes_on_disk, before.iter().map(|(_, bytes)| bytes.len() as u64).sum::<u64>());
        assert_eq!(content(dir.path()), before);
    }
}

/// The format as `docs/store.md` has it, read without the store's code.
#[test]
fn the_files_are_as_documented() {
    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }
    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }
    let dir = fixture("store-log-1");
    let identity = std::fs::read_to_string(dir.join("raceproof-store")).unwrap();
    let lines: Vec<_> = identity.lines().collect();
    assert_eq!(lines[..3], ["raceproof store", "format 1", "kind log"]);
    let id = u128::from_str_radix(lines[3].strip_prefix("id ").unwrap(), 16).unwrap();

    let snapshot = std::fs::read(dir.join("snapshot-0000000000000032")).unwrap();
    assert_eq!((&snapshot[..8], u32_at(&snapshot, 8)), (&b"RPSNAPSH"[..], 1));
    assert_eq!(snapshot[12..28], id.to_le_bytes());
    assert_eq!(u64_at(&snapshot, 28), 50);
    let (mut seq, mut lsn) = (u64_at(&snapshot, 36), u64_at(&snapshot, 44));
    assert_eq!(u64_at(&snapshot, 52), 13);
    assert_eq!(u32_at(&snapshot, 60), crc32fast::hash(b"fifty records"));
    assert_eq!(u32_at(&snapshot, 64), crc32fast::hash(&snapshot[..64]));
    assert_eq!(&snapshot[68..], b"fifty records");

    let mut marks = 0;
    while let Ok(segment) = std::fs::read(dir.join(format!("log-{seq:016x}"))) {
        assert_eq!((&segment[..8], u32_at(&segment, 8)), (&b"RPSEGMNT"[..], 1));
        assert_eq!(segment[12..28], id.to_le_bytes());
        assert_eq!((u64_at(&segment, 28), u64_at(&segment, 36)), (seq, segment.len() as u64));
        assert_eq!(u32_at(&segment, 44), crc32fast::hash(&segment[..44]));
        let mut at = 4096;
        while at + 24 <= segment.len() && u64_at(&segment, at + 8) != 0 {
            let len = u32_at(&segment, at + 4) as usize;
            let end = (at + 24 + len).next_multiple_of(8);
            let salted = [&id.to_le_bytes()[..], &seq.to_le_bytes(), &segment[at + 4..end]].concat();
            assert_eq!(u32_at(&segment, at), crc32fast::hash(&salted));
            let (this, flushed) = (u64_at(&segment, at + 8), u64_at(&segment, at + 16));
            if this == flushed {
                assert_eq!((this, len), (lsn - 1, 0));
                marks += 1;
            } else {
                assert!(this == lsn && flushed < this);
                assert_eq!(segment[at + 24..at + 24 + len], record(lsn));
                lsn += 1;
            }
            at = end;
        }
        assert!(segment[at..].iter().all(|byte| *byte == 0));
        seq += 1;
    }
    assert_eq!((lsn, marks), (121, 1));
}

#[test]
fn everything_that_is_wrong_is_found_and_nothing_is_changed() {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture("store-log-1"), dir.path());
    let damage = |name: &str, at: usize| {
        let path = dir.path().join(name);
        let mut bytes = std::fs::read(&path).unwrap();
        bytes[at] ^= 0xff;
        std::fs::write(&path, bytes).unwrap();
        path
    };
    let segments: Vec<_> = content(dir.path())
        .into_iter()
        .filter(|(path, bytes)| path.to_str().unwrap().contains("log-") && bytes[4096] != 0)
        .map(|(path, _)| path.file_name().unwrap().to_str().unwrap().to_owned())
        .collect();
    let first = damage(&segments[0], 4096 + 25);
    let snapshot = damage("snapshot-0000000000000032", 75);
    let last = damage(segments.last().unwrap(), 4096 + 4);
    let before = content(dir.path());
    let report = check(dir.path()).unwrap();
    assert!(!report.is_good());
    for (path, offset) in [(first, 4096), (last, 4096), (snapshot, 68)] {
        let hit = report.findings.iter().any(|finding| finding.path == path && finding.offset == offset);
        assert!(hit, "{} {offset}: {:?}", path.display(), report.findings);
    }
    assert!(matches!(open(dir.path(), None).unwrap().load(), Err(raceproof::store::LoadError::Corrupt { .. })));
    let after: Vec<_> = content(dir.path()).into_iter().filter(|(path, _)| !path.ends_with("lock")).collect();
    assert_eq!(after, before);
}

#[test]
fn of_a_damaged_log_the_records_that_are_good_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture("store-log-1"), dir.path());
    let path = dir.path().join("log-0000000000000002");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4500] ^= 0xff;
    std::fs::write(&path, bytes).unwrap();
    let report = check(dir.path()).unwrap();
    assert_eq!(report.findings.len(), 1, "{:?}", report.findings);
    assert_eq!((report.snapshot, report.records, report.last_lsn), (Some((lsn(50), 13)), 69, lsn(120)));
    assert_eq!(report.record_bytes, 3_673);
}

#[test]
fn a_damaged_database_is_found() {
    let dir = tempfile::tempdir().unwrap();
    copy(&fixture("store-redb-1"), dir.path());
    let path = dir.path().join("store.redb");
    let mut bytes = std::fs::read(&path).unwrap();
    let text = b"record 99 ";
    let hits: Vec<_> = (0..bytes.len() - text.len()).filter(|at| bytes[*at..].starts_with(text)).collect();
    assert!(!hits.is_empty());
    for at in hits {
        bytes[at] ^= 1;
    }
    std::fs::write(&path, bytes).unwrap();
    let report = check(dir.path()).unwrap();
    assert!(!report.is_good());
    let error = open(dir.path(), None).unwrap().load().unwrap_err();
    assert!(error.to_string().contains("record 99"), "{error}");
}

#[test]
fn a_directory_without_a_store_is_said_to_be_one() {
    let dir = tempfile::tempdir().unwrap();
    assert!(matches!(check(dir.path()), Err(CheckError::NoStore { .. })));
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    copy(&fixture("store-log-1"), dir.path());
    std::fs::remove_file(dir.path().join("raceproof-store")).unwrap();
    assert!(matches!(check(dir.path()), Err(CheckError::Open(OpenError::Load(_))) | Err(CheckError::NoStore { .. })));
    let error = open(dir.path(), None).unwrap_err();
    assert!(matches!(error, OpenError::NoIdentity { .. }), "{error}");
}

#[test]
fn a_log_that_is_compacted_stays_small_whatever_it_has_served() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = LogOptions::default();
    options.segment_bytes = 64 << 10;
    options.snapshot_after_bytes = 256 << 10;
    let mut store = LogStore::open(dir.path(), options).unwrap();
    store.load().unwrap();
    let mut bytes_max = 0;
    for number in 1..=60_000 {
        store.append(lsn(number), &[7; 70]).unwrap();
        if number % 500 == 0 {
            store.flush().unwrap();
            if store.stats().snapshot_wanted {
                store.install_snapshot(lsn(number), &[9; 20_000]).unwrap();
            }
            bytes_max = bytes_max.max(store.stats().bytes_on_disk);
        }
    }
    // Six megabytes went through it.
    assert!(bytes_max < 800 << 10, "{bytes_max}");
    store.close().unwrap();
    drop(store);
    let report = check(dir.path()).unwrap();
    assert!(report.is_good());
    assert!(report.bytes_on_disk < 800 << 10, "{}", report.bytes_on_disk);
}

#[test]
fn a_snapshot_is_wanted_when_the_log_outweighs_the_last_one() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = small();
    options.snapshot_after_bytes = 4 << 10;
    let mut store = LogStore::open(dir.path(), options).unwrap();
    store.load().unwrap();
    let mut wanted_after = |snapshot_bytes: usize| {
        let begin = store.stats().last_lsn.as_u64();
        store.install_snapshot(lsn(begin), &vec![9; snapshot_bytes]).unwrap();
        let mut at = begin;
        while !store.stats().snapshot_wanted {
            at += 1;
            store.append(lsn(at), &[7; 100]).unwrap();
        }
        store.flush().unwrap();
        store.stats().log_bytes_since_snapshot
    };
    let (small, large) = (wanted_after(0), wanted_after(40_000));
    assert!((4 << 10..5 << 10).contains(&small), "{small}");
    assert!((40_000..41_000).contains(&large), "{large}");
}
