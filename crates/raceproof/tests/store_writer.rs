//! The writer thread: grouping, laziness, failure, snapshots beside commits.
#![cfg(feature = "store")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::io;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use raceproof::store::disk::{Disk, DiskFile, SimDisk};
use raceproof::store::{
    LoadError, Loaded, LogOptions, LogStore, MemFault, MemOp, MemStore, OpenError, Storage, StorageStats, WriteError,
    Writer, WriterEvent, WriterOptions,
};
use raceproof_core::id::Lsn;

const PATIENCE: Duration = Duration::from_secs(20);

fn lsn(number: u64) -> Lsn {
    Lsn::new(number)
}

fn start(mut storage: impl Storage + 'static, options: WriterOptions) -> (Writer, Receiver<WriterEvent>) {
    storage.load().unwrap();
    let (events, inbox) = channel();
    let writer = Writer::start(Box::new(storage), options, move |event| drop(events.send(event))).unwrap();
    (writer, inbox)
}

fn wait_flushed(events: &Receiver<WriterEvent>, number: u64) {
    loop {
        match events.recv_timeout(PATIENCE).unwrap() {
            WriterEvent::Flushed(at) if at >= lsn(number) => return,
            WriterEvent::Flushed(_) => {}
            other => panic!("{other:?}"),
        }
    }
}

/// Something that stays shut until it is opened.
#[derive(Debug, Default, Clone)]
struct Gate(Arc<(Mutex<bool>, Condvar)>);

impl Gate {
    fn open(&self) {
        *self.0.0.lock().unwrap() = true;
        self.0.1.notify_all();
    }

    fn pass(&self) {
        let shut = self.0.0.lock().unwrap();
        drop(self.0.1.wait_timeout_while(shut, PATIENCE, |open| !*open).unwrap());
    }
}

/// A store whose flush waits, and that says when it does, and when there is nothing to do.
#[derive(Debug)]
struct Slow {
    store: MemStore,
    entered: Sender<()>,
    rests: Sender<()>,
    gate: Gate,
}

impl Slow {
    /// With news of its flushes.
    fn new(store: MemStore, gate: Gate) -> (Self, Receiver<()>) {
        let (entered, in_flush) = channel();
        (Self { store, entered, rests: channel().0, gate }, in_flush)
    }
}

impl Storage for Slow {
    fn load(&mut self) -> Result<Loaded, LoadError> {
        self.store.load()
    }

    fn append(&mut self, lsn: Lsn, record: &[u8]) -> Result<(), WriteError> {
        self.store.append(lsn, record)
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        let _ = self.entered.send(());
        self.gate.pass();
        self.store.flush()
    }

    fn install_snapshot(&mut self, lsn: Lsn, snapshot: &[u8]) -> Result<(), WriteError> {
        assert!(snapshot != b"panic", "a store with a bug");
        self.store.install_snapshot(lsn, snapshot)
    }

    fn idle(&mut self) -> Result<(), WriteError> {
        let _ = self.rests.send(());
        Ok(())
    }

    fn stats(&self) -> StorageStats {
        self.store.stats()
    }
}

#[test]
fn one_flush_serves_everything_that_came_during_the_one_before() {
    let medium = MemStore::new();
    let gate = Gate::default();
    let (store, in_flush) = Slow::new(medium.clone(), gate.clone());
    let (writer, events) = start(store, WriterOptions::default());
    writer.append(lsn(1), b"first");
    writer.flush(lsn(1));
    in_flush.recv_timeout(PATIENCE).unwrap();
    for number in 2..=65 {
        writer.append(lsn(number), b"later");
        writer.flush(lsn(number));
    }
    gate.open();
    wait_flushed(&events, 65);
    assert_eq!(medium.stats().flushes, 2);
    writer.stop().unwrap();
}

#[test]
fn a_record_that_nobody_waits_for_is_flushed_after_the_delay_and_not_before() {
    let medium = MemStore::new();
    let mut options = WriterOptions::default();
    options.lazy_flush = Duration::from_millis(100);
    let (writer, events) = start(medium.clone(), options);
    for (number, awake) in [(1, false), (2, true)] {
        if awake {
            // Once more while the writer naps after its last flush.
            assert_eq!(medium.stats().flushes, 1);
        }
        let at = Instant::now();
        writer.append(lsn(number), b"lazy");
        wait_flushed(&events, number);
        assert!(at.elapsed() >= Duration::from_millis(100), "{:?}", at.elapsed());
    }
    writer.stop().unwrap();
}

#[test]
fn a_record_that_nobody_waits_for_wakes_a_writer_that_has_gone_to_rest() {
    let gate = Gate::default();
    gate.open();
    let (mut store, _in_flush) = Slow::new(MemStore::new(), gate);
    let (rests, at_rest) = channel();
    store.rests = rests;
    let (writer, events) = start(store, WriterOptions::default());
    // It says so a moment before it does, so once might be too early.
    for number in 1..=20 {
        at_rest.recv_timeout(PATIENCE).unwrap();
        writer.append(lsn(number), b"lazy");
        wait_flushed(&events, number);
    }
    writer.stop().unwrap();
}

#[test]
fn a_record_that_somebody_waits_for_takes_the_others_along() {
    let medium = MemStore::new();
    let mut options = WriterOptions::default();
    options.lazy_flush = PATIENCE * 2;
    let (writer, events) = start(medium.clone(), options);
    writer.append(lsn(1), b"lazy");
    writer.append(lsn(2), b"wanted");
    writer.flush(lsn(2));
    wait_flushed(&events, 2);
    assert_eq!(medium.stats().flushes, 1);
    writer.stop().unwrap();
}

#[test]
fn stopping_and_dropping_flush_what_is_queued() {
    for stop in [true, false] {
        let medium = MemStore::new();
        let mut options = WriterOptions::default();
        options.lazy_flush = PATIENCE;
        let (writer, _events) = start(medium.clone(), options);
        writer.append(lsn(1), b"x");
        if stop {
            writer.stop().unwrap();
        } else {
            drop(writer);
        }
        assert_eq!(medium.stats().flushed_lsn, lsn(1));
    }
}

#[test]
fn a_failure_is_told_once_and_nothing_is_written_after_it() {
    let medium = MemStore::new();
    medium.fail_at(MemOp::Flush, 1, MemFault::Io);
    let (writer, events) = start(medium.clone(), WriterOptions::default());
    writer.append(lsn(1), b"x");
    writer.flush(lsn(1));
    wait_flushed(&events, 1);
    writer.append(lsn(2), b"x");
    writer.flush(lsn(2));
    let event = events.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(event, WriterEvent::Failed(WriteError::Io { .. })), "{event:?}");
    writer.append(lsn(3), b"x");
    writer.flush(lsn(3));
    assert!(matches!(writer.stop(), Err(WriteError::Io { .. })));
    assert!(events.try_recv().is_err());
    assert_eq!(medium.stats().flushed_lsn, lsn(1));
}

/// The writer's thread panicked: that is told, and the writer says the same when it is stopped.
fn ends_with_its_thread(writer: Writer, events: &Receiver<WriterEvent>) {
    loop {
        match events.recv_timeout(PATIENCE).unwrap() {
            WriterEvent::Failed(WriteError::WriterGone) => break,
            WriterEvent::Flushed(_) => {}
            other => panic!("{other:?}"),
        }
    }
    assert!(matches!(writer.stop(), Err(WriteError::WriterGone)));
}

#[test]
fn a_store_that_panics_is_a_failure_like_any_other() {
    let gate = Gate::default();
    gate.open();
    let (store, _in_flush) = Slow::new(MemStore::new(), gate);
    let (writer, events) = start(store, WriterOptions::default());
    writer.append(lsn(1), b"x");
    writer.snapshot(lsn(1), b"panic".to_vec());
    ends_with_its_thread(writer, &events);
}

#[test]
fn a_full_queue_blocks_until_there_is_room_and_not_for_ever_if_the_store_fails() {
    let medium = MemStore::new();
    let gate = Gate::default();
    let mut options = WriterOptions::default();
    options.queue_bytes_max = 10;
    medium.fail_at(MemOp::Flush, 1, MemFault::Io);
    let (store, in_flush) = Slow::new(medium, gate.clone());
    let (writer, events) = start(store, options);
    writer.append(lsn(1), &[0; 10]);
    writer.flush(lsn(1));
    in_flush.recv_timeout(PATIENCE).unwrap();
    writer.append(lsn(2), &[0; 10]);
    std::thread::scope(|scope| {
        let blocked = scope.spawn(|| {
            for number in 3..10 {
                writer.append(lsn(number), &[0; 10]);
            }
        });
        assert!(!blocked.is_finished());
        gate.open();
        blocked.join().unwrap();
    });
    wait_flushed(&events, 1);
    assert!(matches!(events.recv_timeout(PATIENCE).unwrap(), WriterEvent::Failed(_)));
}

/// What comes before a snapshot gets its name.
#[derive(Debug)]
enum Before {
    Wait(Gate),
    Panic,
}

/// A disk on which snapshots have their troubles.
#[derive(Debug)]
struct OddSnapshots {
    disk: SimDisk,
    before: Before,
}

impl Disk for OddSnapshots {
    fn path(&self, name: &str) -> PathBuf {
        self.disk.path(name)
    }

    fn list(&self) -> io::Result<Vec<String>> {
        self.disk.list()
    }

    fn read(&self, name: &str) -> io::Result<Vec<u8>> {
        self.disk.read(name)
    }

    fn size(&self, name: &str) -> io::Result<u64> {
        self.disk.size(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.disk.open(name)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        if from == "snapshot.tmp" {
            match &self.before {
                Before::Wait(gate) => gate.pass(),
                Before::Panic => panic!("a disk with a bug"),
            }
        }
        self.disk.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.disk.remove(name)
    }

    fn sync_dir(&self) -> io::Result<()> {
        self.disk.sync_dir()
    }
}

fn small() -> LogOptions {
    let mut options = LogOptions::default();
    options.segment_bytes = 8 << 10;
    options.snapshot_after_bytes = 8 << 10;
    options
}

fn log_on(disk: impl Disk) -> Result<LogStore, OpenError> {
    LogStore::open_on(Arc::new(disk), small())
}

#[test]
fn commits_go_on_while_a_snapshot_is_written() {
    let gate = Gate::default();
    let disk = SimDisk::new();
    let store = log_on(OddSnapshots { disk: disk.clone(), before: Before::Wait(gate.clone()) }).unwrap();
    let (writer, events) = start(store, WriterOptions::default());
    writer.append(lsn(1), b"x");
    writer.flush(lsn(1));
    wait_flushed(&events, 1);
    writer.snapshot(lsn(1), b"one".to_vec());
    // Over several segments, so that space has to be made meanwhile too.
    for number in 2..=200 {
        writer.append(lsn(number), &[1; 100]);
        writer.flush(lsn(number));
        wait_flushed(&events, number);
    }
    assert!(!writer.stats().snapshot_wanted, "one is being written");
    gate.open();
    loop {
        match events.recv_timeout(PATIENCE).unwrap() {
            WriterEvent::SnapshotInstalled(at) => break assert_eq!(at, lsn(1)),
            WriterEvent::Flushed(_) => {}
            other => panic!("{other:?}"),
        }
    }
    writer.append(lsn(201), b"x");
    writer.flush(lsn(201));
    wait_flushed(&events, 201);
    let stats = writer.stats();
    assert_eq!((stats.snapshot_lsn, stats.records_since_snapshot), (lsn(1), 200));
    assert!(stats.snapshot_wanted);
    writer.stop().unwrap();
    disk.restart_process();
    let loaded = log_on(disk).unwrap().load().unwrap();
    assert_eq!((loaded.snapshot, loaded.records.len()), (Some((lsn(1), b"one".to_vec())), 200));
}

#[test]
fn a_panic_beside_the_log_is_a_failure_and_not_a_store_that_only_grows() {
    let store = log_on(OddSnapshots { disk: SimDisk::new(), before: Before::Panic }).unwrap();
    let (writer, events) = start(store, WriterOptions::default());
    writer.append(lsn(1), b"x");
    writer.snapshot(lsn(1), b"one".to_vec());
    ends_with_its_thread(writer, &events);
}

#[test]
fn a_snapshot_that_does_not_fit_is_told_and_the_store_goes_on() {
    let disk = SimDisk::new();
    let (writer, events) = start(log_on(disk.clone()).unwrap(), WriterOptions::default());
    writer.append(lsn(1), b"x");
    writer.flush(lsn(1));
    wait_flushed(&events, 1);
    disk.set_capacity(Some(50_000));
    writer.snapshot(lsn(1), vec![0; 100_000]);
    let event = events.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(&event, WriterEvent::SnapshotFailed(at, error) if *at == lsn(1) && error.is_full()), "{event:?}");
    writer.append(lsn(2), b"x");
    writer.flush(lsn(2));
    wait_flushed(&events, 2);
    writer.stop().unwrap();
}

#[test]
fn when_nothing_comes_the_log_notes_how_far_it_is_durable() {
    let disk = SimDisk::new();
    let (writer, events) = start(log_on(disk.clone()).unwrap(), WriterOptions::default());
    writer.append(lsn(1), b"x");
    writer.flush(lsn(1));
    wait_flushed(&events, 1);
    // The record is 32 bytes behind the header; the mark follows it.
    let segment = || disk.read("log-0000000000000001").unwrap();
    let end = Instant::now() + PATIENCE;
    while segment()[4096 + 32..].iter().all(|byte| *byte == 0) {
        assert!(Instant::now() < end, "no mark");
        std::thread::yield_now();
    }
    drop(writer);
}
