//! What was wanted, and what came out. A miss is reported as a miss.

use serde::Serialize;

use crate::book::Book;
use crate::stats::{Spread, number};

/// What a target allows.
#[derive(Clone, Copy, Debug)]
pub enum Bound {
    AtMost(f64),
    AtLeast(f64),
}

/// What is wanted of a row.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    pub what: &'a str,
    pub row: &'a str,
    pub metric: &'a str,
    pub ours: &'a str,
    /// The peer that ours is divided by; none for an absolute bound.
    pub peer: Option<&'a str>,
    pub bound: Bound,
}

/// A target beside what was measured.
#[derive(Debug, Serialize)]
pub struct Verdict {
    pub what: String,
    pub wanted: String,
    pub measured: String,
    pub met: bool,
}

/// A bound of the ratio to a peer.
pub const fn against<'a>(
    what: &'a str,
    row: &'a str,
    metric: &'a str,
    ours: &'a str,
    peer: &'a str,
    bound: Bound,
) -> Target<'a> {
    Target { what, row, metric, ours, peer: Some(peer), bound }
}

/// A bound of the figure itself.
pub const fn absolute<'a>(what: &'a str, row: &'a str, metric: &'a str, ours: &'a str, bound: Bound) -> Target<'a> {
    Target { what, row, metric, ours, peer: None, bound }
}

impl Target<'_> {
    /// What came out; none if it was not measured.
    pub fn verdict(&self, book: &Book) -> Option<Verdict> {
        let Self { what, row, metric, ours, peer, bound } = *self;
        if !book.systems(row).contains(&ours) {
            return None;
        }
        let wanted = match bound {
            Bound::AtMost(bound) => format!("≤ {}", number(bound)),
            Bound::AtLeast(bound) => format!("≥ {}", number(bound)),
        };
        let spread = match peer {
            Some(peer) if !book.systems(row).contains(&peer) => return None,
            Some(peer) => book.ratio(row, metric, ours, peer),
            None => book.spread(row, ours, metric),
        };
        let failed = book.failures().any(|(at, _)| at.row == row && at.system == ours);
        let Some(spread) = spread.filter(|_| !failed) else {
            return Some(Verdict { what: what.to_owned(), wanted, measured: "failed".into(), met: false });
        };
        // An absolute bound of the worst is judged by the worst of all repeats.
        let judged = if metric.contains("max") { spread.max } else { spread.median };
        let met = match bound {
            Bound::AtMost(bound) => judged <= bound,
            Bound::AtLeast(bound) => judged >= bound,
        };
        let measured = Spread { median: judged, ..spread }.to_string();
        Some(Verdict { what: what.to_owned(), wanted, measured, met })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(targets: &[Target<'_>], book: &Book) -> Vec<bool> {
        targets.iter().filter_map(|target| target.verdict(book)).map(|verdict| verdict.met).collect()
    }

    #[test]
    fn a_miss_is_a_miss() {
        let targets = [
            against("hand-offs", "hot", "per_s", "us", "them", Bound::AtLeast(20.0)),
            against("beside who was not measured", "hot", "per_s", "us", "others", Bound::AtLeast(20.0)),
            absolute("worst", "kill", "max_ms", "us", Bound::AtMost(10.0)),
            absolute("usual", "kill", "p50_ms", "us", Bound::AtMost(10.0)),
            absolute("once failed", "startup", "ms", "us", Bound::AtMost(50.0)),
        ];
        let mut book = Book::default();
        book.record("hot", "us", 0, Ok(vec![("per_s", 190.0)]));
        book.record("hot", "them", 0, Ok(vec![("per_s", 10.0)]));
        book.record("kill", "us", 0, Ok(vec![("p50_ms", 2.0), ("max_ms", 3.0)]));
        book.record("kill", "us", 1, Ok(vec![("p50_ms", 3.0), ("max_ms", 11.0)]));
        book.record("startup", "us", 0, Ok(vec![("ms", 9.0)]));
        book.record("startup", "us", 1, Err(anyhow::anyhow!("no")));
        assert_eq!(met(&targets, &book), [false, false, true, false]);
    }
}
