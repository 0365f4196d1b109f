//! The newest token on disk: a record that is replaced as a whole, under a lock that dies with its process.
//!
//! | file | holds |
//! |---|---|
//! | `NAME.fence` | `raceproof-fence 1 TOKEN` and a newline |
//! | `NAME.fence-lock` | nothing; locked (`flock`) by whoever reads or replaces the record |
//! | `NAME.fence-next` | what becomes the record; left over after a crash, and overwritten |

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions, Permissions, TryLockError};
use std::io::{self, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use super::file::FileError;
use super::{Fence, Token};

/// What a record begins with; the number is the format's version.
const HEADER: &str = "raceproof-fence 1 ";
/// Between two looks at a lock that somebody has.
const RETRY_MAX: Duration = Duration::from_millis(20);

/// Where a record and its lock are.
#[derive(Clone, Debug)]
pub(super) struct Record {
    record: PathBuf,
    next: PathBuf,
    lock: PathBuf,
}

impl Record {
    /// The record of the file at `path`.
    pub(super) fn beside(path: &Path) -> Self {
        Self {
            record: with_suffix(path, ".fence"),
            next: with_suffix(path, ".fence-next"),
            lock: with_suffix(path, ".fence-lock"),
        }
    }

    /// Waits for the lock, at most `wait`.
    pub(super) fn lock(&self, wait: Duration) -> Result<Held<'_>, FileError> {
        let until = Instant::now() + wait;
        let mut retry = Duration::from_millis(1);
        loop {
            if let Some(lock) = self.try_lock()? {
                return Ok(Held { record: self, _lock: lock });
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(FileError::Busy { path: self.lock.clone(), waited: wait });
            }
            thread::sleep(retry.min(left));
            retry = (retry * 2).min(RETRY_MAX);
        }
    }

    fn try_lock(&self) -> Result<Option<File>, FileError> {
        let failed = FileError::io("lock", &self.lock);
        let mut options = OpenOptions::new();
        let file = match options.read(true).write(true).create(true).truncate(false).open(&self.lock) {
            Ok(file) => file,
            Err(error) => return Err(failed(error)),
        };
        match file.try_lock() {
            Ok(()) => match is_at(&file, &self.lock) {
                Ok(true) => Ok(Some(file)),
                // Somebody removed the lock between our opening and our locking it: whoever comes next locks another.
                Ok(false) => Ok(None),
                Err(error) => Err(failed(error)),
            },
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(failed(error)),
        }
    }

    fn newest(&self) -> Result<Token, FileError> {
        let text = match fs::read_to_string(&self.record) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Token::new(0)),
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(self.corrupt()),
            Err(error) => return Err(FileError::io("read", &self.record)(error)),
        };
        let token = text.strip_prefix(HEADER).and_then(|rest| rest.strip_suffix('\n')).and_then(super::parse);
        token.ok_or_else(|| self.corrupt())
    }

    fn corrupt(&self) -> FileError {
        FileError::Corrupt { path: self.record.clone() }
    }
}

/// A locked record.
#[derive(Debug)]
pub(super) struct Held<'a> {
    record: &'a Record,
    /// Closing it unlocks it.
    _lock: File,
}

impl Held<'_> {
    /// The newest token; 0 is "none".
    pub(super) fn newest(&self) -> Result<Token, FileError> {
        self.record.newest()
    }

    /// Admits a token, and has it on disk before it returns.
    pub(super) fn check(&self, token: Token) -> Result<(), FileError> {
        let newest = self.record.newest()?;
        Fence::restore(newest, Token::new(0)).check(token)?;
        if token > newest {
            let text = format!("{HEADER}{token}\n");
            replace(&self.record.record, &self.record.next, text.as_bytes())?;
        }
        Ok(())
    }
}

/// Replaces the file at `path` as a whole, by way of `next` beside it, and has it on disk before it returns.
pub(super) fn replace(path: &Path, next: &Path, bytes: &[u8]) -> Result<(), FileError> {
    let permissions = fs::metadata(path).ok().map(|metadata| metadata.permissions());
    write_whole(next, bytes, permissions).map_err(FileError::io("write", next))?;
    fs::rename(next, path).map_err(FileError::io("replace", path))?;
    sync_directory(path).map_err(FileError::io("flush the directory of", path))
}

fn write_whole(path: &Path, bytes: &[u8], permissions: Option<Permissions>) -> io::Result<()> {
    let mut file = File::create(path)?;
    if let Some(permissions) = permissions {
        file.set_permissions(permissions)?;
    }
    file.write_all(bytes)?;
    file.sync_all()
}

/// A rename is on disk when its directory is.
#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "directories cannot be flushed here")]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

/// Whether an open file is the one that its path names.
#[cfg(unix)]
fn is_at(file: &File, path: &Path) -> io::Result<bool> {
    use std::os::unix::fs::MetadataExt;
    let open = file.metadata()?;
    match fs::metadata(path) {
        Ok(named) => Ok((open.dev(), open.ino()) == (named.dev(), named.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "an open file cannot be removed here")]
fn is_at(_file: &File, _path: &Path) -> io::Result<bool> {
    Ok(true)
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    PathBuf::from(name)
}
