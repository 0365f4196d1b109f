//! What can go wrong with a store, one enum per operation.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raceproof_core::id::Lsn;

use super::Kind;

/// Why a store directory could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Another process, or another store of this one, holds the directory.
    #[error("{} is in use{}", .dir.display(), pid_text(*.pid))]
    InUse {
        /// The store's directory.
        dir: PathBuf,
        /// The process that holds it, where it is known and alive.
        pid: Option<u32>,
    },
    /// The directory holds a store of another kind than was asked for.
    #[error("{} holds a store of kind {found}, not {wanted}", .dir.display())]
    OtherKind {
        /// The store's directory.
        dir: PathBuf,
        /// The kind that is written in the directory.
        found: Kind,
        /// The kind that was asked for.
        wanted: Kind,
    },
    /// The directory has files of a store, but not the one that says which store it is.
    #[error("{} has {file} but no {identity}: it is not a whole store", .dir.display())]
    NoIdentity {
        /// The directory.
        dir: PathBuf,
        /// A file that was found.
        file: String,
        /// The file that is missing.
        identity: &'static str,
    },
    /// The files could not be read, or are damaged, or of a newer format.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// The first files of the store could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl OpenError {
    /// What a person can do about it, as a sentence; `None` where the message says it all.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::InUse { .. } => Some("stop that process, or give this one a data directory of its own"),
            Self::OtherKind { .. } => Some("open it with the kind it has, or give a directory of its own"),
            Self::NoIdentity { .. } => Some("restore the missing file from a copy, or give another directory"),
            Self::Load(error) => error.advice(),
            Self::Write(_) => None,
        }
    }
}

fn pid_text(pid: Option<u32>) -> String {
    pid.map_or_else(|| " by another process".to_owned(), |pid| format!(" by process {pid}"))
}

/// Why the content of a store could not be loaded. Nothing was changed on disk.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The operating system refused a read or, while a torn tail was cut off, a write.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// What was being done, as a verb.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// The file was written by a later Raceproof.
    #[error("{}: format version {found}, this program reads up to {supported}", .path.display())]
    NewerFormat {
        /// The file.
        path: PathBuf,
        /// The version it is of.
        found: u32,
        /// The newest version that can be read.
        supported: u32,
    },
    /// Something that was safely on disk is damaged.
    #[error("{}: damaged at byte {offset}: {detail}", .path.display())]
    Corrupt {
        /// The file.
        path: PathBuf,
        /// Where in it.
        offset: u64,
        /// What is wrong there.
        detail: String,
    },
    /// A file that must be there is not.
    #[error("{} is missing: {detail}", .path.display())]
    Missing {
        /// The file.
        path: PathBuf,
        /// How it is known that it must be there.
        detail: String,
    },
    /// An injected fault, or a medium that is gone.
    #[error("the store is gone: {detail}")]
    Gone {
        /// What happened to it.
        detail: String,
    },
}

impl LoadError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { doing, path: path.to_owned(), source }
    }

    /// What a person can do about it, as a sentence; `None` where the message says it all.
    #[must_use]
    pub fn advice(&self) -> Option<&'static str> {
        match self {
            Self::NewerFormat { .. } => Some("start the version of Raceproof that wrote this store, or a later one"),
            Self::Corrupt { .. } | Self::Missing { .. } => Some(
                "nothing was changed; `raceproof store check DIR` lists all that is wrong; restore the directory from \
                 a copy, or move it away and start empty (tokens then start over: reset what remembers old ones)",
            ),
            Self::Io { .. } | Self::Gone { .. } => None,
        }
    }
}

/// Why a write to a store failed.
///
/// After any of these except [`Self::Full`] from a snapshot, the store refuses every later write with
/// [`Self::FailedBefore`]: what an fsync that failed left on disk is not known, and asking again would hide it.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The operating system refused.
    #[error("cannot {doing} {}", .path.display())]
    Io {
        /// What was being done, as a verb.
        doing: &'static str,
        /// The file or directory.
        path: PathBuf,
        /// The system's error.
        source: Arc<io::Error>,
    },
    /// The disk, or the quota, is full, and the store's reserve is used up.
    #[error("no space left to {doing} {}", .path.display())]
    Full {
        /// What was being done, as a verb.
        doing: &'static str,
        /// The file.
        path: PathBuf,
    },
    /// The record or snapshot is larger than the store takes.
    #[error("{bytes} bytes, the limit is {bytes_max}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// The limit.
        bytes_max: u64,
    },
    /// A record that does not follow the last one, or a snapshot of what was never appended.
    #[error("log position {got} where {expected} follows")]
    OutOfOrder {
        /// The position that was due, or the newest that could be.
        expected: Lsn,
        /// The position that was given.
        got: Lsn,
    },
    /// `load` must come first: it finds where the log ends.
    #[error("the store was not loaded")]
    NotLoaded,
    /// A write failed earlier, and nothing after it is accepted.
    #[error("the store failed earlier")]
    FailedBefore {
        /// The first failure.
        #[source]
        first: Arc<Self>,
    },
    /// The database underneath refused.
    #[error("the database failed")]
    Database(#[source] Arc<redb::Error>),
    /// The thread that writes is gone.
    #[error("the writer thread ended")]
    WriterGone,
}

impl WriteError {
    pub(crate) fn io(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let path = path.to_owned();
        match source.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::Full { doing, path },
            _ => Self::Io { doing, path, source: Arc::new(source) },
        }
    }

    pub(crate) fn after(self) -> Self {
        match self {
            Self::FailedBefore { .. } => self,
            first => Self::FailedBefore { first: Arc::new(first) },
        }
    }

    /// Whether the disk is full, as opposed to broken.
    #[must_use]
    pub fn is_full(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::FailedBefore { first } => first.is_full(),
            _ => false,
        }
    }
}
