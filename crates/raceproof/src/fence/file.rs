//! A file that is written only under a fence.
//!
//! Owns: the order of a write (lock, compare, remember, replace), each step on disk before the next. Refuses: a stale
//! token, from any process and after any crash (L9), and a record that it cannot read.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::record::{self, Record};
use super::{Stale, Token};

/// A file that refuses a stale holder's write.
///
/// Beside `NAME` it keeps `NAME.fence` (the newest token) and `NAME.fence-lock`. Everybody who writes has to go through
/// a guard; readers need none, and always see a whole write. The calls block: in async code, run them with
/// `tokio::task::spawn_blocking`.
///
/// Keep it on a local disk, or on a network file system whose locks you trust.
///
/// ```
/// # let dir = tempfile::tempdir()?;
/// use raceproof::fence::{Token, file::{FencedFile, FileError}};
///
/// let file = FencedFile::new(dir.path().join("deployed"))?;
/// file.write(Token::new(7), b"v7")?;
/// file.write(Token::new(8), b"v8")?;
///
/// let late = file.write(Token::new(7), b"v7 again");
/// assert!(matches!(late, Err(FileError::Stale(stale)) if stale.newest == Token::new(8)));
/// assert_eq!(std::fs::read(dir.path().join("deployed"))?, b"v8");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct FencedFile {
    path: PathBuf,
    next: PathBuf,
    record: Record,
    lock_wait: Duration,
}

/// Why a file was not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// A newer token was admitted before. Nothing was written.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// Somebody is in the middle of a write, perhaps frozen. Nothing was written.
    #[error("{} is locked by another writer, after a wait of {waited:?}", path.display())]
    Busy {
        /// The lock.
        path: PathBuf,
        /// How long was waited.
        waited: Duration,
    },
    /// The record is none. Nothing was written, and nothing will be until it is mended: write the newest token that
    /// was granted into it.
    #[error("{} is not a fence record", path.display())]
    Corrupt {
        /// The record.
        path: PathBuf,
    },
    /// The operating system refused. The token may have been remembered, and if the step was the last one the write
    /// may have happened.
    #[error("could not {step} {}", path.display())]
    Io {
        /// What was tried.
        step: &'static str,
        /// On which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
}

impl FileError {
    pub(super) fn io(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_path_buf();
        move |source| Self::Io { step, path, source }
    }
}

impl FencedFile {
    /// How long a write waits for another one, unless told otherwise.
    pub const LOCK_WAIT: Duration = Duration::from_secs(10);

    /// Guards the file at `path`, which need not exist. A symbolic link is followed, so that every name of a file has
    /// the same fence.
    ///
    /// # Errors
    /// [`FileError::Io`] if the path cannot be resolved.
    pub fn new(path: impl Into<PathBuf>) -> Result<Self, FileError> {
        let path = resolve(path.into())?;
        let next = record::with_suffix(&path, ".next");
        let record = Record::beside(&path);
        Ok(Self { path, next, record, lock_wait: Self::LOCK_WAIT })
    }

    /// Sets how long a write waits for another one. Default: 10 s.
    #[must_use]
    pub const fn lock_wait(mut self, wait: Duration) -> Self {
        self.lock_wait = wait;
        self
    }

    /// Shuts out everybody older, and writes nothing. A holder that reads before it writes calls this before it reads.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn claim(&self, token: Token) -> Result<(), FileError> {
        self.record.lock(self.lock_wait)?.check(token)
    }

    /// Replaces the content. It is on disk when this returns.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn write(&self, token: Token, content: &[u8]) -> Result<(), FileError> {
        let held = self.record.lock(self.lock_wait)?;
        // The token goes to disk before the content: after a crash in between, an older holder is refused already.
        held.check(token)?;
        record::replace(&self.path, &self.next, content)
    }

    /// Replaces the content by what `change` makes of it; `None` is "there is no file". Nobody else writes meanwhile.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn update(&self, token: Token, change: impl FnOnce(Option<Vec<u8>>) -> Vec<u8>) -> Result<(), FileError> {
        let held = self.record.lock(self.lock_wait)?;
        held.check(token)?;
        let content = change(self.read()?);
        record::replace(&self.path, &self.next, &content)
    }

    /// The content; `None` if there is no file.
    ///
    /// # Errors
    /// [`FileError::Io`].
    pub fn read(&self) -> Result<Option<Vec<u8>>, FileError> {
        match fs::read(&self.path) {
            Ok(content) => Ok(Some(content)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(FileError::io("read", &self.path)(error)),
        }
    }

    /// The newest token that was admitted; `None` before the first.
    ///
    /// # Errors
    /// See [`FileError`].
    pub fn newest(&self) -> Result<Option<Token>, FileError> {
        let newest = self.record.lock(self.lock_wait)?.newest()?;
        Ok((newest > Token::new(0)).then_some(newest))
    }
}

fn resolve(path: PathBuf) -> Result<PathBuf, FileError> {
    match fs::canonicalize(&path) {
        Ok(resolved) => Ok(resolved),
        // It is yet to be written.
        Err(error) if error.kind() == ErrorKind::NotFound && !path.is_symlink() => {
            std::path::absolute(&path).map_err(FileError::io("find", &path))
        }
        Err(error) => Err(FileError::io("find", &path)(error)),
    }
}
