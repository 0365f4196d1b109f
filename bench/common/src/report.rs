//! Tables for people, in Markdown, and JSON for programs.

use std::fmt::Write;

use serde::Serialize;
use serde_json::json;

use crate::book::{Book, is_rate};
use crate::targets::Verdict;

/// A table per row: what was measured of each system, and how the systems that are ours compare with it.
pub fn tables(book: &Book, is_ours: impl Fn(&str) -> bool) -> String {
    let mut text = String::new();
    for row in book.rows() {
        table(&mut text, book, row, &is_ours).expect("a string takes everything");
    }
    text
}

fn table(text: &mut String, book: &Book, row: &str, is_ours: impl Fn(&str) -> bool) -> std::fmt::Result {
    let metrics = book.metrics(row);
    let systems = book.systems(row);
    let ours: Vec<&str> = systems.iter().copied().filter(|system| is_ours(system)).collect();
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
                Some(spread) => write!(text, " {spread} |")?,
            }
        }
        for us in ours {
            match book.ratio(row, primary, us, system).filter(|_| *us != system) {
                None => write!(text, " |")?,
                Some(ratio) => write!(text, " {ratio} |")?,
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
pub fn targets(verdicts: &[Verdict]) -> String {
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

/// Everything, for programs.
pub fn json(machine: &impl Serialize, load: &str, book: &Book, verdicts: &[Verdict]) -> serde_json::Value {
    json!({
        "v": 1,
        "machine": machine,
        "load_average": load,
        "measurements": book.measurements(),
        "targets": verdicts,
    })
}
