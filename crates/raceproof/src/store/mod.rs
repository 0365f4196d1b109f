//! The embedded store: a durable log of records with snapshots.
//!
//! Owns what is on disk and when it is there. A hub hands it records in log order and learns how far they are
//! durable; nothing that a client sees may depend on more than that ("durable before visible", L2, L10). It does not
//! know what a record means.
//!
//! Refuses: records out of order, a directory that another process uses, a newer format, anything damaged that had
//! been acknowledged, and every write after one that failed.
//!
//! [`LogStore`] is the store of servers; [`RedbStore`] is the same on a redb database; [`MemStore`] keeps everything
//! in memory and injects faults. `docs/store.md` has the format byte by byte.

mod check;
pub mod disk;
mod error;
mod identity;
mod lock;
mod log;
mod mem;
mod redb;
mod writer;

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use raceproof_core::id::Lsn;

pub use self::check::{CheckError, Finding, Report, check};
pub use self::error::{LoadError, OpenError, WriteError};
pub use self::log::{LogOptions, LogStore};
pub use self::mem::{Keep, MemFault, MemOp, MemStore};
pub use self::redb::RedbStore;
pub use self::writer::{Writer, WriterEvent, WriterOptions};

/// A durable log of records with snapshots.
///
/// `load` comes first and once. Calls are made by one thread at a time; none of them returns before it is done.
pub trait Storage: fmt::Debug + Send {
    /// Reads what is durable, cuts off a torn tail, and makes sure that what it returns stays: a record that was
    /// read is on disk, not only in a cache.
    ///
    /// # Errors
    /// Whatever keeps a single acknowledged record from being returned is an error, and nothing is changed.
    fn load(&mut self) -> Result<Loaded, LoadError>;

    /// Takes a record that follows the last one. It may be kept in memory until [`flush`](Self::flush).
    ///
    /// # Errors
    /// See [`WriteError`]; every error is final.
    fn append(&mut self, lsn: Lsn, record: &[u8]) -> Result<(), WriteError>;

    /// Returns when everything appended is durable.
    ///
    /// # Errors
    /// See [`WriteError`]; every error is final, and what was appended since the last flush may or may not be found
    /// by the next `load`.
    fn flush(&mut self) -> Result<(), WriteError>;

    /// Replaces everything up to `lsn`, which must have been appended, by `snapshot`. It is durable when this
    /// returns, and records up to `lsn` may be gone. Flushes first.
    ///
    /// # Errors
    /// [`WriteError::Full`] leaves the store as it was; every other error is final.
    fn install_snapshot(&mut self, lsn: Lsn, snapshot: &[u8]) -> Result<(), WriteError>;

    /// Like [`install_snapshot`](Self::install_snapshot), but what takes long may be left to a [`Job`]; done when
    /// [`StorageStats::snapshot_lsn`] says so.
    ///
    /// # Errors
    /// As `install_snapshot`.
    fn begin_snapshot(&mut self, lsn: Lsn, snapshot: Vec<u8>) -> Result<(), WriteError> {
        self.install_snapshot(lsn, &snapshot)
    }

    /// Work that another thread may do while records are appended: a snapshot that was begun, space for later
    /// records. There is at most one job at a time. A store works without ever being asked, only less evenly.
    fn take_job(&mut self) -> Option<Job> {
        None
    }

    /// Nothing is waiting to be written. A chance to note on disk, without waiting for the disk, how far the log is
    /// durable, so that later damage to its last record is not mistaken for a torn write.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    fn idle(&mut self) -> Result<(), WriteError> {
        Ok(())
    }

    /// Flushes and notes a clean end. Dropping a store without it loses what was not flushed, as a crash does.
    ///
    /// # Errors
    /// As [`flush`](Self::flush).
    fn close(&mut self) -> Result<(), WriteError> {
        self.flush()
    }

    /// Numbers for policies and people.
    fn stats(&self) -> StorageStats;
}

/// What [`Storage::load`] found.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Loaded {
    /// The newest snapshot and the position that it stands for.
    pub snapshot: Option<(Lsn, Vec<u8>)>,
    /// The records behind the snapshot, or all there are, in order and without a hole.
    pub records: Vec<(Lsn, Vec<u8>)>,
    /// What a crash left of a write that nobody was told of. It was cut off.
    pub torn: Option<TornTail>,
}

impl Loaded {
    /// The position of the last record, or of the snapshot if none follows, or 0.
    #[must_use]
    pub fn last_lsn(&self) -> Lsn {
        let snapshot = self.snapshot.as_ref().map_or(Lsn::new(0), |(lsn, _)| *lsn);
        self.records.last().map_or(snapshot, |(lsn, _)| *lsn)
    }
}

/// The remains of a write that a crash interrupted, at the end of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TornTail {
    /// The file it was in.
    pub path: PathBuf,
    /// Where in the file it began.
    pub offset: u64,
    /// How many bytes, up to the last that was not zero.
    pub bytes: u64,
    /// The last record before it.
    pub after: Lsn,
}

/// Numbers of a store. All sizes are in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct StorageStats {
    /// The last record that was appended.
    pub last_lsn: Lsn,
    /// The last record that is durable.
    pub flushed_lsn: Lsn,
    /// The position of the installed snapshot, 0 if there is none.
    pub snapshot_lsn: Lsn,
    /// Size of the installed snapshot.
    pub snapshot_bytes: u64,
    /// Records behind the installed snapshot.
    pub records_since_snapshot: u64,
    /// What these take in the log: how much a restart must read besides the snapshot.
    pub log_bytes_since_snapshot: u64,
    /// All files of the store, with the space that is held ready.
    pub bytes_on_disk: u64,
    /// Flushes that reached the disk since the store was opened.
    pub flushes: u64,
    /// A snapshot is due: the log behind the last one passed its limit, or the disk is full and only a snapshot
    /// frees space. False while one is being written.
    pub snapshot_wanted: bool,
}

/// A piece of work that may run beside the thread that owns the store; see [`Storage::take_job`].
pub struct Job {
    snapshot: Option<Lsn>,
    run: Box<dyn FnOnce() -> Result<(), WriteError> + Send>,
}

impl Job {
    pub(crate) fn new(snapshot: Option<Lsn>, run: impl FnOnce() -> Result<(), WriteError> + Send + 'static) -> Self {
        Self { snapshot, run: Box::new(run) }
    }

    /// The position of the snapshot that this writes, if it does.
    #[must_use]
    pub fn snapshot(&self) -> Option<Lsn> {
        self.snapshot
    }

    /// Does the work. The store learns of the outcome by itself, also of a job that is dropped instead.
    ///
    /// # Errors
    /// The same error that the store will meet; only a snapshot's is worth telling anybody.
    pub fn run(self) -> Result<(), WriteError> {
        (self.run)()
    }
}

impl fmt::Debug for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("snapshot", &self.snapshot).finish_non_exhaustive()
    }
}

/// Which implementation keeps a store directory. Written in the directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// [`LogStore`].
    Log,
    /// [`RedbStore`].
    Redb,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Log => "log",
            Self::Redb => "redb",
        })
    }
}

/// A text that names no kind of store.
#[derive(Debug, thiserror::Error)]
#[error("not a kind of store: expected `log` or `redb`")]
pub struct KindError;

impl FromStr for Kind {
    type Err = KindError;

    fn from_str(text: &str) -> Result<Self, KindError> {
        match text {
            "log" => Ok(Self::Log),
            "redb" => Ok(Self::Redb),
            _ => Err(KindError),
        }
    }
}

/// Opens the store in `dir`, or creates one there. `kind` is what a store to be created should be, and what an
/// existing one must be; `None` takes whatever is there, and creates a [`Kind::Log`].
///
/// # Errors
/// See [`OpenError`].
pub fn open(dir: &Path, kind: Option<Kind>) -> Result<Box<dyn Storage>, OpenError> {
    let found = identity::peek(dir)?;
    Ok(match kind.or(found).unwrap_or(Kind::Log) {
        Kind::Log => Box::new(LogStore::open(dir, LogOptions::default())?),
        Kind::Redb => Box::new(RedbStore::open(dir)?),
    })
}
