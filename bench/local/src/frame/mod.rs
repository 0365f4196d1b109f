//! Rows of times, beside peers, and races as counts.
//!
//! A row is the same work done by several systems. They take turns: each repeat measures every system once, and a
//! ratio is the median of the ratios within the repeats, so that a machine that slows down slows both sides. A row that
//! checks its work (loads = keys, lost = 0) fails instead of printing a time when the check fails. Where time is too
//! noisy, the same work is run under callgrind, which counts instructions. Allocations are counted in a process of their
//! own, whose times nobody looks at.

mod callgrind;
mod counted;
mod race;
mod row;
mod sample;

use std::fmt;

use anyhow::Result;
use raceproof_bench_common::book::Book;
use raceproof_bench_common::targets::Verdict;

pub(crate) use self::counted::can_count;
pub(crate) use self::race::{Race, Settled, table};
pub(crate) use self::row::Row;
pub use self::sample::{Counts, count_by};
pub(crate) use self::sample::{Sample, Stopwatch, live_bytes, repeat, repeat_sync, warm_up};

/// What a room brings.
#[derive(Default)]
pub(crate) struct Room {
    pub(crate) name: &'static str,
    pub(crate) rows: Vec<Row>,
    pub(crate) races: Vec<Race>,
}

/// A system that is not on this machine is left out of the comparison, and that is said.
#[derive(Debug)]
pub(crate) struct Absent(pub(crate) String);

impl fmt::Display for Absent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Absent {}

/// All that was measured.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) book: Book,
    pub(crate) verdicts: Vec<Verdict>,
    pub(crate) races: Vec<Settled>,
}

/// Measures every row in turn, and then runs the races.
pub(crate) async fn run(rooms: &[Room], repeats: usize) -> Outcome {
    let mut outcome = Outcome::default();
    for room in rooms {
        for row in &room.rows {
            row.measure(room.name, repeats, &mut outcome.book).await;
            outcome.verdicts.extend(row.verdicts(room.name, &outcome.book));
        }
    }
    for room in rooms {
        for race in &room.races {
            outcome.races.push(race.settle(room.name).await);
        }
    }
    outcome
}

/// Counts the instructions of every row, in processes of their own.
pub(crate) async fn count_instructions(rooms: &[Room]) -> Outcome {
    let mut outcome = Outcome::default();
    for room in rooms {
        for row in &room.rows {
            row.count_instructions(room.name, &mut outcome.book).await;
        }
    }
    outcome
}

/// Does one row's work with one system, `times` times: what [`count_instructions`] counts.
pub(crate) async fn once(rooms: &[Room], row: &str, system: &str, times: usize) -> Result<Sample> {
    let rows = rooms.iter().flat_map(|room| room.rows.iter().map(|row| (room.name, row)));
    let found = rows.into_iter().find(|(room, found)| found.label(room) == row);
    let (_, found) = found.ok_or_else(|| anyhow::anyhow!("there is no row `{row}`"))?;
    found.once(system, times).await
}
