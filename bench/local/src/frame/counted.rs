//! Allocations: counted in a process of their own, because counting takes time.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The program that counts is beside this one.
const PROGRAM: &str = "raceproof-bench-local-counted";

/// What a process said of the work that it did once.
pub(super) struct Once {
    pub(super) operations: f64,
    /// None if it does not count.
    pub(super) allocations: Option<f64>,
    /// Why it was not done here.
    pub(super) absent: Option<String>,
}

impl Once {
    pub(super) fn read(stdout: &[u8]) -> Result<Self> {
        let said: Value = serde_json::from_slice(stdout).context("the measured process said something else")?;
        let number = |name| said.get(name).and_then(Value::as_f64);
        let absent = said.get("absent").and_then(Value::as_str).map(str::to_owned);
        let operations = if absent.is_some() { Some(0.0) } else { number("operations") };
        let operations = operations.context("no number of operations")?;
        Ok(Self { operations, allocations: number("allocations"), absent })
    }
}

/// How often one operation allocates; none if that cannot be told. The row's own check holds there, too.
pub(super) async fn allocations(row: &str, system: &str, times: usize) -> Result<Option<f64>> {
    let Some(program) = program() else { return Ok(None) };
    let (row, system) = (row.to_owned(), system.to_owned());
    tokio::task::spawn_blocking(move || blocking(&program, &row, &system, times)).await?
}

fn blocking(program: &Path, row: &str, system: &str, times: usize) -> Result<Option<f64>> {
    let output =
        Command::new(program).args(["--once", row, system, &times.to_string()]).stderr(Stdio::piped()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "where allocations are counted: {}", said.trim_end());
    let once = Once::read(&output.stdout)?;
    Ok(once.allocations.map(|allocations| allocations / once.operations))
}

fn program() -> Option<PathBuf> {
    let beside = std::env::current_exe().ok()?.with_file_name(PROGRAM);
    beside.is_file().then_some(beside)
}

/// Whether the program that counts is there.
pub(crate) fn can_count() -> bool {
    program().is_some()
}
