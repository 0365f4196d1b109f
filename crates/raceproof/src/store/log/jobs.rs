//! The slow steps: empty segments, snapshots, removal. They touch only files that the log itself does not write, so
//! they may run beside it.

use std::io;
use std::sync::{Arc, Condvar, Mutex, PoisonError};

use raceproof_core::id::Lsn;

use super::format::{SEGMENT_HEADER_BYTES, SegmentHeader, SnapshotHeader, payload_crc};
use super::names::{FileName, RESERVE_FILE, RESERVE_TMP, SNAPSHOT_TMP, SPARE_TMP, segment_name, snapshot_name};
use crate::store::disk::{Disk, DiskFile};
use crate::store::error::WriteError;
use crate::store::identity::StoreId;

/// How much is written in one call.
const CHUNK_BYTES: usize = 256 * 1024;

/// A segment that is ready to be written to.
pub(crate) struct Spare {
    pub(crate) seq: u64,
    pub(crate) bytes: u64,
    pub(crate) file: Box<dyn DiskFile>,
}

/// Something to do.
#[derive(Debug)]
pub(crate) enum Task {
    /// Makes the empty segment `seq`, out of a file that is not needed any more if there is one.
    Spare { seq: u64, bytes: u64, recycle: Option<String> },
    /// Makes the file whose space is for a snapshot when the disk is full.
    Reserve { bytes: u64, recycle: Option<String> },
    /// Writes and installs a snapshot. `seq` is where the log goes on behind it.
    Snapshot { lsn: Lsn, payload: Vec<u8>, seq: u64, seq_first_lsn: Lsn, reserve: Option<u64> },
    /// Removes files that are not needed any more.
    Remove { names: Vec<String> },
}

/// What became of a task.
pub(crate) enum Done {
    Spare(Spare),
    Reserve {
        bytes: u64,
    },
    Snapshot {
        lsn: Lsn,
        payload_bytes: u64,
    },
    Removed,
    Failed {
        reserve_kept: bool,
        error: WriteError,
    },
    /// The job was dropped without being run.
    Dropped,
}

impl Task {
    pub(crate) fn run(self, disk: &dyn Disk, store: StoreId) -> Done {
        let outcome = match self {
            Self::Spare { seq, bytes, recycle } => make_spare(disk, store, seq, bytes, recycle).map(Done::Spare),
            Self::Reserve { bytes, recycle } => make_reserve(disk, bytes, recycle),
            Self::Snapshot { lsn, payload, seq, seq_first_lsn, reserve } => {
                let header = SnapshotHeader {
                    store,
                    lsn,
                    seq,
                    seq_first_lsn,
                    payload_bytes: payload.len() as u64,
                    payload_crc: payload_crc(&payload),
                };
                return install(disk, &header, &payload, reserve);
            }
            Self::Remove { names } => remove(disk, &names),
        };
        outcome.unwrap_or_else(|error| Done::Failed { reserve_kept: false, error })
    }
}

pub(crate) fn make_spare(
    disk: &dyn Disk,
    store: StoreId,
    seq: u64,
    bytes: u64,
    recycle: Option<String>,
) -> Result<Spare, WriteError> {
    let name = segment_name(seq);
    let path = disk.path(&name);
    let made = (|| {
        take_over(disk, recycle, SPARE_TMP)?;
        let file = disk.open(SPARE_TMP)?;
        let header = SegmentHeader { store, seq, bytes }.encode();
        file.write_at(&header, 0)?;
        // Written, not only allocated: a later fdatasync then has no metadata to write.
        write_zeros(file.as_ref(), SEGMENT_HEADER_BYTES as u64, bytes)?;
        file.set_size(bytes)?;
        file.sync()?;
        disk.rename(SPARE_TMP, &name)?;
        disk.sync_dir()?;
        Ok(file)
    })();
    made.map(|file| Spare { seq, bytes, file }).map_err(|error| {
        give_up(disk, SPARE_TMP);
        WriteError::io("prepare", &path, error)
    })
}

fn make_reserve(disk: &dyn Disk, bytes: u64, recycle: Option<String>) -> Result<Done, WriteError> {
    let made = (|| {
        take_over(disk, recycle, RESERVE_TMP)?;
        let file = disk.open(RESERVE_TMP)?;
        write_zeros(file.as_ref(), 0, bytes)?;
        file.set_size(bytes)?;
        file.sync()?;
        disk.rename(RESERVE_TMP, RESERVE_FILE)?;
        disk.sync_dir()
    })();
    made.map(|()| Done::Reserve { bytes }).map_err(|error| {
        give_up(disk, RESERVE_TMP);
        WriteError::io("prepare", &disk.path(RESERVE_FILE), error)
    })
}

/// Makes a file that is not needed any more into a temporary one. That must be durable before its content goes: a
/// crash may not leave the old name on it.
fn take_over(disk: &dyn Disk, recycle: Option<String>, tmp: &str) -> io::Result<()> {
    if let Some(name) = recycle {
        disk.rename(&name, tmp)?;
        disk.sync_dir()?;
    }
    Ok(())
}

fn write_zeros(file: &dyn DiskFile, from: u64, to: u64) -> io::Result<()> {
    let zeros = vec![0; CHUNK_BYTES];
    let mut at = from;
    while at < to {
        let count = (to - at).min(CHUNK_BYTES as u64);
        let chunk = usize::try_from(count).ok().and_then(|count| zeros.get(..count)).unwrap_or(&zeros);
        file.write_at(chunk, at)?;
        at += count;
    }
    Ok(())
}

/// Frees what a step that failed has taken. The error that is reported is that step's.
fn give_up(disk: &dyn Disk, tmp: &str) {
    let _ = disk.remove(tmp);
}

fn install(disk: &dyn Disk, header: &SnapshotHeader, payload: &[u8], reserve: Option<u64>) -> Done {
    let name = snapshot_name(header.lsn.as_u64());
    let failed = |error| WriteError::io("write snapshot", &disk.path(&name), error);
    if let Err(error) = write_snapshot(disk, header, payload, reserve.is_some()) {
        let error = failed(error);
        let reserve_kept = error.is_full() && reserve.is_some_and(|bytes| put_back(disk, bytes).is_ok());
        if !reserve_kept {
            give_up(disk, SNAPSHOT_TMP);
        }
        return Done::Failed { reserve_kept, error };
    }
    let installed = disk.rename(SNAPSHOT_TMP, &name).and_then(|()| disk.sync_dir());
    match installed.and_then(|()| remove_other_snapshots(disk, &name)) {
        Ok(()) => Done::Snapshot { lsn: header.lsn, payload_bytes: payload.len() as u64 },
        Err(error) => Done::Failed { reserve_kept: false, error: failed(error) },
    }
}

fn write_snapshot(disk: &dyn Disk, header: &SnapshotHeader, payload: &[u8], reserve: bool) -> io::Result<()> {
    if reserve {
        // Its space is ours already, so that a full disk, or somebody who takes what is freed, cannot stop us.
        disk.rename(RESERVE_FILE, SNAPSHOT_TMP)?;
    }
    let file = disk.open(SNAPSHOT_TMP)?;
    let mut bytes = header.encode();
    let mut at = 0;
    // The header travels with the first chunk.
    let (first, rest) = payload.split_at(payload.len().min(CHUNK_BYTES));
    bytes.extend(first);
    for chunk in std::iter::once(bytes.as_slice()).chain(rest.chunks(CHUNK_BYTES)) {
        file.write_at(chunk, at)?;
        at += chunk.len() as u64;
    }
    file.set_size(at)?;
    file.sync()
}

fn put_back(disk: &dyn Disk, bytes: u64) -> io::Result<()> {
    disk.open(SNAPSHOT_TMP)?.set_size(bytes)?;
    disk.rename(SNAPSHOT_TMP, RESERVE_FILE)
}

fn remove_other_snapshots(disk: &dyn Disk, keep: &str) -> io::Result<()> {
    for name in disk.list()? {
        if matches!(FileName::parse(&name), FileName::Snapshot(_)) && name != keep {
            disk.remove(&name)?;
        }
    }
    Ok(())
}

fn remove(disk: &dyn Disk, names: &[String]) -> Result<Done, WriteError> {
    for name in names {
        disk.remove(name).map_err(|error| WriteError::io("remove", &disk.path(name), error))?;
    }
    Ok(Done::Removed)
}

/// Where the outcome of the one job under way arrives.
#[derive(Clone, Default)]
pub(crate) struct Slot {
    shared: Arc<(Mutex<Option<Done>>, Condvar)>,
}

impl Slot {
    pub(crate) fn take(&self) -> Option<Done> {
        self.shared.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits for the outcome of a job that is under way.
    pub(crate) fn wait(&self) -> Done {
        let (done, arrived) = &*self.shared;
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match done.take() {
                Some(done) => return done,
                None => done = arrived.wait(done).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// The duty to put an outcome here, kept even if its bearer is dropped.
    pub(crate) fn ticket(&self) -> Ticket {
        Ticket { slot: self.clone(), done: false }
    }

    fn put(&self, outcome: Done) {
        *self.shared.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(outcome);
        self.shared.1.notify_all();
    }
}

pub(crate) struct Ticket {
    slot: Slot,
    done: bool,
}

impl Ticket {
    pub(crate) fn put(mut self, outcome: Done) {
        self.done = true;
        self.slot.put(outcome);
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.done {
            self.slot.put(Done::Dropped);
        }
    }
}
