//! Looks at every file of a damaged log by itself, to say all that is wrong and not only what was met first.

use raceproof_core::id::Lsn;

use super::format::{FRAME_ALIGN, Frame, Frames, SEGMENT_HEADER_BYTES, SegmentHeader, is_blank};
use super::names::FileName;
use super::survey::{header_error, read_snapshot};
use crate::store::check::{Finding, Report};
use crate::store::disk::Disk;
use crate::store::error::LoadError;
use crate::store::identity::StoreId;

/// Adds what is wrong to `report`, and counts the records that are good.
pub(crate) fn inspect(disk: &dyn Disk, store: StoreId, report: &mut Report) -> Result<(), LoadError> {
    let mut names = disk.list().map_err(|error| LoadError::io("list", &disk.path(""), error))?;
    // Snapshots first: records below one are not counted.
    names.sort_unstable_by_key(|name| (!matches!(FileName::parse(name), FileName::Snapshot(_)), name.clone()));
    report.records = 0;
    report.record_bytes = 0;
    for name in names {
        let outcome = match FileName::parse(&name) {
            FileName::Snapshot(lsn) => read_snapshot(disk, store, &name, lsn).map(|(header, payload)| {
                report.snapshot = Some((header.lsn, payload.len() as u64));
                report.last_lsn = report.last_lsn.max(header.lsn);
            }),
            FileName::Segment(seq) => inspect_segment(disk, store, seq, &name, report),
            _ => Ok(()),
        };
        match outcome {
            Err(LoadError::Corrupt { path, offset, detail }) => report.add(Finding { path, offset, detail }),
            outcome => outcome?,
        }
    }
    Ok(())
}

fn inspect_segment(
    disk: &dyn Disk,
    store: StoreId,
    seq: u64,
    name: &str,
    report: &mut Report,
) -> Result<(), LoadError> {
    let path = disk.path(name);
    let bytes = disk.read(name).map_err(|error| LoadError::io("read", &path, error))?;
    let header = SegmentHeader::decode(&bytes, store).map_err(|fault| header_error(disk, name, fault));
    let frames = Frames::new(store, seq);
    let mut at = SEGMENT_HEADER_BYTES;
    while let Some(rest) = bytes.get(at..).filter(|rest| !is_blank(rest)) {
        if let Some(frame) = frames.decode(rest) {
            count(report, &frame);
            at += frame.bytes;
            continue;
        }
        let (behind, found) = match next_frame(&frames, rest) {
            Some((behind, frame)) => (behind, format!("a record goes on at byte {} ({})", at + behind, frame.lsn)),
            None => (rest.len(), "no good record follows in this file".to_owned()),
        };
        let detail = format!("bad bytes; {found}");
        report.add(Finding { path: path.clone(), offset: at as u64, detail });
        at += behind;
    }
    header.map(|_| ())
}

fn count(report: &mut Report, frame: &Frame<'_>) {
    let covered = report.snapshot.map_or(Lsn::new(0), |(lsn, _)| lsn);
    if !frame.is_mark() && frame.lsn > covered {
        report.records += 1;
        report.record_bytes += frame.payload.len() as u64;
        report.last_lsn = report.last_lsn.max(frame.lsn);
    }
}

fn next_frame<'a>(frames: &Frames, bytes: &'a [u8]) -> Option<(usize, Frame<'a>)> {
    (FRAME_ALIGN..bytes.len()).step_by(FRAME_ALIGN).find_map(|at| Some((at, frames.decode(bytes.get(at..)?)?)))
}
