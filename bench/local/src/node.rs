//! Breakers of Node, each measurement by a process of its own: `bench/node/peers.mjs`.

use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::frame::{Absent, Sample};

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../node");

#[derive(Deserialize)]
struct Timed {
    operations: usize,
    elapsed_ns: u64,
}

#[derive(Deserialize)]
struct Counted {
    count: usize,
}

/// Does so many operations of a row with a peer.
pub(crate) async fn time(peer: &'static str, row: &'static str, times: usize) -> Result<Sample> {
    let Timed { operations, elapsed_ns } = ask("time", peer, row, times).await?;
    Ok(Sample::elsewhere(Duration::from_nanos(elapsed_ns), operations))
}

/// What so many tries of a race with a peer come to.
pub(crate) async fn race(peer: &'static str, race: &'static str, tries: usize) -> Result<usize> {
    let Counted { count } = ask("race", peer, race, tries).await?;
    Ok(count)
}

async fn ask<T: DeserializeOwned + Send + 'static>(
    what: &'static str,
    peer: &'static str,
    name: &'static str,
    number: usize,
) -> Result<T> {
    tokio::task::spawn_blocking(move || {
        installed()?;
        let output = run("node", ["peers.mjs", what, peer, name, &number.to_string()])?;
        serde_json::from_slice(&output.stdout).context("peers.mjs said something else")
    })
    .await?
}

/// Installs the peers' pinned versions, once.
fn installed() -> Result<(), Absent> {
    static INSTALLED: OnceLock<Result<(), String>> = OnceLock::new();
    let installed = INSTALLED.get_or_init(|| {
        let done = modified("node_modules/.package-lock.json");
        if done.is_some() && done >= modified("package-lock.json") {
            return Ok(());
        }
        run("npm", ["ci", "--ignore-scripts", "--no-audit", "--no-fund"])
            .map(drop)
            .map_err(|error| format!("the breakers of Node could not be installed: {error:#}"))
    });
    installed.clone().map_err(Absent)
}

fn modified(file: &str) -> Option<std::time::SystemTime> {
    std::fs::metadata(Path::new(DIR).join(file)).and_then(|meta| meta.modified()).ok()
}

fn run<const N: usize>(program: &str, args: [impl AsRef<OsStr>; N]) -> Result<Output> {
    let output = match Command::new(program).args(args).current_dir(DIR).stdin(Stdio::null()).output() {
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Absent(format!("{program} is not installed (Debian: nodejs, npm)")).into());
        }
        output => output.with_context(|| format!("{program} could not be started"))?,
    };
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{program} failed: {}", said.trim_end());
    Ok(output)
}
