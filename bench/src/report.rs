//! Tables for people, in Markdown, and JSON for programs.

use std::fmt::Write;

use serde_json::json;

use crate::book::{Book, OURS, is_rate, number};
use crate::machine::Machine;
use crate::targets::Verdict;

/// A table per row.
pub(crate) fn tables(book: &Book) -> String {
    let mut text = String::new();
    for row in book.rows() {
        table(&mut text, book, row).expect("a string takes everything");
    }
    text
}

fn table(text: &mut String, book: &Book, row: &str) -> std::fmt::Result {
    let metrics = book.metrics(row);
    let systems = book.systems(row);
    let ours: Vec<&str> = systems
        .iter()
        .copied()
        .filter(|system| OURS.iter().any(|kind| kind.name() == *system) || *system == "raceproof")
        .collect();
    let ours: &[&str] = if ours.len() < systems.len() { &ours } else { &[] };
    let Some(primary) = metrics.first() else {
        writeln!(text, "\n### {row}\n\nNothing was measured.")?;
        return failures(text, book, row);
    };
    write!(text, "\n### {row}\n\n| system |")?;
    for metric in metrics {
        write!(text, " {metric} |")?;
    }
    for us in ours {
        let of = if is_rate(primary) { "×" } else { "÷" };
        write!(text, " {us} {of} it |")?;
    }
    writeln!(text, "\n|---|{}", "--:|".repeat(metrics.len() + ours.len()))?;
    for system in systems {
        write!(text, "| {system} |")?;
        for metric in metrics {
            match book.spread(row, system, metric) {
                None => write!(text, " – |")?,
                Some(spread) if spread.min == spread.max => write!(text, " {} |", number(spread.median))?,
                Some(spread) => {
                    write!(text, " {} ({}–{}) |", number(spread.median), number(spread.min), number(spread.max))?;
                }
            }
        }
        for us in ours {
            match book.ratio(row, primary, us, system).filter(|_| *us != system) {
                None => write!(text, " |")?,
                Some(ratio) => write!(text, " {} |", number(ratio.median))?,
            }
        }
        writeln!(text)?;
    }
    failures(text, book, row)
}

fn failures(text: &mut String, book: &Book, row: &str) -> std::fmt::Result {
    for (measurement, why) in book.failures().filter(|(measurement, _)| measurement.row == row) {
        writeln!(text, "\nFailed: {}, repeat {}: {why}", measurement.system, measurement.repeat)?;
    }
    Ok(())
}

/// What was wanted, and what came out.
pub(crate) fn targets(verdicts: &[Verdict]) -> String {
    if verdicts.is_empty() {
        return String::new();
    }
    let mut text = "\n### Targets\n\n| target | wanted | measured (least–greatest) | |\n|---|--:|--:|---|\n".to_owned();
    for Verdict { what, wanted, measured, met } in verdicts {
        let met = if *met { "pass" } else { "**MISS**" };
        let _ = writeln!(text, "| {what} | {wanted} | {measured} | {met} |");
    }
    text
}

/// The machine, in a few lines.
pub(crate) fn machine(machine: &Machine, load: &str) -> String {
    let Machine { cpu, cores, memory_gib, kernel, file_system, versions } = machine;
    let mut text = format!(
        "{cpu}, {cores} cores, {memory_gib} GiB, {kernel}, data on {file_system}; load average at the start {load}\n"
    );
    for (name, version) in versions {
        let _ = writeln!(text, "- {name}: {version}");
    }
    text
}

/// Everything, for programs.
pub(crate) fn json(machine: &Machine, load: &str, book: &Book, verdicts: &[Verdict]) -> serde_json::Value {
    json!({
        "v": 1,
        "machine": machine,
        "load_average": load,
        "measurements": book.measurements(),
        "targets": verdicts,
    })
}
