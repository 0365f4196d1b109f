//! A store in memory that loses power and fails on demand: for simulators and tests, and for hubs that need not
//! remember.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use raceproof_core::id::Lsn;

use super::error::{LoadError, WriteError};
use super::{Loaded, Storage, StorageStats, TornTail};

/// A store in memory. Clones are the same medium: keep one to crash it and to open it again.
#[derive(Debug, Clone, Default)]
pub struct MemStore {
    medium: Arc<Mutex<Medium>>,
    /// The run of the medium that this handle belongs to; a crash ends it.
    run: u64,
}

/// What a crash leaves of the records that were appended and not flushed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Keep {
    /// None of them.
    Flushed,
    /// The first so many of them: a disk may have written more than it was told to.
    Prefix(usize),
    /// The first so many of them, and a part of the one that follows, which `load` finds and cuts off.
    Torn(usize),
}

/// The calls that a fault can hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemOp {
    /// [`Storage::append`].
    Append,
    /// [`Storage::flush`].
    Flush,
    /// [`Storage::install_snapshot`].
    Snapshot,
    /// [`Storage::load`].
    Load,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum MemFault {
    /// With an I/O error. What a flush should have made durable is not.
    Io,
    /// For lack of space.
    Full,
    /// With an I/O error although the work was done.
    IoAfterwards,
}

#[derive(Debug, Default)]
struct Medium {
    run: u64,
    snapshot: Option<(Lsn, Vec<u8>)>,
    durable: Vec<Cell>,
    pending: Vec<Cell>,
    torn: Option<u64>,
    faults: Vec<(MemOp, u64, MemFault)>,
    capacity_bytes: Option<u64>,
    failed: Option<WriteError>,
    flushes: u64,
}

#[derive(Debug, Clone)]
struct Cell {
    lsn: Lsn,
    bytes: Vec<u8>,
    crc: u32,
}

impl MemStore {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The power goes and comes back. The returned handle is the medium as the next process finds it; every other
    /// handle is dead.
    #[must_use]
    pub fn crash(&self, keep: Keep) -> Self {
        let mut medium = self.medium();
        let kept = match keep {
            Keep::Flushed => 0,
            Keep::Prefix(count) | Keep::Torn(count) => count.min(medium.pending.len()),
        };
        let mut pending = std::mem::take(&mut medium.pending).into_iter();
        let survivors: Vec<Cell> = pending.by_ref().take(kept).collect();
        medium.durable.extend(survivors);
        medium.torn = match (keep, pending.next()) {
            (Keep::Torn(_), Some(cell)) => Some(cell.bytes.len() as u64),
            _ => None,
        };
        medium.run += 1;
        medium.failed = None;
        medium.faults.clear();
        Self { medium: Arc::clone(&self.medium), run: medium.run }
    }

    /// Records that were appended and not flushed: what a crash may keep any prefix of.
    #[must_use]
    pub fn unflushed(&self) -> usize {
        self.medium().pending.len()
    }

    /// Makes the `nth` such call from here, counted from 0, fail.
    pub fn fail_at(&self, op: MemOp, nth: u64, fault: MemFault) {
        self.medium().faults.push((op, nth, fault));
    }

    /// Limits what records and snapshot may take together.
    pub fn set_capacity(&self, bytes: Option<u64>) {
        self.medium().capacity_bytes = bytes;
    }

    /// Turns one bit of a durable record; `load` will notice. False if there is no such record or bit.
    #[must_use]
    pub fn flip_bit(&self, lsn: Lsn, bit: usize) -> bool {
        let mut medium = self.medium();
        let cell = medium.durable.iter_mut().find(|cell| cell.lsn == lsn);
        match cell.and_then(|cell| cell.bytes.get_mut(bit / 8)) {
            Some(byte) => {
                *byte ^= 1 << (bit % 8);
                true
            }
            None => false,
        }
    }

    fn medium(&self) -> MutexGuard<'_, Medium> {
        self.medium.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write<T>(&self, op: MemOp, act: impl FnOnce(&mut Medium) -> Result<T, WriteError>) -> Result<T, WriteError> {
        let mut medium = self.medium();
        if medium.run != self.run {
            return Err(io_error("write after a crash to"));
        }
        if let Some(first) = &medium.failed {
            return Err(first.clone().after());
        }
        let outcome = match medium.fault(op) {
            Some(MemFault::Io) => Err(io_error("write")),
            Some(MemFault::Full) => Err(full()),
            Some(MemFault::IoAfterwards) => act(&mut medium).and(Err(io_error("write"))),
            None => act(&mut medium),
        };
        outcome.inspect_err(|error| {
            if !(op == MemOp::Snapshot && error.is_full()) {
                medium.failed = Some(error.clone());
            }
        })
    }
}

impl Medium {
    /// Counts a call, and says how it shall fail.
    fn fault(&mut self, op: MemOp) -> Option<MemFault> {
        let mut hit = None;
        self.faults.retain_mut(|(at, left, fault)| {
            if *at != op {
                return true;
            }
            if *left == 0 {
                hit = Some(*fault);
                return false;
            }
            *left -= 1;
            true
        });
        hit
    }

    fn last(&self) -> Lsn {
        let snapshot = self.snapshot.as_ref().map_or(Lsn::new(0), |(lsn, _)| *lsn);
        self.pending.last().or_else(|| self.durable.last()).map_or(snapshot, |cell| cell.lsn)
    }

    fn flushed(&self) -> Lsn {
        let snapshot = self.snapshot.as_ref().map_or(Lsn::new(0), |(lsn, _)| *lsn);
        self.durable.last().map_or(snapshot, |cell| cell.lsn)
    }

    fn log_bytes(&self) -> u64 {
        self.durable.iter().chain(&self.pending).map(|cell| cell.bytes.len() as u64).sum()
    }

    fn snapshot_bytes(&self) -> u64 {
        self.snapshot.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64)
    }

    fn room_for(&self, used: u64, more: usize) -> Result<(), WriteError> {
        match self.capacity_bytes {
            Some(capacity) if used + more as u64 > capacity => Err(full()),
            _ => Ok(()),
        }
    }

    fn flush(&mut self) {
        if !self.pending.is_empty() {
            self.durable.append(&mut self.pending);
            self.flushes += 1;
        }
    }
}

fn path() -> PathBuf {
    PathBuf::from("memory")
}

fn io_error(doing: &'static str) -> WriteError {
    WriteError::io(doing, &path(), std::io::Error::other("injected"))
}

fn full() -> WriteError {
    WriteError::Full { doing: "write", path: path() }
}

impl Storage for MemStore {
    fn load(&mut self) -> Result<Loaded, LoadError> {
        let mut medium = self.medium();
        if medium.run != self.run {
            return Err(LoadError::Gone { detail: "it crashed".to_owned() });
        }
        if medium.fault(MemOp::Load).is_some() {
            return Err(LoadError::io("read", &path(), std::io::Error::other("injected")));
        }
        if let Some(bad) = medium.durable.iter().find(|cell| crc32fast::hash(&cell.bytes) != cell.crc) {
            let detail = format!("record {} is bad", bad.lsn);
            return Err(LoadError::Corrupt { path: path(), offset: bad.lsn.as_u64(), detail });
        }
        let after = medium.flushed();
        let torn = medium.torn.take().map(|bytes| TornTail { path: path(), offset: after.as_u64() + 1, bytes, after });
        Ok(Loaded {
            snapshot: medium.snapshot.clone(),
            records: medium.durable.iter().map(|cell| (cell.lsn, cell.bytes.clone())).collect(),
            torn,
        })
    }

    fn append(&mut self, lsn: Lsn, record: &[u8]) -> Result<(), WriteError> {
        self.write(MemOp::Append, |medium| {
            let expected = medium.last().next();
            if lsn != expected {
                return Err(WriteError::OutOfOrder { expected, got: lsn });
            }
            if medium.capacity_bytes.is_some() {
                medium.room_for(medium.log_bytes() + medium.snapshot_bytes(), record.len())?;
            }
            medium.pending.push(Cell { lsn, bytes: record.to_vec(), crc: crc32fast::hash(record) });
            Ok(())
        })
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.write(MemOp::Flush, |medium| {
            medium.flush();
            Ok(())
        })
    }

    fn install_snapshot(&mut self, lsn: Lsn, snapshot: &[u8]) -> Result<(), WriteError> {
        self.write(MemOp::Snapshot, |medium| {
            let last = medium.last();
            if lsn > last {
                return Err(WriteError::OutOfOrder { expected: last, got: lsn });
            }
            let later: u64 = medium
                .durable
                .iter()
                .chain(&medium.pending)
                .filter(|cell| cell.lsn > lsn)
                .map(|cell| cell.bytes.len() as u64)
                .sum();
            medium.room_for(later, snapshot.len())?;
            medium.flush();
            if medium.snapshot.as_ref().is_none_or(|(installed, _)| *installed < lsn) {
                medium.snapshot = Some((lsn, snapshot.to_vec()));
                medium.durable.retain(|cell| cell.lsn > lsn);
            }
            Ok(())
        })
    }

    fn stats(&self) -> StorageStats {
        let medium = self.medium();
        let snapshot_lsn = medium.snapshot.as_ref().map_or(Lsn::new(0), |(lsn, _)| *lsn);
        let log_bytes = medium.log_bytes();
        StorageStats {
            last_lsn: medium.last(),
            flushed_lsn: medium.flushed(),
            snapshot_lsn,
            snapshot_bytes: medium.snapshot_bytes(),
            records_since_snapshot: (medium.durable.len() + medium.pending.len()) as u64,
            log_bytes_since_snapshot: log_bytes,
            bytes_on_disk: 0,
            flushes: medium.flushes,
            snapshot_wanted: log_bytes > SNAPSHOT_AFTER_BYTES,
        }
    }
}

/// As a [`LogStore`](super::LogStore) does by default.
const SNAPSHOT_AFTER_BYTES: u64 = 16 << 20;
