//! Verifies a store directory without changing it.

use std::path::{Path, PathBuf};

use raceproof_core::id::Lsn;
use redb::StorageBackend;
use redb::backends::InMemoryBackend;

use super::disk::OsDisk;
use super::error::{LoadError, OpenError};
use super::identity::{self, IDENTITY_FILE, Identity};
use super::lock::DirLock;
use super::log::FORMAT;
use super::redb::REDB_FILE;
use super::{Kind, Loaded, TornTail, log, redb as redb_store};

/// What a check found.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The store's kind.
    pub kind: Kind,
    /// The version of its format.
    pub format: u32,
    /// The position and size in bytes of the snapshot.
    pub snapshot: Option<(Lsn, u64)>,
    /// Records behind the snapshot that are good.
    pub records: u64,
    /// Their size in bytes, without what frames them.
    pub record_bytes: u64,
    /// The last good record in sequence, or what the snapshot stands for.
    pub last_lsn: Lsn,
    /// All files together.
    pub bytes_on_disk: u64,
    /// What a crash left of a write that nobody was told of. Opening the store cuts it off; nothing is wrong.
    pub torn: Option<TornTail>,
    /// Everything that is wrong, the reason why the store does not open first. Empty for a good store.
    pub findings: Vec<Finding>,
}

/// Something that is wrong with a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The file.
    pub path: PathBuf,
    /// Where in it.
    pub offset: u64,
    /// What is wrong there.
    pub detail: String,
}

/// Why a store could not be checked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError {
    /// There is no store in the directory.
    #[error("{} holds no store", .dir.display())]
    NoStore {
        /// The directory.
        dir: PathBuf,
    },
    /// In use, unreadable, or of a newer format.
    #[error(transparent)]
    Open(#[from] OpenError),
}

impl From<LoadError> for CheckError {
    fn from(error: LoadError) -> Self {
        Self::Open(error.into())
    }
}

impl Report {
    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_good(&self) -> bool {
        self.findings.is_empty()
    }

    fn take(&mut self, loaded: &Loaded) {
        self.snapshot = loaded.snapshot.as_ref().map(|(lsn, bytes)| (*lsn, bytes.len() as u64));
        self.records = loaded.records.len() as u64;
        self.record_bytes = loaded.records.iter().map(|(_, bytes)| bytes.len() as u64).sum();
        self.last_lsn = loaded.last_lsn();
        self.torn.clone_from(&loaded.torn);
    }

    pub(crate) fn add(&mut self, finding: Finding) {
        let known = self.findings.iter().any(|known| known.path == finding.path && known.offset == finding.offset);
        if !known {
            self.findings.push(finding);
        }
    }
}

/// Verifies the store in `dir`: headers, every checksum, that no position is missing, the snapshot. Nothing is
/// changed, and a server that starts meanwhile finds the directory in use.
///
/// # Errors
/// [`OpenError::InUse`] if a server has the directory; [`CheckError::NoStore`]; a newer format. Damage is not an
/// error but a [`Finding`].
pub fn check(dir: &Path) -> Result<Report, CheckError> {
    let disk = OsDisk::new(dir);
    let lock = DirLock::shared(dir)?;
    let identity = match identity::read(&disk) {
        Ok(Some(identity)) => identity,
        Ok(None) if lock.is_none() => return Err(CheckError::NoStore { dir: dir.to_owned() }),
        Ok(None) => {
            let path = dir.join(IDENTITY_FILE);
            return Err(LoadError::Missing { path, detail: "it says which store this is".to_owned() }.into());
        }
        Err(error) => return Err(error.into()),
    };
    let mut report = Report {
        kind: identity.kind,
        format: FORMAT,
        snapshot: None,
        records: 0,
        record_bytes: 0,
        last_lsn: Lsn::new(0),
        bytes_on_disk: bytes_on_disk(dir)?,
        torn: None,
        findings: Vec::new(),
    };
    let verdict = match identity.kind {
        Kind::Log => log::survey(&disk, identity.id).map(|survey| survey.loaded),
        Kind::Redb => check_redb(dir),
    };
    match verdict {
        Ok(loaded) => report.take(&loaded),
        Err(LoadError::Corrupt { path, offset, detail }) => report.add(Finding { path, offset, detail }),
        Err(LoadError::Missing { path, detail }) => {
            report.add(Finding { path, offset: 0, detail: format!("missing: {detail}") });
        }
        Err(error) => return Err(error.into()),
    }
    if let Identity { kind: Kind::Log, id } = identity
        && !report.is_good()
    {
        log::inspect(&disk, id, &mut report)?;
    }
    Ok(report)
}

fn check_redb(dir: &Path) -> Result<Loaded, LoadError> {
    let path = dir.join(REDB_FILE);
    if !path.exists() {
        return Err(LoadError::Missing { path, detail: "it is the database".to_owned() });
    }
    let fail = |error| LoadError::io("read", &path, error);
    // redb repairs a file whose process was killed before it reads it, so it gets a copy.
    let bytes = std::fs::read(&path).map_err(fail)?;
    let copy = InMemoryBackend::new();
    copy.set_len(bytes.len() as u64).and_then(|()| copy.write(0, &bytes)).map_err(fail)?;
    drop(bytes);
    let database = redb::Database::builder().create_with_backend(copy);
    let mut database = database.map_err(|error| redb_store::load_error(&path, error))?;
    if !database.check_integrity().map_err(|error| redb_store::load_error(&path, error))? {
        let detail = "the checksums of the database itself do not hold".to_owned();
        return Err(LoadError::Corrupt { path, offset: 0, detail });
    }
    Ok(redb_store::read(&database, &path)?.0)
}

fn bytes_on_disk(dir: &Path) -> Result<u64, LoadError> {
    let sum = || -> std::io::Result<u64> {
        let mut bytes = 0;
        for entry in std::fs::read_dir(dir)? {
            bytes += entry?.metadata()?.len();
        }
        Ok(bytes)
    };
    sum().map_err(|error| LoadError::io("list", dir, error))
}
