//! One process per store directory.
//!
//! The lock is the kernel's, on an open file: it ends with the process, however that ends. The file's content is
//! only there to tell people whose it is.

use std::fs::{File, TryLockError};
use std::io::{Read, Write};
use std::path::Path;

use super::error::{LoadError, OpenError};

pub(crate) const LOCK_FILE: &str = "lock";

/// Holds a directory until it is dropped.
#[derive(Debug)]
pub(crate) struct DirLock {
    file: File,
    /// Readers leave no trace.
    exclusive: bool,
}

impl DirLock {
    /// Takes the directory for this process alone.
    pub(crate) fn exclusive(dir: &Path) -> Result<Self, OpenError> {
        let path = dir.join(LOCK_FILE);
        let fail = |error| LoadError::io("lock", &path, error);
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(false);
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&path).map_err(fail)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Err(OpenError::InUse { dir: dir.to_owned(), pid: holder(&mut file) });
            }
            Err(TryLockError::Error(error)) => return Err(fail(error).into()),
        }
        file.set_len(0).map_err(fail)?;
        writeln!(file, "{}", std::process::id()).map_err(fail)?;
        Ok(Self { file, exclusive: true })
    }

    /// Keeps writers away while the directory is read. `None` if there is no lock file: nobody ever wrote here.
    pub(crate) fn shared(dir: &Path) -> Result<Option<Self>, OpenError> {
        let path = dir.join(LOCK_FILE);
        let fail = |error| LoadError::io("lock", &path, error);
        let mut file = match File::open(&path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(fail(error).into()),
        };
        match file.try_lock_shared() {
            Ok(()) => Ok(Some(Self { file, exclusive: false })),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse { dir: dir.to_owned(), pid: holder(&mut file) }),
            Err(TryLockError::Error(error)) => Err(fail(error).into()),
        }
    }
}

impl Drop for DirLock {
    fn drop(&mut self) {
        if self.exclusive {
            // A left-over number names at worst a process that does not live, which `holder` checks.
            let _ = self.file.set_len(0);
        }
        // Closing is not enough: a process that another thread has just forked keeps the file open until it runs its
        // own program, and the directory would be in use that long. If it fails, closing is what is left.
        let _ = self.file.unlock();
    }
}

/// Who holds the lock, if the file says so and that process lives.
fn holder(file: &mut File) -> Option<u32> {
    let mut text = String::new();
    file.take(32).read_to_string(&mut text).ok()?;
    let pid: u32 = text.trim().parse().ok()?;
    let raw = rustix::process::Pid::from_raw(i32::try_from(pid).ok()?)?;
    match rustix::process::test_kill_process(raw) {
        Ok(()) | Err(rustix::io::Errno::PERM) => Some(pid),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_given_back_though_a_forked_process_still_has_its_lock_file_open() {
        let dir = tempfile::tempdir().unwrap();
        let exclusive = DirLock::exclusive(dir.path()).unwrap();
        let _forked = exclusive.file.try_clone().unwrap();
        drop(exclusive);
        let shared = DirLock::shared(dir.path()).unwrap().unwrap();
        let _forked = shared.file.try_clone().unwrap();
        drop(shared);
        DirLock::exclusive(dir.path()).unwrap();
    }
}
