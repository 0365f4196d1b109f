//! The names of a log's files.

/// A file of this name holds nothing; its space is for a snapshot when the disk is full.
pub(crate) const RESERVE_FILE: &str = "reserve";
pub(crate) const SPARE_TMP: &str = "segment.tmp";
pub(crate) const SNAPSHOT_TMP: &str = "snapshot.tmp";
pub(crate) const RESERVE_TMP: &str = "reserve.tmp";

pub(crate) fn segment_name(seq: u64) -> String {
    format!("log-{seq:016x}")
}

pub(crate) fn snapshot_name(lsn: u64) -> String {
    format!("snapshot-{lsn:016x}")
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum FileName {
    Segment(u64),
    Snapshot(u64),
    Reserve,
    Temporary,
    /// Not of the log's.
    Other,
}

impl FileName {
    /// Whether a file of this name holds what was stored.
    pub(crate) fn is_content(&self) -> bool {
        matches!(self, Self::Segment(_) | Self::Snapshot(_))
    }

    pub(crate) fn parse(name: &str) -> Self {
        let number = |digits: &str| u64::from_str_radix(digits, 16).ok();
        let parsed = if let Some(seq) = name.strip_prefix("log-").and_then(number) {
            Self::Segment(seq)
        } else if let Some(lsn) = name.strip_prefix("snapshot-").and_then(number) {
            Self::Snapshot(lsn)
        } else {
            return match name {
                RESERVE_FILE => Self::Reserve,
                SPARE_TMP | SNAPSHOT_TMP | RESERVE_TMP => Self::Temporary,
                _ => Self::Other,
            };
        };
        // A name that is read but never written, such as `log-1`, would be looked for under another.
        match parsed {
            Self::Segment(seq) if segment_name(seq) == name => parsed,
            Self::Snapshot(lsn) if snapshot_name(lsn) == name => parsed,
            _ => Self::Other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back_and_nothing_else_is() {
        assert_eq!(FileName::parse(&segment_name(0x1f)), FileName::Segment(0x1f));
        assert_eq!(FileName::parse(&snapshot_name(7)), FileName::Snapshot(7));
        for other in ["log-1", "log-000000000000001F", "log-+00000000000001f", "snapshot-", "lock", "log-x"] {
            assert_eq!(FileName::parse(other), FileName::Other, "{other}");
        }
    }
}
