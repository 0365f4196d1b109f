//! The stores under real processes: kill -9, two processes on one directory, a real full disk.
//!
//! The children are this test binary itself, which finds its part in the environment.
#![cfg(feature = "store")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod common;

use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use raceproof::store::{CheckError, Kind, LogOptions, LogStore, OpenError, Storage, WriteError, check, open};
use raceproof_core::id::Lsn;

use common::{go_on, load_and_prepare};

const PART: &str = "RACEPROOF_TEST_PART";
const DIR: &str = "RACEPROOF_TEST_DIR";

fn lsn(number: u64) -> Lsn {
    Lsn::new(number)
}

fn record(number: u64) -> Vec<u8> {
    format!("record {number} {}", "x".repeat(usize::try_from(number % 700).unwrap())).into_bytes()
}

/// Starts this binary as a child that runs only the test `child_part`.
fn child(part: &str, dir: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_part", "--nocapture", "--test-threads=1"])
        .env(PART, part)
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap());
    (child, lines)
}

/// Not a test of its own: what the children do.
#[test]
fn child_part() {
    let (Ok(part), Ok(dir)) = (std::env::var(PART), std::env::var(DIR)) else { return };
    let kind = if part == "write-redb" { Kind::Redb } else { Kind::Log };
    let mut store = open(Path::new(&dir), Some(kind)).unwrap();
    let mut next = store.load().unwrap().last_lsn().as_u64() + 1;
    let mut out = std::io::stdout();
    writeln!(out, "\nready").unwrap();
    if part == "hold" {
        std::thread::sleep(Duration::from_secs(60));
        return;
    }
    loop {
        for _ in 0..1 + next % 4 {
            store.append(lsn(next), &record(next)).unwrap();
            next += 1;
        }
        store.flush().unwrap();
        // One write each, so that a kill leaves no half of a line.
        out.write_all(format!("durable {}\n", next - 1).as_bytes()).unwrap();
        if next % 1000 < 4 {
            store.install_snapshot(lsn(next - 1), format!("up to {}", next - 1).as_bytes()).unwrap();
        }
    }
}

fn l2_kill_9_loses_nothing_that_was_acknowledged(part: &str, kind: Kind) {
    let dir = tempfile::tempdir().unwrap();
    let mut acknowledged = 0;
    for round in 0..6_u64 {
        let (mut child, lines) = child(part, dir.path());
        let end = Instant::now() + Duration::from_millis(150 + round * 60);
        let mut lines = lines.lines();
        for line in lines.by_ref() {
            if let Some(number) = line.unwrap().strip_prefix("durable ") {
                acknowledged = number.parse().unwrap();
            }
            if Instant::now() > end {
                break;
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
        // What it said before it died and nobody had read yet.
        for line in lines {
            if let Some(number) = line.unwrap().strip_prefix("durable ") {
                acknowledged = number.parse().unwrap();
            }
        }
        let report = check(dir.path()).unwrap();
        assert!(report.is_good(), "{:?}", report.findings);
        let loaded = open(dir.path(), None).unwrap().load().unwrap();
        assert!(loaded.last_lsn() >= lsn(acknowledged), "{} of {acknowledged}", loaded.last_lsn());
        if let Some((at, snapshot)) = &loaded.snapshot {
            assert_eq!(*snapshot, format!("up to {at}").into_bytes());
        }
        for (at, payload) in &loaded.records {
            assert_eq!(*payload, record(at.as_u64()));
        }
        assert_eq!(report.last_lsn, loaded.last_lsn());
    }
    assert!(acknowledged > 10, "{acknowledged}");
    assert_eq!(check(dir.path()).unwrap().kind, kind);
}

#[test]
fn l2_kill_9_of_a_log_store_loses_nothing_that_was_acknowledged() {
    l2_kill_9_loses_nothing_that_was_acknowledged("write-log", Kind::Log);
}

#[test]
fn l2_kill_9_of_a_redb_store_loses_nothing_that_was_acknowledged() {
    l2_kill_9_loses_nothing_that_was_acknowledged("write-redb", Kind::Redb);
}

#[test]
fn a_directory_in_use_is_refused_with_the_pid_until_its_holder_is_killed() {
    let dir = tempfile::tempdir().unwrap();
    let (mut child, lines) = child("hold", dir.path());
    assert!(lines.lines().any(|line| line.unwrap() == "ready"));
    let error = open(dir.path(), None).unwrap_err();
    assert!(matches!(error, OpenError::InUse { pid: Some(pid), .. } if pid == child.id()), "{error}");
    assert!(error.to_string().ends_with(&format!("is in use by process {}", child.id())), "{error}");
    let error = check(dir.path()).unwrap_err();
    assert!(matches!(error, CheckError::Open(OpenError::InUse { pid: Some(_), .. })), "{error}");
    child.kill().unwrap();
    child.wait().unwrap();
    open(dir.path(), None).unwrap().load().unwrap();
}

#[test]
fn one_process_opens_a_directory_once_and_may_open_it_again_afterwards() {
    let dir = tempfile::tempdir().unwrap();
    let store = open(dir.path(), Some(Kind::Log)).unwrap();
    let error = open(dir.path(), Some(Kind::Log)).unwrap_err();
    assert!(matches!(error, OpenError::InUse { pid: Some(pid), .. } if pid == std::process::id()), "{error}");
    drop(store);
    let error = open(dir.path(), Some(Kind::Redb)).unwrap_err();
    assert!(matches!(error, OpenError::OtherKind { found: Kind::Log, wanted: Kind::Redb, .. }), "{error}");
    open(dir.path(), None).unwrap();
}

#[test]
fn nobody_else_may_read_the_secrets_of_sessions() {
    for kind in [Kind::Log, Kind::Redb] {
        let dir = tempfile::tempdir().unwrap();
        let mut store = open(dir.path(), Some(kind)).unwrap();
        store.load().unwrap();
        store.append(lsn(1), b"secret").unwrap();
        store.install_snapshot(lsn(1), b"secret").unwrap();
        store.close().unwrap();
        for entry in std::fs::read_dir(dir.path()).unwrap() {
            let entry = entry.unwrap();
            let mode = entry.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", entry.path().display());
        }
    }
}

/// A small file system of its own, where that is allowed.
struct Mount(tempfile::TempDir);

impl Mount {
    fn tmpfs(size: &str) -> Option<Self> {
        let dir = tempfile::tempdir().unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", size, "raceproof-test"])
            .arg(dir.path())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success());
        mounted.then_some(Self(dir))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn on_a_really_full_disk_the_log_fills_is_compacted_and_goes_on() {
    // Elsewhere the same is tested on a simulated disk.
    let Some(mount) = Mount::tmpfs("size=512k") else { return };
    let mut options = LogOptions::default();
    options.segment_bytes = 64 << 10;
    let dir = mount.0.path().join("store");
    let mut store = LogStore::open(&dir, options.clone()).unwrap();
    load_and_prepare(&mut store);
    let hog = std::fs::File::create(mount.0.path().join("hog")).unwrap();
    let zeros = [1; 4096];
    while (&hog).write_all(&zeros).is_ok() {}

    let snapshots = go_on(&mut store, 3000, record, |_| b"compact".to_vec());
    assert!(snapshots > 2, "{snapshots}");
    // Without a snapshot it fills up, and says so.
    let mut next = 3001;
    let error = loop {
        match store.append(lsn(next), &record(next)).and_then(|()| store.flush()) {
            Ok(()) => next += 1,
            Err(error) => break error,
        }
    };
    assert!(matches!(error, WriteError::Full { .. }), "{error}");
    drop(store);
    drop(hog);
    std::fs::remove_file(mount.0.path().join("hog")).unwrap();
    let mut store = LogStore::open(&dir, options).unwrap();
    assert_eq!(store.load().unwrap().last_lsn(), lsn(next - 1));
}
