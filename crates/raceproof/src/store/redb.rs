//! The same store on a redb database: one durable transaction per flush.
//!
//! redb keeps its file whole over crashes, so there are no torn tails here. Its own checksums are only looked at
//! after a crash, so every record has one of ours.

use std::fmt;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use raceproof_core::id::Lsn;
use redb::{Database, ReadableDatabase, ReadableTable, ReadableTableMetadata, TableDefinition};

use super::disk::{Disk, OsDisk};
use super::error::{LoadError, OpenError, WriteError};
use super::identity::{self, Identity, StoreId};
use super::lock::DirLock;
use super::{Kind, Loaded, Storage, StorageStats};

/// The database's file.
pub(crate) const REDB_FILE: &str = "store.redb";
const LOG: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("log");
const SNAPSHOT: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("snapshot");

const SNAPSHOT_AFTER_BYTES: u64 = 8 << 20;
const CRC_BYTES: usize = 4;

/// A store in a redb database.
pub struct RedbStore {
    path: PathBuf,
    database: Database,
    pending: Vec<(Lsn, Vec<u8>)>,
    stats: Option<StorageStats>,
    failed: Option<WriteError>,
    /// Last, so that the directory is free only when the database is closed.
    _lock: DirLock,
}

impl RedbStore {
    /// Opens the store in `dir`, or makes one, with the directory if need be. `load` must follow.
    ///
    /// # Errors
    /// See [`OpenError`].
    pub fn open(dir: &Path) -> Result<Self, OpenError> {
        identity::make_dir(dir)?;
        let lock = DirLock::exclusive(dir)?;
        let disk = OsDisk::new(dir);
        let path = dir.join(REDB_FILE);
        match identity::read(&disk)? {
            Some(Identity { kind: Kind::Redb, .. }) => {}
            Some(Identity { kind: found, .. }) => {
                return Err(OpenError::OtherKind { dir: dir.to_owned(), found, wanted: Kind::Redb });
            }
            None => make(&disk, &path)?,
        }
        if !path.exists() {
            return Err(LoadError::Missing { path, detail: "it is the database".to_owned() }.into());
        }
        let database = Database::open(&path).map_err(|error| load_error(&path, error))?;
        Ok(Self { path, database, pending: Vec::new(), stats: None, failed: None, _lock: lock })
    }

    fn with<T>(
        &mut self,
        act: impl FnOnce(&mut Self, &mut StorageStats) -> Result<T, WriteError>,
    ) -> Result<T, WriteError> {
        if let Some(first) = &self.failed {
            return Err(first.clone().after());
        }
        let mut stats = self.stats.ok_or(WriteError::NotLoaded)?;
        let outcome = act(self, &mut stats);
        self.stats = Some(stats);
        outcome.inspect_err(|error| self.failed = Some(error.clone()))
    }

    fn commit(&mut self, stats: &mut StorageStats) -> Result<(), WriteError> {
        if self.pending.is_empty() {
            return Ok(());
        }
        write_records(&self.database, &self.pending).map_err(|error| write_error(&self.path, error))?;
        self.pending.clear();
        stats.flushed_lsn = stats.last_lsn;
        stats.flushes += 1;
        Ok(())
    }
}

/// Makes a store where none is. The identity is written last: without it, an empty database is the rest of an
/// attempt.
fn make(disk: &OsDisk, path: &Path) -> Result<(), OpenError> {
    let dir = disk.dir();
    // Made here, so that nobody else may read the session secrets in it.
    drop(disk.open(REDB_FILE).map_err(|error| LoadError::io("create", path, error))?);
    let database = Database::create(path).map_err(|error| load_error(path, error))?;
    create_tables(&database).map_err(|error| load_error(path, error))?;
    if read(&database, path)?.0.last_lsn() > Lsn::new(0) {
        let file = REDB_FILE.to_owned();
        return Err(OpenError::NoIdentity { dir: dir.to_owned(), file, identity: identity::IDENTITY_FILE });
    }
    disk.sync_dir().map_err(|error| LoadError::io("sync", dir, error))?;
    let id = StoreId::random().map_err(|error| LoadError::io("draw a random id for", dir, error))?;
    Ok(identity::write(disk, Identity { kind: Kind::Redb, id })?)
}

fn create_tables(database: &Database) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(LOG)?;
    transaction.open_table(SNAPSHOT)?;
    Ok(transaction.commit()?)
}

fn write_records(database: &Database, records: &[(Lsn, Vec<u8>)]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut table = transaction.open_table(LOG)?;
        for (lsn, cell) in records {
            table.insert(lsn.as_u64(), cell.as_slice())?;
        }
    }
    Ok(transaction.commit()?)
}

fn write_snapshot(database: &Database, lsn: Lsn, cell: &[u8]) -> Result<(), redb::Error> {
    let transaction = database.begin_write()?;
    {
        let mut snapshots = transaction.open_table(SNAPSHOT)?;
        snapshots.retain(|_, _| false)?;
        snapshots.insert(lsn.as_u64(), cell)?;
        transaction.open_table(LOG)?.retain_in(..=lsn.as_u64(), |_, _| false)?;
    }
    Ok(transaction.commit()?)
}

fn seal(lsn: Lsn, payload: &[u8]) -> Vec<u8> {
    let mut cell = Vec::with_capacity(CRC_BYTES + payload.len());
    cell.extend(crc(lsn, payload).to_le_bytes());
    cell.extend(payload);
    cell
}

fn unseal(lsn: Lsn, cell: &[u8]) -> Option<&[u8]> {
    let (found, payload) = cell.split_first_chunk::<CRC_BYTES>()?;
    (u32::from_le_bytes(*found) == crc(lsn, payload)).then_some(payload)
}

/// Over the position too: a record that turns up under another is not that record.
fn crc(lsn: Lsn, payload: &[u8]) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&lsn.as_u64().to_le_bytes());
    hasher.update(payload);
    hasher.finalize()
}

fn write_error(path: &Path, error: redb::Error) -> WriteError {
    match error {
        redb::Error::Io(error) => WriteError::io("write", path, error),
        error => WriteError::Database(Arc::new(error)),
    }
}

pub(crate) fn load_error(path: &Path, error: impl Into<redb::Error>) -> LoadError {
    match error.into() {
        redb::Error::Io(error) => LoadError::io("read", path, error),
        redb::Error::UpgradeRequired(found) => {
            corrupt(path, format!("a redb file of version {found}, which this redb does not read"))
        }
        error => corrupt(path, error.to_string()),
    }
}

fn corrupt(path: &Path, detail: String) -> LoadError {
    LoadError::Corrupt { path: path.to_owned(), offset: 0, detail }
}

/// Reads everything and checks it. Returns the bytes of the log with it.
pub(crate) fn read(database: &impl ReadableDatabase, path: &Path) -> Result<(Loaded, u64), LoadError> {
    let fail = |error: redb::Error| load_error(path, error);
    let transaction = database.begin_read().map_err(|error| fail(error.into()))?;
    let snapshots = transaction.open_table(SNAPSHOT).map_err(|error| fail(error.into()))?;
    let mut snapshot = None;
    for entry in snapshots.iter().map_err(|error| fail(error.into()))? {
        let (lsn, cell) = entry.map_err(|error| fail(error.into()))?;
        let lsn = Lsn::new(lsn.value());
        let payload = unseal(lsn, cell.value())
            .ok_or_else(|| corrupt(path, format!("the checksum of the snapshot of {lsn} is wrong")))?;
        snapshot = Some((lsn, payload.to_vec()));
    }
    let log = transaction.open_table(LOG).map_err(|error| fail(error.into()))?;
    let mut records = Vec::with_capacity(usize::try_from(log.len().map_err(|error| fail(error.into()))?).unwrap_or(0));
    let mut due = snapshot.as_ref().map_or(Lsn::new(0), |(lsn, _)| *lsn).next();
    let mut bytes = 0;
    let start = (Bound::Included(0), Bound::Unbounded);
    for entry in log.range::<u64>(start).map_err(|error| fail(error.into()))? {
        let (lsn, cell) = entry.map_err(|error| fail(error.into()))?;
        let lsn = Lsn::new(lsn.value());
        if lsn != due {
            return Err(corrupt(path, format!("record {lsn} where {due} is due")));
        }
        let payload =
            unseal(lsn, cell.value()).ok_or_else(|| corrupt(path, format!("the checksum of record {lsn} is wrong")))?;
        bytes += payload.len() as u64;
        records.push((lsn, payload.to_vec()));
        due = lsn.next();
    }
    Ok((Loaded { snapshot, records, torn: None }, bytes))
}

impl Storage for RedbStore {
    fn load(&mut self) -> Result<Loaded, LoadError> {
        let (loaded, log_bytes) = read(&self.database, &self.path)?;
        let last = loaded.last_lsn();
        self.stats = Some(StorageStats {
            last_lsn: last,
            flushed_lsn: last,
            snapshot_lsn: loaded.snapshot.as_ref().map_or(Lsn::new(0), |(lsn, _)| *lsn),
            snapshot_bytes: loaded.snapshot.as_ref().map_or(0, |(_, bytes)| bytes.len() as u64),
            records_since_snapshot: loaded.records.len() as u64,
            log_bytes_since_snapshot: log_bytes,
            ..StorageStats::default()
        });
        Ok(loaded)
    }

    fn append(&mut self, lsn: Lsn, record: &[u8]) -> Result<(), WriteError> {
        self.with(|store, stats| {
            let expected = stats.last_lsn.next();
            if lsn != expected {
                return Err(WriteError::OutOfOrder { expected, got: lsn });
            }
            store.pending.push((lsn, seal(lsn, record)));
            stats.last_lsn = lsn;
            stats.records_since_snapshot += 1;
            stats.log_bytes_since_snapshot += record.len() as u64;
            Ok(())
        })
    }

    fn flush(&mut self) -> Result<(), WriteError> {
        self.with(Self::commit)
    }

    fn install_snapshot(&mut self, lsn: Lsn, snapshot: &[u8]) -> Result<(), WriteError> {
        self.with(|store, stats| {
            if lsn > stats.last_lsn {
                return Err(WriteError::OutOfOrder { expected: stats.last_lsn, got: lsn });
            }
            store.commit(stats)?;
            if lsn <= stats.snapshot_lsn {
                return Ok(());
            }
            write_snapshot(&store.database, lsn, &seal(lsn, snapshot))
                .map_err(|error| write_error(&store.path, error))?;
            let records = stats.last_lsn.as_u64() - lsn.as_u64();
            // What follows the snapshot is not measured again: its share of the records is close enough.
            stats.log_bytes_since_snapshot =
                stats.log_bytes_since_snapshot * records / stats.records_since_snapshot.max(1);
            stats.records_since_snapshot = records;
            stats.snapshot_lsn = lsn;
            stats.snapshot_bytes = snapshot.len() as u64;
            stats.flushes += 1;
            Ok(())
        })
    }

    fn stats(&self) -> StorageStats {
        let mut stats = self.stats.unwrap_or_default();
        stats.bytes_on_disk = std::fs::metadata(&self.path).map_or(0, |file| file.len());
        stats.snapshot_wanted = stats.log_bytes_since_snapshot > SNAPSHOT_AFTER_BYTES.max(stats.snapshot_bytes);
        stats
    }
}

impl fmt::Debug for RedbStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedbStore").field("path", &self.path).finish_non_exhaustive()
    }
}
