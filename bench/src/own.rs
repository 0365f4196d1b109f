//! Our own program, built from the tree that this bench is in.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../Cargo.toml");

/// Builds `raceproof` in release and says where it is.
pub(crate) fn build() -> Result<PathBuf> {
    eprintln!("building raceproof in release");
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["build", "--release", "--package", "raceproof-cli", "--message-format", "json", "--manifest-path"])
        .arg(MANIFEST)
        .stderr(Stdio::inherit())
        .output()
        .context("cargo could not be started; name the program with --raceproof")?;
    ensure!(output.status.success(), "raceproof could not be built");
    let text = String::from_utf8(output.stdout)?;
    let built = text.lines().rev().find_map(|line| {
        let message: serde_json::Value = serde_json::from_str(line).ok()?;
        let executable = PathBuf::from(message.get("executable")?.as_str()?);
        executable.file_name().is_some_and(|name| name == "raceproof").then_some(executable)
    });
    built.context("cargo named no program `raceproof`")
}
