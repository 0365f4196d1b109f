//! A store of its own format: a log in segments whose space is allocated ahead, and snapshots.
//!
//! Owns the files `log-…`, `snapshot-…` and `reserve` of a directory. A commit is one write and one fdatasync on a
//! file whose blocks exist already, so the file system has nothing else to write. What is slow (empty segments,
//! snapshots, removal) is left to jobs, which another thread may run.
//!
//! After the first failure it refuses everything: an fsync that failed is never asked again (L2: what it lost could
//! be a token that was handed out).

mod format;
mod inspect;
mod jobs;
mod names;
mod running;
mod survey;

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use raceproof_core::id::Lsn;

use self::format::SEGMENT_HEADER_BYTES;
use self::jobs::{Done, Task, make_spare};
use self::names::segment_name;
use self::running::Log;
use self::survey::Survey;
use super::disk::{Disk, OsDisk};
use super::error::{LoadError, OpenError, WriteError};
use super::identity::{self, IDENTITY_FILE, Identity, StoreId};
use super::lock::DirLock;
use super::{Job, Kind, Loaded, Storage, StorageStats};

pub(crate) use self::format::FORMAT;
pub(crate) use self::inspect::inspect;
pub(crate) use self::survey::survey;

/// Sizes of a [`LogStore`]. Those of an existing store may change from one opening to the next.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct LogOptions {
    /// Size of a segment; the log is freed in these steps. Default 4 MiB.
    pub segment_bytes: u64,
    /// Empty segments that are held ready. Default 2.
    pub segments_spare: usize,
    /// With more log than this behind the last snapshot, and more than that snapshot takes,
    /// [`StorageStats::snapshot_wanted`]. Default 8 MiB, which a start replays in well under a second.
    pub snapshot_after_bytes: u64,
    /// The largest record. Default 256 MiB. One that does not fit into a segment gets a larger one.
    pub record_bytes_max: u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self { segment_bytes: 4 << 20, segments_spare: 2, snapshot_after_bytes: 8 << 20, record_bytes_max: 256 << 20 }
    }
}

impl LogOptions {
    fn record_bytes_max(&self) -> u64 {
        self.record_bytes_max.min(u64::from(u32::MAX >> 1))
    }
}

/// The store of servers: an append log with snapshots.
pub struct LogStore {
    disk: Arc<dyn Disk>,
    id: StoreId,
    options: LogOptions,
    log: Option<Log>,
    failed: Option<WriteError>,
    /// Last, so that the directory is free only when all its files are closed.
    _lock: Option<DirLock>,
}

impl LogStore {
    /// Opens the store in `dir`, or makes one, with the directory if need be. `load` must follow.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(dir: &Path, options: LogOptions) -> Result<Self, OpenError> {
        identity::make_dir(dir)?;
        let lock = DirLock::exclusive(dir)?;
        let mut store = Self::open_on(Arc::new(OsDisk::new(dir)), options)?;
        store._lock = Some(lock);
        Ok(store)
    }

    /// Opens the store on a disk of any sort, which nobody else uses, or makes one there.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open_on(disk: Arc<dyn Disk>, options: LogOptions) -> Result<Self, OpenError> {
        let id = match identity::read(disk.as_ref())? {
            Some(Identity { kind: Kind::Log, id }) => id,
            Some(Identity { kind: found, .. }) => {
                return Err(OpenError::OtherKind { dir: disk.path(""), found, wanted: Kind::Log });
            }
            None => create(disk.as_ref(), &options)?,
        };
        Ok(Self { disk, id, options, log: None, failed: None, _lock: None })
    }

    /// Runs `act` on the loaded log, and makes its failure final.
    fn with<T>(&mut self, act: impl FnOnce(&mut Log) -> Result<T, WriteError>) -> Result<T, WriteError> {
        if let Some(first) = &self.failed {
            return Err(first.clone().after());
        }
        let log = self.log.as_mut().ok_or(WriteError::NotLoaded)?;
        act(log).inspect_err(|error| self.failed = Some(error.clone()))
    }
}

impl Storage for LogStore {
    fn load(&mut self) -> Result<Loaded, LoadError> {
        let survey = survey(self.disk.as_ref(), self.id)?;
        repair(self.disk.as_ref(), &survey)?;
        let (log, loaded) = Log::new(Arc::clone(&self.disk), self.id, self.options.clone(), survey)?;
        self.log = Some(log);
        Ok(loaded)
    }

    fn append(&mut self, lsn: Lsn, record: &[u8]) -> Result<(), WriteError> {
        self.with(|log| log.append(lsn, record))
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.with(Log::flush)
    }

    fn install_snapshot(&mut self, lsn: Lsn, snapshot: &[u8]) -> Result<(), WriteError> {
        self.begin_snapshot(lsn, snapshot.to_vec())?;
        while let Some(job) = self.take_job() {
            let snapshot = job.snapshot().is_some();
            match job.run() {
                Err(error) if snapshot && error.is_full() => {
                    self.with(Log::absorb)?;
                    return Err(error);
                }
                // What it means is for the log to say.
                _ => self.with(Log::absorb)?,
            }
        }
        Ok(())
    }

    fn begin_snapshot(&mut self, lsn: Lsn, snapshot: Vec<u8>) -> Result<(), WriteError> {
        self.with(|log| log.begin_snapshot(lsn, snapshot))
    }

    fn take_job(&mut self) -> Option<Job> {
        let (disk, id) = (Arc::clone(&self.disk), self.id);
        // A failure is met again by the next write, which can report it.
        let (task, ticket) = self.with(Log::next_task).ok().flatten()?;
        let snapshot = match &task {
            Task::Snapshot { lsn, .. } => Some(*lsn),
            _ => None,
        };
        Some(Job::new(snapshot, move || {
            let done = task.run(disk.as_ref(), id);
            let outcome = match &done {
                Done::Failed { error, .. } => Err(error.clone()),
                _ => Ok(()),
            };
            ticket.put(done);
            outcome
        }))
    }

    fn idle(&mut self) -> Result<(), WriteError> {
        self.with(Log::mark)
    }

    fn close(&mut self) -> Result<(), WriteError> {
        self.with(|log| {
            log.flush()?;
            log.mark()?;
            log.sync()
        })
    }

    fn stats(&self) -> StorageStats {
        self.log.as_ref().map(Log::stats).unwrap_or_default()
    }
}

impl fmt::Debug for LogStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogStore")
            .field("dir", &self.disk.path(""))
            .field("stats", &self.stats())
            .finish_non_exhaustive()
    }
}

/// Makes a store where none is. The identity is written last: without it, what is there is the rest of an attempt.
fn create(disk: &dyn Disk, options: &LogOptions) -> Result<StoreId, OpenError> {
    let dir = disk.path("");
    let names = disk.list().map_err(|error| LoadError::io("list", &dir, error))?;
    let first = segment_name(1);
    for name in names {
        let attempt = name == first && untouched(disk, &name)?;
        if !attempt && names::FileName::parse(&name).is_content() {
            return Err(OpenError::NoIdentity { dir, file: name, identity: IDENTITY_FILE });
        }
    }
    let id = StoreId::random().map_err(|error| LoadError::io("draw a random id for", &dir, error))?;
    make_spare(disk, id, 1, options.segment_bytes, None)?;
    identity::write(disk, Identity { kind: Kind::Log, id })?;
    Ok(id)
}

/// Whether a segment never had a record.
fn untouched(disk: &dyn Disk, name: &str) -> Result<bool, LoadError> {
    let bytes = disk.read(name).map_err(|error| LoadError::io("read", &disk.path(name), error))?;
    Ok(format::is_blank(bytes.get(SEGMENT_HEADER_BYTES..).unwrap_or_default()))
}

/// Cuts off a torn tail, and writes again what is not known to have been on disk: an fsync may have failed before
/// the process ended, and the system then shows from its cache what the disk does not have.
fn repair(disk: &dyn Disk, survey: &Survey) -> Result<(), LoadError> {
    for segment in &survey.segments {
        if segment.unproven.is_none() && segment.dirty_end == segment.end {
            continue;
        }
        let name = segment_name(segment.seq);
        let path = disk.path(&name);
        let fail = |error| LoadError::io("repair", &path, error);
        let mut bytes = disk.read(&name).map_err(fail)?;
        if let Some(tail) = bytes.get_mut(segment.end..) {
            tail.fill(0);
        }
        let from = segment.unproven.unwrap_or(segment.end);
        let file = disk.open(&name).map_err(fail)?;
        let rewritten = bytes.get(from..segment.dirty_end).unwrap_or_default();
        file.write_at(rewritten, from as u64).map_err(fail)?;
        file.sync().map_err(fail)?;
    }
    // Names may have been changed by a process that ended before it could make that durable.
    disk.sync_dir().map_err(|error| LoadError::io("sync", &disk.path(""), error))
}
