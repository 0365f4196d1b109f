//! The few file operations that a store needs, so that tests can crash between any two of them.

mod os;
mod sim;

use std::io;
use std::path::PathBuf;

pub use self::os::OsDisk;
pub use self::sim::{SimDisk, SimFault};

/// A directory without sub-directories.
pub trait Disk: Send + Sync + 'static {
    /// The path of a file, for messages.
    fn path(&self, name: &str) -> PathBuf;

    /// The names of all files, in no order.
    ///
    /// # Errors
    /// The system's.
    fn list(&self) -> io::Result<Vec<String>>;

    /// A file's whole content.
    ///
    /// # Errors
    /// The system's.
    fn read(&self, name: &str) -> io::Result<Vec<u8>>;

    /// A file's size in bytes.
    ///
    /// # Errors
    /// The system's.
    fn size(&self, name: &str) -> io::Result<u64>;

    /// Opens a file for writing, and makes it if it is not there.
    ///
    /// # Errors
    /// The system's.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, in place of what had that name.
    ///
    /// # Errors
    /// The system's.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// The system's.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Returns when all names that were made, changed and removed are durable.
    ///
    /// # Errors
    /// The system's.
    fn sync_dir(&self) -> io::Result<()>;
}

/// A file that is open for writing.
pub trait DiskFile: Send {
    /// Writes all of `bytes` at `offset`.
    ///
    /// # Errors
    /// The system's; some of the bytes may be written.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;

    /// Cuts the file off at `bytes`, or extends it with zeros.
    ///
    /// # Errors
    /// The system's.
    fn set_size(&self, bytes: u64) -> io::Result<()>;

    /// Returns when everything written to the file is durable.
    ///
    /// # Errors
    /// The system's. What is on disk is then unknown, and a second call that succeeds says nothing about it.
    fn sync(&self) -> io::Result<()>;
}
