//! A log that was loaded: where the next record goes, what is ready, what is under way.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use raceproof_core::id::Lsn;

use super::LogOptions;
use super::format::{Frames, SEGMENT_HEADER_BYTES};
use super::jobs::{Done, Slot, Spare, Task, Ticket, make_spare};
use super::names::{FileName, segment_name};
use super::survey::{Survey, SurveyedSegment};
use crate::store::disk::{Disk, DiskFile};
use crate::store::error::{LoadError, WriteError};
use crate::store::identity::StoreId;
use crate::store::{Loaded, StorageStats};

/// After a full disk, so many flushes pass before space is asked for again.
const RETRY_FLUSHES: u64 = 256;

/// A loaded log.
pub(super) struct Log {
    disk: Arc<dyn Disk>,
    id: StoreId,
    options: LogOptions,
    /// Those behind the snapshot; the last is the one that is written to.
    segments: VecDeque<Segment>,
    active: Active,
    /// Frames that were appended and not written.
    buffer: Vec<u8>,
    last: Lsn,
    flushed: Lsn,
    /// What the last mark on disk says.
    marked: Lsn,
    spares: VecDeque<Spare>,
    /// Files whose space may be used again.
    retired: VecDeque<(String, u64)>,
    snapshot: Installed,
    pending: Option<Pending>,
    reserve_bytes: Option<u64>,
    slot: Slot,
    under_way: UnderWay,
    log_bytes: u64,
    flushes: u64,
    /// The disk was full; not before this many flushes is more space asked for.
    retry_at_flush: Option<u64>,
    /// A snapshot failed; not before the log has this many bytes is another wanted.
    retry_at_log_bytes: u64,
}

struct Segment {
    seq: u64,
    first_lsn: Lsn,
    bytes: u64,
}

#[derive(Default)]
struct Installed {
    lsn: Lsn,
    payload_bytes: u64,
    /// What the log held when it was begun.
    log_bytes: u64,
}

struct Pending {
    lsn: Lsn,
    payload: Vec<u8>,
}

/// The job that was handed out.
#[derive(PartialEq, Eq, Clone, Copy)]
enum UnderWay {
    Nothing,
    Spare,
    Reserve,
    Snapshot { seq: u64, log_bytes: u64 },
    Remove,
}

/// The segment that is written to.
struct Active {
    file: Box<dyn DiskFile>,
    frames: Frames,
    seq: u64,
    at: u64,
    bytes: u64,
    path: PathBuf,
}

impl Log {
    pub(super) fn new(
        disk: Arc<dyn Disk>,
        id: StoreId,
        options: LogOptions,
        survey: Survey,
    ) -> Result<(Self, Loaded), LoadError> {
        let retired = clean_up(disk.as_ref(), &survey.leftovers)?;
        let last = survey.loaded.last_lsn();
        let settled = survey.segments.iter().all(|segment| segment.unproven.is_none()) && survey.loaded.torn.is_none();
        let mut segments = VecDeque::new();
        let mut spares = VecDeque::new();
        let mut active = None;
        for (index, segment) in survey.segments.iter().enumerate() {
            let name = segment_name(segment.seq);
            let open = || disk.open(&name).map_err(|error| LoadError::io("open", &disk.path(&name), error));
            if index <= survey.active {
                segments.push_back(Segment { seq: segment.seq, first_lsn: segment.first_lsn, bytes: segment.bytes });
            }
            if index == survey.active {
                active = Some(Active::at_end(disk.as_ref(), id, segment, open()?));
            } else if index > survey.active {
                spares.push_back(Spare { seq: segment.seq, bytes: segment.bytes, file: open()? });
            }
        }
        let log = Self {
            active: active.expect("a survey has the segment that it calls active"),
            disk,
            id,
            options,
            segments,
            buffer: Vec::new(),
            last,
            flushed: last,
            marked: if settled { last } else { Lsn::new(0) },
            spares,
            retired,
            snapshot: Installed {
                lsn: survey.snapshot.map_or(Lsn::new(0), |header| header.lsn),
                payload_bytes: survey.snapshot.map_or(0, |header| header.payload_bytes),
                log_bytes: 0,
            },
            pending: None,
            reserve_bytes: survey.reserve_bytes,
            slot: Slot::default(),
            under_way: UnderWay::Nothing,
            log_bytes: survey.log_bytes,
            flushes: 0,
            retry_at_flush: None,
            retry_at_log_bytes: 0,
        };
        Ok((log, survey.loaded))
    }

    pub(super) fn append(&mut self, lsn: Lsn, record: &[u8]) -> Result<(), WriteError> {
        let expected = self.last.next();
        if lsn != expected {
            return Err(WriteError::OutOfOrder { expected, got: lsn });
        }
        let (bytes, bytes_max) = (record.len() as u64, self.options.record_bytes_max());
        if bytes > bytes_max {
            return Err(WriteError::TooLarge { bytes, bytes_max });
        }
        let frame_bytes = Frames::bytes(record.len()) as u64;
        if self.active.at + self.buffer.len() as u64 + frame_bytes > self.active.bytes {
            self.roll(frame_bytes)?;
        }
        self.active.frames.encode(&mut self.buffer, lsn, self.flushed, record);
        self.log_bytes += frame_bytes;
        self.last = lsn;
        Ok(())
    }

    pub(super) fn flush(&mut self) -> Result<(), WriteError> {
        if !self.buffer.is_empty() {
            self.active.write(&self.buffer)?;
            self.buffer.clear();
            self.active.sync()?;
            self.flushed = self.last;
            self.flushes += 1;
        }
        Ok(())
    }

    /// Notes how far the log is durable, if the disk does not say so yet. It is not waited for.
    pub(super) fn mark(&mut self) -> Result<(), WriteError> {
        let fits = self.active.at + Frames::bytes(0) as u64 <= self.active.bytes;
        if self.marked < self.flushed && self.buffer.is_empty() && fits {
            self.active.frames.encode(&mut self.buffer, self.flushed, self.flushed, &[]);
            self.active.write(&self.buffer)?;
            self.buffer.clear();
            self.marked = self.flushed;
        }
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), WriteError> {
        self.active.sync()
    }

    /// Goes on in the next segment, which has room for a frame of this size. Everything before is made durable first, so
    /// that a record in a later segment proves it.
    fn roll(&mut self, frame_bytes: u64) -> Result<(), WriteError> {
        self.flush()?;
        let spare = self.spare(SEGMENT_HEADER_BYTES as u64 + frame_bytes)?;
        self.segments.push_back(Segment { seq: spare.seq, first_lsn: self.last.next(), bytes: spare.bytes });
        self.active = Active::empty(self.disk.as_ref(), self.id, spare);
        Ok(())
    }

    fn spare(&mut self, bytes_min: u64) -> Result<Spare, WriteError> {
        self.absorb()?;
        let fits = |spare: &mut Spare| spare.bytes >= bytes_min;
        while !self.spares.front_mut().is_some_and(fits) && self.under_way == UnderWay::Spare {
            let done = self.slot.wait();
            self.settle(done)?;
        }
        if let Some(spare) = self.spares.pop_front_if(fits) {
            return Ok(spare);
        }
        // One that is too small gives its place to one that is not.
        let seq = self.active.seq + 1;
        self.spares.pop_front();
        let recycle = self.retired.pop_front().map(|(name, _)| name);
        make_spare(self.disk.as_ref(), self.id, seq, self.options.segment_bytes.max(bytes_min), recycle)
    }

    fn next_seq(&self) -> u64 {
        1 + self.spares.back().map_or(self.active.seq, |spare| spare.seq)
    }

    pub(super) fn begin_snapshot(&mut self, lsn: Lsn, payload: Vec<u8>) -> Result<(), WriteError> {
        if lsn > self.last {
            return Err(WriteError::OutOfOrder { expected: self.last, got: lsn });
        }
        // A snapshot in place proves that everything below it was durable.
        self.flush()?;
        self.pending = Some(Pending { lsn, payload });
        Ok(())
    }

    /// Takes in what the job under way has done, if it is done.
    pub(super) fn absorb(&mut self) -> Result<(), WriteError> {
        match self.slot.take() {
            Some(done) => self.settle(done),
            None => Ok(()),
        }
    }

    fn settle(&mut self, done: Done) -> Result<(), WriteError> {
        let was = std::mem::replace(&mut self.under_way, UnderWay::Nothing);
        match done {
            Done::Spare(spare) => {
                self.retry_at_flush = None;
                self.spares.push_back(spare);
            }
            Done::Reserve { bytes } => self.reserve_bytes = Some(bytes),
            Done::Snapshot { lsn, payload_bytes } => {
                if let UnderWay::Snapshot { seq, log_bytes } = was {
                    self.snapshot = Installed { lsn, payload_bytes, log_bytes };
                    self.reserve_bytes = None;
                    self.retire_below(seq);
                }
            }
            Done::Removed | Done::Dropped => {}
            Done::Failed { reserve_kept, error } => {
                if !error.is_full() {
                    return Err(error);
                }
                if matches!(was, UnderWay::Snapshot { .. }) {
                    self.retry_at_log_bytes = self.log_bytes + self.options.segment_bytes / 8;
                    self.reserve_bytes = self.reserve_bytes.filter(|_| reserve_kept);
                } else {
                    self.retry_at_flush = Some(self.flushes + RETRY_FLUSHES);
                }
            }
        }
        Ok(())
    }

    fn retire_below(&mut self, seq: u64) {
        while let Some(segment) = self.segments.pop_front_if(|segment| segment.seq < seq) {
            self.retired.push_back((segment_name(segment.seq), segment.bytes));
        }
    }

    /// What to do next beside the log, most urgent first: without a spare segment commits must wait.
    pub(super) fn next_task(&mut self) -> Result<Option<(Task, Ticket)>, WriteError> {
        self.absorb()?;
        if self.under_way != UnderWay::Nothing {
            return Ok(None);
        }
        let space = !self.retired.is_empty() || self.retry_at_flush.is_none_or(|at| self.flushes >= at);
        let (task, under_way) = if space && self.spares.len() < self.options.segments_spare {
            let recycle = self.retired.pop_front().map(|(name, _)| name);
            let task = Task::Spare { seq: self.next_seq(), bytes: self.options.segment_bytes, recycle };
            (task, UnderWay::Spare)
        } else if let Some(pending) = self.pending.take().filter(|pending| pending.lsn > self.snapshot.lsn) {
            self.snapshot_task(pending)
        } else if space && self.reserve_bytes.is_none() {
            let bytes = self.options.segment_bytes.max(2 * self.snapshot.payload_bytes);
            let recycle = self.retired.pop_front().map(|(name, _)| name);
            (Task::Reserve { bytes, recycle }, UnderWay::Reserve)
        } else if !self.retired.is_empty() {
            let names = self.retired.drain(..).map(|(name, _)| name).collect();
            (Task::Remove { names }, UnderWay::Remove)
        } else {
            return Ok(None);
        };
        self.under_way = under_way;
        Ok(Some((task, self.slot.ticket())))
    }

    fn snapshot_task(&self, pending: Pending) -> (Task, UnderWay) {
        let due = pending.lsn.next();
        let home = self.segments.iter().rfind(|segment| segment.first_lsn <= due);
        let home = home.expect("what is above the last snapshot begins in one of the segments behind it");
        let under_way = UnderWay::Snapshot { seq: home.seq, log_bytes: self.log_bytes };
        let task = Task::Snapshot {
            lsn: pending.lsn,
            payload: pending.payload,
            seq: home.seq,
            seq_first_lsn: home.first_lsn,
            reserve: self.reserve_bytes,
        };
        (task, under_way)
    }

    pub(super) fn stats(&self) -> StorageStats {
        let log_bytes_since_snapshot = self.log_bytes.saturating_sub(self.snapshot.log_bytes);
        let segments: u64 = self.segments.iter().map(|segment| segment.bytes).sum();
        let spares: u64 = self.spares.iter().map(|spare| spare.bytes).sum();
        let retired: u64 = self.retired.iter().map(|(_, bytes)| bytes).sum();
        let busy = self.pending.is_some() || matches!(self.under_way, UnderWay::Snapshot { .. });
        // On a full disk a snapshot helps if it frees a whole segment.
        let starved = self.retry_at_flush.is_some() && self.segments.len() > 1;
        // A snapshot costs what it weighs, so the log behind it pays for it first.
        let snapshot_after = self.options.snapshot_after_bytes.max(self.snapshot.payload_bytes);
        let due = log_bytes_since_snapshot > snapshot_after || starved;
        StorageStats {
            last_lsn: self.last,
            flushed_lsn: self.flushed,
            snapshot_lsn: self.snapshot.lsn,
            snapshot_bytes: self.snapshot.payload_bytes,
            records_since_snapshot: self.last.as_u64() - self.snapshot.lsn.as_u64(),
            log_bytes_since_snapshot,
            bytes_on_disk: segments + spares + retired + self.reserve_bytes.unwrap_or(0) + self.snapshot.payload_bytes,
            flushes: self.flushes,
            snapshot_wanted: due && !busy && self.log_bytes >= self.retry_at_log_bytes,
        }
    }
}

/// Removes what an interrupted step left, but for segments: their space is as good as that of fresh ones.
fn clean_up(disk: &dyn Disk, leftovers: &[String]) -> Result<VecDeque<(String, u64)>, LoadError> {
    let mut retired = VecDeque::new();
    for name in leftovers {
        let fail = |error| LoadError::io("remove", &disk.path(name), error);
        if matches!(FileName::parse(name), FileName::Segment(_)) {
            retired.push_back((name.clone(), disk.size(name).map_err(fail)?));
        } else {
            disk.remove(name).map_err(fail)?;
        }
    }
    Ok(retired)
}

impl Active {
    fn at_end(disk: &dyn Disk, id: StoreId, segment: &SurveyedSegment, file: Box<dyn DiskFile>) -> Self {
        Self {
            file,
            frames: Frames::new(id, segment.seq),
            seq: segment.seq,
            at: segment.end as u64,
            bytes: segment.bytes,
            path: disk.path(&segment_name(segment.seq)),
        }
    }

    fn empty(disk: &dyn Disk, id: StoreId, spare: Spare) -> Self {
        Self {
            file: spare.file,
            frames: Frames::new(id, spare.seq),
            seq: spare.seq,
            at: SEGMENT_HEADER_BYTES as u64,
            bytes: spare.bytes,
            path: disk.path(&segment_name(spare.seq)),
        }
    }

    fn sync(&self) -> Result<(), WriteError> {
        self.file.sync().map_err(|error| WriteError::io("sync", &self.path, error))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), WriteError> {
        self.file.write_at(bytes, self.at).map_err(|error| WriteError::io("write", &self.path, error))?;
        self.at += bytes.len() as u64;
        Ok(())
    }
}
