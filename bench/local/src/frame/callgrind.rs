//! Instructions instead of time: the same work in a process of its own, under valgrind.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use raceproof_bench_common::book::Metrics;

use super::Absent;
use super::counted::Once;

/// Counts what one operation of a row takes.
pub(super) async fn count(row: &str, system: &str, times: usize) -> Result<Metrics> {
    let (row, system) = (row.to_owned(), system.to_owned());
    tokio::task::spawn_blocking(move || count_blocking(&row, &system, times)).await?
}

fn count_blocking(row: &str, system: &str, times: usize) -> Result<Metrics> {
    let dir = tempfile::tempdir()?;
    let profile = dir.path().join("profile");
    // From one call of the stopwatch to the other: what was before is forgotten, what comes after is in another dump.
    let child = Command::new("valgrind")
        .args(["--tool=callgrind", "--zero-before=*Stopwatch::start", "--dump-before=*Stopwatch::stop"])
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(std::env::current_exe()?)
        .args(["--once", row, system, &times.to_string()])
        .stderr(Stdio::piped())
        .output();
    let output = match child {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            bail!("valgrind is not installed (Debian: valgrind)")
        }
        output => output?,
    };
    let said = String::from_utf8_lossy(&output.stderr);
    let own = said.lines().rfind(|line| !line.starts_with("==")).unwrap_or_default();
    ensure!(output.status.success(), "{} under valgrind: {own}", output.status);
    let once = Once::read(&output.stdout)?;
    if let Some(why) = once.absent {
        return Err(Absent(why).into());
    }
    let instructions = total(&profile.with_extension("1"))?;
    Ok(vec![("instructions", instructions / once.operations)])
}

fn total(profile: &Path) -> Result<f64> {
    let text = std::fs::read_to_string(profile).with_context(|| format!("callgrind wrote no {}", profile.display()))?;
    // The line `summary:` has what was forgotten as well.
    let line = text.lines().find_map(|line| line.strip_prefix("totals:"));
    Ok(line.context("a profile without a total")?.trim().parse()?)
}
