//! `raceproof store check`.

use std::fmt::Write as _;
use std::path::Path;

use raceproof::store::{self, CheckError, Report};
use raceproof_core::guard::code;

use super::print;
use crate::args::{Store, StoreAction};
use crate::failure::Failure;

pub(super) fn store(args: &Store) -> Result<u8, Failure> {
    let StoreAction::Check { dir } = &args.action;
    let report = store::check(dir).map_err(|error| not_checked(&error))?;
    print(&shown(dir, &report))?;
    Ok(if report.is_good() { 0 } else { code::FAILED })
}

fn not_checked(error: &CheckError) -> Failure {
    let (code, exit, advice) = match error {
        CheckError::NoStore { .. } => ("no-store", code::FAILED, None),
        CheckError::Open(open @ store::OpenError::InUse { .. }) => ("store-in-use", code::NOT_ACQUIRED, open.advice()),
        CheckError::Open(open) => ("store-unreadable", code::FAILED, open.advice()),
        _ => ("store-unreadable", code::FAILED, None),
    };
    Failure::new(code, exit, with_advice(error, advice))
}

/// An error with everything that caused it, and what to do.
pub(super) fn with_advice(error: &dyn std::error::Error, advice: Option<&str>) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        // Some errors say their cause themselves.
        if !text.contains(&inner_text) {
            let _ = write!(text, ": {inner_text}");
        }
        cause = inner.source();
    }
    if let Some(advice) = advice {
        let _ = write!(text, "; {advice}");
    }
    text
}

fn shown(dir: &Path, report: &Report) -> String {
    let mut shown = String::new();
    let verdict = if report.is_good() { "good" } else { "DAMAGED" };
    let snapshot = report.snapshot.map_or_else(|| "none".to_owned(), |(lsn, bytes)| format!("at {lsn}, {bytes} bytes"));
    // Writing to a string cannot fail.
    let _ = writeln!(shown, "{}: {verdict}", dir.display());
    let _ = writeln!(shown, "  kind        {} (format {})", report.kind, report.format);
    let _ = writeln!(shown, "  snapshot    {snapshot}");
    let _ = writeln!(shown, "  records     {} behind it, {} bytes", report.records, report.record_bytes);
    let _ = writeln!(shown, "  last record {}", report.last_lsn);
    let _ = writeln!(shown, "  on disk     {} bytes", report.bytes_on_disk);
    if let Some(torn) = &report.torn {
        let _ = writeln!(shown, "  torn tail   {torn:?}: a crash left it, nobody was told of it, opening cuts it off");
    }
    for finding in &report.findings {
        let _ = writeln!(shown, "  {}: byte {}: {}", finding.path.display(), finding.offset, finding.detail);
    }
    shown
}
