//! Fences in a directory: one record per resource, shared by the processes of a machine, kept across crashes.

use std::fmt::Write;
use std::path::PathBuf;
use std::time::Duration;

use super::file::{FencedFile, FileError};
use super::record::Record;
use super::{CheckError, FenceStore, Token};

/// How long the name of a record's file may be, so that its suffix fits within what file systems take.
const NAME_MAX: usize = 240;

/// A [`FenceStore`] on disk.
///
/// A token that is admitted for the first time costs two flushes; one that was admitted before costs none.
#[derive(Clone, Debug)]
pub struct DirectoryFences {
    directory: PathBuf,
}

/// Why a directory could not say whether a token is stale.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DirectoryError {
    /// The resource's name does not fit into a file's name.
    #[error("the resource's name is too long: it takes {bytes} bytes as a file's name, and {NAME_MAX} fit")]
    NameTooLong {
        /// Its length as a file's name.
        bytes: usize,
    },
    /// The record could not be read, locked or replaced.
    #[error(transparent)]
    File(#[from] FileError),
    /// The runtime is shutting down.
    #[error("the check was not run: the runtime is shutting down")]
    NotRun,
}

impl DirectoryFences {
    /// Keeps records in a directory that exists.
    #[must_use]
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        Self { directory: directory.into() }
    }

    /// [`FenceStore::check`], blocking, with a limit to the wait for another process.
    ///
    /// # Errors
    /// As there.
    pub fn check_blocking(
        &self,
        resource: &str,
        token: Token,
        wait: Duration,
    ) -> Result<(), CheckError<DirectoryError>> {
        let name = file_name(resource);
        if name.len() > NAME_MAX {
            return Err(CheckError::Store(DirectoryError::NameTooLong { bytes: name.len() }));
        }
        let record = Record::beside(&self.directory.join(name));
        match record.lock(wait).and_then(|held| held.check(token)) {
            Ok(()) => Ok(()),
            Err(FileError::Stale(stale)) => Err(CheckError::Stale(stale)),
            Err(error) => Err(CheckError::Store(error.into())),
        }
    }
}

impl FenceStore for DirectoryFences {
    type Error = DirectoryError;

    async fn check(&self, resource: &str, token: Token) -> Result<(), CheckError<DirectoryError>> {
        let (fences, resource) = (self.clone(), resource.to_owned());
        let check = move || fences.check_blocking(&resource, token, FencedFile::LOCK_WAIT);
        match tokio::task::spawn_blocking(check).await {
            Ok(outcome) => outcome,
            Err(_cancelled) => Err(CheckError::Store(DirectoryError::NotRun)),
        }
    }
}

/// A name that no file system reads anything into: what is not a lower-case letter, a digit, `-` or `_` is escaped.
fn file_name(resource: &str) -> String {
    // So that the empty name has a file, too.
    let mut name = String::from("r-");
    for byte in resource.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => name.push(char::from(byte)),
            _ => {
                let _never_fails = write!(name, "%{byte:02x}");
            }
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_told_apart_and_stay_in_the_directory() {
        let names = ["", ".", "..", "a", "A", "a/b", "a%2fb", "ä", "a\0b", "x.fence"];
        let files: std::collections::BTreeSet<String> = names.iter().map(|name| file_name(name)).collect();
        assert_eq!(files.len(), names.len());
        assert!(files.iter().all(|file| !file.contains(['/', '.', '\0'])));
    }

    #[tokio::test]
    async fn l9_a_directory_remembers_across_openings() {
        let dir = tempfile::tempdir().unwrap();
        DirectoryFences::new(dir.path()).check("orders/7", Token::new(6)).await.unwrap();
        let reopened = DirectoryFences::new(dir.path());
        let refused = reopened.check("orders/7", Token::new(5)).await;
        assert!(matches!(refused, Err(CheckError::Stale(stale)) if stale.newest == Token::new(6)));
        reopened.check("orders/8", Token::new(5)).await.unwrap();
    }

    #[tokio::test]
    async fn a_name_that_does_not_fit_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let refused = DirectoryFences::new(dir.path()).check(&"/".repeat(100), Token::new(1)).await;
        assert!(matches!(refused, Err(CheckError::Store(DirectoryError::NameTooLong { bytes: 302 }))));
    }
}
