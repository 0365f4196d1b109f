//! A disk under the hub's log: what is written is durable once a flush that began later has ended, and a crash keeps
//! any prefix of the rest (a torn record is no record, which is the store's business to see).

use raceproof_core::hub::{Record, Snapshot};
use raceproof_core::id::Lsn;

/// A snapshot with its position, and the records behind it.
pub type Loaded = (Option<(Lsn, Snapshot)>, Vec<(Lsn, Record)>);

/// A disk.
#[derive(Debug, Default)]
pub struct Disk {
    snapshot: Option<(Lsn, Vec<u8>)>,
    records: Vec<(Lsn, Vec<u8>)>,
    /// How many of the records survive any crash.
    durable: usize,
    /// A snapshot that is being written, and the flush that is under way.
    snapshot_written: Option<(Lsn, Vec<u8>)>,
    flushing: Option<usize>,
}

impl Disk {
    /// Writes a record.
    pub fn append(&mut self, lsn: Lsn, record: &Record) {
        self.records.push((lsn, record.to_bytes()));
    }

    /// Begins to flush everything that was written.
    pub fn begin_flush(&mut self) {
        self.flushing = Some(self.records.len());
    }

    /// Whether a flush is under way.
    #[must_use]
    pub const fn is_flushing(&self) -> bool {
        self.flushing.is_some()
    }

    /// Whether everything that was written is durable.
    #[must_use]
    pub const fn is_clean(&self) -> bool {
        self.durable == self.records.len()
    }

    /// Ends the flush. Everything up to the position that it gives is durable.
    pub fn end_flush(&mut self) -> Option<Lsn> {
        self.durable = self.durable.max(self.flushing.take()?);
        self.records.get(self.durable.checked_sub(1)?).map(|(lsn, _)| *lsn)
    }

    /// Begins to write a snapshot.
    pub fn begin_snapshot(&mut self, lsn: Lsn, snapshot: &Snapshot) {
        self.snapshot_written = Some((lsn, snapshot.to_bytes()));
    }

    /// Whether a snapshot is being written.
    #[must_use]
    pub const fn is_writing_snapshot(&self) -> bool {
        self.snapshot_written.is_some()
    }

    /// Ends the snapshot: it takes the place of the records up to its position, which is durable.
    pub fn end_snapshot(&mut self) -> Option<Lsn> {
        let (lsn, bytes) = self.snapshot_written.take()?;
        let replaced = self.records.iter().take_while(|(at, _)| *at <= lsn).count();
        self.records.drain(..replaced);
        self.durable = self.durable.saturating_sub(replaced);
        self.flushing = self.flushing.map(|until| until.saturating_sub(replaced));
        self.snapshot = Some((lsn, bytes));
        Some(lsn)
    }

    /// Crashes. Of the records that are not durable the first `kept` of every 256 survive.
    pub fn crash(&mut self, kept: u8) {
        let loose = self.records.len().saturating_sub(self.durable);
        self.records.truncate(self.durable + loose * usize::from(kept) / 255);
        self.durable = self.records.len();
        self.flushing = None;
        self.snapshot_written = None;
    }

    /// Reads everything back.
    #[must_use]
    pub fn load(&self) -> Loaded {
        let read = |(lsn, bytes): &(Lsn, Vec<u8>)| (*lsn, Snapshot::from_bytes(bytes).expect("it was written so"));
        let snapshot = self.snapshot.as_ref().map(read);
        let records = self.records.iter().map(|(lsn, b)| (*lsn, Record::from_bytes(b).expect("it was written so")));
        (snapshot, records.collect())
    }

    /// How many records and snapshot bytes there are.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.records.len(), self.snapshot.as_ref().map_or(0, |(_, bytes)| bytes.len()))
    }
}
