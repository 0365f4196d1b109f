//! Reads a log directory and judges it: what is there, what a crash tore, what is damaged. Changes nothing.
//!
//! The end of a log may be torn: a crash interrupted a write that nobody was told of. That must not be confused with
//! damage to something acknowledged, and the files say which it is:
//!
//! - Every frame carries how far the log was durable when it was written, and marks say it when the log rests. A bad
//!   place at position n, with any good frame behind it that was written when n was durable, is damage.
//! - A snapshot is installed only over what is durable, so a bad place below it is damage.
//! - Writes go to sectors that were zero. A frame that fails its checksum although no sector of it is zero was
//!   written whole and changed later: damage.
//!
//! The rest is a torn tail. What stays open: the very last write of a crashed machine, if all its frames that are
//! whole are of that same write and one of the others has a sector that was *turned to zeros* after it was
//! acknowledged.

use std::collections::BTreeMap;

use raceproof_core::id::Lsn;

use super::format::{
    FORMAT, FRAME_ALIGN, FRAME_HEADER_BYTES, Frames, HeaderError, SECTOR, SEGMENT_HEADER_BYTES, SNAPSHOT_HEADER_BYTES,
    SegmentHeader, SnapshotHeader, is_blank, payload_crc,
};
use super::names::{FileName, segment_name};
use crate::store::disk::Disk;
use crate::store::error::LoadError;
use crate::store::identity::StoreId;
use crate::store::{Loaded, TornTail};

/// What a directory holds.
#[derive(Debug)]
pub(crate) struct Survey {
    pub(crate) loaded: Loaded,
    pub(crate) snapshot: Option<SnapshotHeader>,
    /// From the one where the log begins to the last spare; never empty.
    pub(crate) segments: Vec<SurveyedSegment>,
    /// Index of the segment that the next record goes to.
    pub(crate) active: usize,
    /// Files that an interrupted step left: temporary ones, and segments and snapshots below the snapshot.
    pub(crate) leftovers: Vec<String>,
    pub(crate) reserve_bytes: Option<u64>,
    /// What the records take in their segments.
    pub(crate) log_bytes: u64,
}

#[derive(Debug)]
pub(crate) struct SurveyedSegment {
    pub(crate) seq: u64,
    /// The first record that it holds or would hold.
    pub(crate) first_lsn: Lsn,
    pub(crate) bytes: u64,
    /// Where the next frame goes.
    pub(crate) end: usize,
    /// Where the last byte that is not zero ends; beyond `end` only if the tail is torn.
    pub(crate) dirty_end: usize,
    /// Where frames begin that nothing proves durable.
    pub(crate) unproven: Option<usize>,
}

pub(crate) fn survey(disk: &dyn Disk, store: StoreId) -> Result<Survey, LoadError> {
    let names = list(disk)?;
    let snapshot = match names.snapshots.last_key_value() {
        Some((lsn, name)) => Some(read_snapshot(disk, store, name, *lsn)?),
        None => None,
    };
    let (seq, first_lsn) = match &snapshot {
        Some((header, _)) => (header.seq, header.seq_first_lsn),
        None => (1, Lsn::new(1)),
    };
    let mut leftovers = names.temporary;
    leftovers.extend(names.segments.range(..seq).map(|(_, name)| name.clone()));
    leftovers.extend(names.snapshots.values().rev().skip(1).cloned());
    let mut walk = Walk::new(disk, store, snapshot.as_ref().map(|(header, _)| header.lsn), first_lsn);
    let mut next = seq;
    for (found, name) in names.segments.range(seq..) {
        if *found != next {
            break;
        }
        walk.segment(next, name)?;
        next += 1;
    }
    if next == seq || names.segments.range(next..).next().is_some() {
        let detail = if next == seq { "the log begins in it" } else { "later segments are there" };
        return Err(LoadError::Missing { path: disk.path(&segment_name(next)), detail: detail.to_owned() });
    }
    let mut survey = walk.finish(snapshot)?;
    survey.leftovers = leftovers;
    survey.reserve_bytes = names.reserve_bytes;
    Ok(survey)
}

#[derive(Default)]
struct Names {
    segments: BTreeMap<u64, String>,
    snapshots: BTreeMap<u64, String>,
    temporary: Vec<String>,
    reserve_bytes: Option<u64>,
}

fn list(disk: &dyn Disk) -> Result<Names, LoadError> {
    let mut names = Names::default();
    for name in disk.list().map_err(|error| LoadError::io("list", &disk.path(""), error))? {
        match FileName::parse(&name) {
            FileName::Segment(seq) => {
                names.segments.insert(seq, name);
            }
            FileName::Snapshot(lsn) => {
                names.snapshots.insert(lsn, name);
            }
            FileName::Temporary => names.temporary.push(name),
            FileName::Reserve => {
                let bytes = disk.size(&name).map_err(|error| LoadError::io("read", &disk.path(&name), error))?;
                names.reserve_bytes = Some(bytes);
            }
            FileName::Other => {}
        }
    }
    Ok(names)
}

pub(crate) fn read_snapshot(
    disk: &dyn Disk,
    store: StoreId,
    name: &str,
    lsn: u64,
) -> Result<(SnapshotHeader, Vec<u8>), LoadError> {
    let path = disk.path(name);
    let mut bytes = disk.read(name).map_err(|error| LoadError::io("read", &path, error))?;
    let header = SnapshotHeader::decode(&bytes, store).map_err(|fault| header_error(disk, name, fault))?;
    let corrupt =
        |offset: usize, detail: String| LoadError::Corrupt { path: path.clone(), offset: offset as u64, detail };
    if header.lsn.as_u64() != lsn {
        return Err(corrupt(0, format!("a snapshot of position {}, by its name of {lsn}", header.lsn)));
    }
    let found = (bytes.len() - SNAPSHOT_HEADER_BYTES) as u64;
    if found != header.payload_bytes {
        return Err(corrupt(bytes.len(), format!("{found} bytes of a snapshot of {}", header.payload_bytes)));
    }
    bytes.drain(..SNAPSHOT_HEADER_BYTES);
    if payload_crc(&bytes) != header.payload_crc {
        return Err(corrupt(SNAPSHOT_HEADER_BYTES, "the snapshot's checksum is wrong".to_owned()));
    }
    Ok((header, bytes))
}

pub(crate) fn header_error(disk: &dyn Disk, name: &str, fault: HeaderError) -> LoadError {
    let path = disk.path(name);
    match fault {
        HeaderError::Newer { found } => LoadError::NewerFormat { path, found, supported: FORMAT },
        HeaderError::Damaged(detail) => LoadError::Corrupt { path, offset: 0, detail: detail.to_owned() },
        HeaderError::OtherStore => {
            LoadError::Corrupt { path, offset: 0, detail: "the file is of another store".to_owned() }
        }
    }
}

/// Walks the segments in order.
struct Walk<'d> {
    disk: &'d dyn Disk,
    store: StoreId,
    snapshot_lsn: Lsn,
    /// The position that is due.
    expected: Lsn,
    /// Everything up to here was durable at some time.
    proven: Lsn,
    records: Vec<(Lsn, Vec<u8>)>,
    /// Frames above `proven`: position, index of the segment, offset.
    unproven: Vec<(Lsn, usize, usize)>,
    segments: Vec<SurveyedSegment>,
    active: usize,
    torn: Option<TornTail>,
    log_bytes: u64,
}

impl<'d> Walk<'d> {
    fn new(disk: &'d dyn Disk, store: StoreId, snapshot_lsn: Option<Lsn>, first_lsn: Lsn) -> Self {
        let snapshot_lsn = snapshot_lsn.unwrap_or_default();
        Self {
            disk,
            store,
            snapshot_lsn,
            expected: first_lsn,
            proven: snapshot_lsn,
            records: Vec::new(),
            unproven: Vec::new(),
            segments: Vec::new(),
            active: 0,
            torn: None,
            log_bytes: 0,
        }
    }

    fn segment(&mut self, seq: u64, name: &str) -> Result<(), LoadError> {
        let bytes = self.disk.read(name).map_err(|error| LoadError::io("read", &self.disk.path(name), error))?;
        let header = SegmentHeader::decode(&bytes, self.store).map_err(|fault| header_error(self.disk, name, fault))?;
        if header.seq != seq {
            return Err(self.corrupt(name, 0, format!("segment {}, by its name {seq}", header.seq)));
        }
        if header.bytes != bytes.len() as u64 {
            return Err(self.corrupt(name, bytes.len(), format!("{} bytes of {}", bytes.len(), header.bytes)));
        }
        let frames = Frames::new(self.store, seq);
        let first_lsn = self.expected;
        let end = self.frames(&frames, name, &bytes)?;
        let rest = bytes.get(end..).unwrap_or_default();
        let dirty_end = end + rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
        if dirty_end > end {
            self.judge(&frames, name, &bytes, end, dirty_end)?;
        }
        if dirty_end > SEGMENT_HEADER_BYTES {
            self.active = self.segments.len();
        }
        self.segments.push(SurveyedSegment { seq, first_lsn, bytes: header.bytes, end, dirty_end, unproven: None });
        Ok(())
    }

    /// Takes the frames that are whole and in order, and says where they end.
    fn frames(&mut self, frames: &Frames, name: &str, bytes: &[u8]) -> Result<usize, LoadError> {
        let mut at = SEGMENT_HEADER_BYTES;
        while let Some(frame) = bytes.get(at..).and_then(|rest| frames.decode(rest)) {
            if let Some(torn) = &self.torn {
                let detail = format!("bad, and the log goes on in {name} at byte {at}");
                return Err(LoadError::Corrupt { path: torn.path.clone(), offset: torn.offset, detail });
            }
            let due = if frame.is_mark() { frame.lsn.next() } else { frame.lsn };
            if due != self.expected {
                let detail = format!("position {} where {} is due", frame.lsn, self.expected);
                return Err(self.corrupt(name, at, detail));
            }
            if frame.flushed > self.proven {
                self.proven = frame.flushed;
                self.unproven.clear();
            }
            if !frame.is_mark() {
                if frame.lsn > self.proven {
                    self.unproven.push((frame.lsn, self.segments.len(), at));
                }
                if frame.lsn > self.snapshot_lsn {
                    self.records.push((frame.lsn, frame.payload.to_vec()));
                    self.log_bytes += frame.bytes as u64;
                }
                self.expected = frame.lsn.next();
            }
            at += frame.bytes;
        }
        Ok(at)
    }

    /// At `at` is something that is neither a frame nor empty: decides whether a crash can have left it.
    fn judge(
        &mut self,
        frames: &Frames,
        name: &str,
        bytes: &[u8],
        at: usize,
        dirty_end: usize,
    ) -> Result<(), LoadError> {
        if let Some(torn) = &self.torn {
            let detail = format!("bad, and {name} is not empty at byte {at}");
            return Err(LoadError::Corrupt { path: torn.path.clone(), offset: torn.offset, detail });
        }
        let due = self.expected;
        if due <= self.snapshot_lsn {
            return Err(self.corrupt(name, at, format!("record {due} is bad, which a later snapshot contains")));
        }
        let later = bytes.get(..dirty_end.next_multiple_of(FRAME_ALIGN)).unwrap_or(bytes);
        if let Some((offset, lsn)) = durable_behind(frames, later, at, due) {
            let detail = format!("record {due} is bad; record {lsn}, written when it was safe, is at byte {offset}");
            return Err(self.corrupt(name, at, detail));
        }
        if !may_be_torn(bytes, at) {
            return Err(self.corrupt(name, at, format!("record {due} was written whole, but its checksum is wrong")));
        }
        self.torn = Some(TornTail {
            path: self.disk.path(name),
            offset: at as u64,
            bytes: (dirty_end - at) as u64,
            after: Lsn::new(due.as_u64() - 1),
        });
        Ok(())
    }

    fn finish(mut self, snapshot: Option<(SnapshotHeader, Vec<u8>)>) -> Result<Survey, LoadError> {
        if self.expected <= self.snapshot_lsn {
            let last = self.segments.last().map_or(1, |segment| segment.seq);
            let detail = format!("record {} is not there, which a later snapshot contains", self.expected);
            return Err(self.corrupt(&segment_name(last), SEGMENT_HEADER_BYTES, detail));
        }
        for (_, segment, at) in self.unproven.iter().rev() {
            if let Some(segment) = self.segments.get_mut(*segment) {
                segment.unproven = Some(*at);
            }
        }
        let header = snapshot.as_ref().map(|(header, _)| *header);
        let loaded = Loaded {
            snapshot: snapshot.map(|(header, payload)| (header.lsn, payload)),
            records: self.records,
            torn: self.torn,
        };
        Ok(Survey {
            loaded,
            snapshot: header,
            segments: self.segments,
            active: self.active,
            leftovers: Vec::new(),
            reserve_bytes: None,
            log_bytes: self.log_bytes,
        })
    }

    fn corrupt(&self, name: &str, offset: usize, detail: String) -> LoadError {
        LoadError::Corrupt { path: self.disk.path(name), offset: offset as u64, detail }
    }
}

/// The first good frame behind `at` that was written when `due` was durable.
fn durable_behind(frames: &Frames, bytes: &[u8], at: usize, due: Lsn) -> Option<(usize, Lsn)> {
    // What lies within a large record must not be taken for frames, and checked whole, at every other place.
    let last = Lsn::new(due.as_u64().saturating_add((bytes.len() / FRAME_HEADER_BYTES) as u64));
    let mut at = at + FRAME_ALIGN;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() >= FRAME_HEADER_BYTES) {
        let may_be = Frames::claimed_lsn(rest).is_some_and(|lsn| (due..=last).contains(&lsn));
        match may_be.then(|| frames.decode(rest)).flatten() {
            Some(frame) if frame.flushed >= due => return Some((at, frame.lsn)),
            Some(frame) => at += frame.bytes,
            None => at += FRAME_ALIGN,
        }
    }
    None
}

/// Whether a part of the frame at `at` is still as empty as before it was written.
fn may_be_torn(bytes: &[u8], at: usize) -> bool {
    let header = at..at + FRAME_HEADER_BYTES;
    if blank_sector(bytes, header) {
        return true;
    }
    // The header arrived, so its length is what was written, unless that is what is damaged.
    let claimed = bytes.get(at..).and_then(Frames::claimed_bytes).and_then(|claimed| at.checked_add(claimed));
    match claimed {
        Some(end) if end <= bytes.len() => blank_sector(bytes, at..end),
        _ => false,
    }
}

/// Whether `range` has nothing but zeros in one of the sectors that it touches.
fn blank_sector(bytes: &[u8], range: std::ops::Range<usize>) -> bool {
    let mut from = range.start;
    while from < range.end {
        let to = (from + 1).next_multiple_of(SECTOR).min(range.end);
        if bytes.get(from..to).is_none_or(is_blank) {
            return true;
        }
        from = to;
    }
    false
}
