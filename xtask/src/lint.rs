//! Formatting, clippy, docs, futures and dependencies.

use anyhow::Result;

use crate::cargo::Cargo;
use crate::components::program_exists;
use crate::futures;
use crate::packages;
use crate::run::Run;

/// Runs every check that needs no test.
pub(crate) fn lint(run: &Run) -> Result<()> {
    Cargo::new(["fmt", "--all", "--check"]).run(run)?;
    Cargo::new(["fmt", "--all", "--check", "--manifest-path", "bench/Cargo.toml"]).run(run)?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "--deny", "warnings"];
    Cargo::new(clippy).run(run)?;
    // The rest of the benches wants `protoc`, for a client of etcd.
    let bench = ["clippy", "--manifest-path", "bench/Cargo.toml", "--package", "raceproof-bench-local", "--package"];
    Cargo::new(bench).args(["raceproof-bench-common", "--all-targets", "--", "--deny", "warnings"]).run(run)?;
    // What a user of the library gets without asking, the least that can be asked for, and each feature by itself.
    let clippy = || Cargo::new(["clippy", "--package", "raceproof"]);
    clippy().args(["--", "--deny", "warnings"]).run(run)?;
    clippy().args(["--no-default-features", "--all-targets", "--", "--deny", "warnings"]).run(run)?;
    for feature in packages::features()? {
        let alone = ["--no-default-features", "--features", &feature];
        clippy().args(alone).args(["--", "--deny", "warnings"]).run(run)?;
    }
    // Links have to lead somewhere with every feature, and without any.
    for what in [&["--workspace", "--all-features"][..], &["--package", "raceproof", "--no-default-features"]] {
        Cargo::new(["doc", "--no-deps"]).args(what).env("RUSTDOCFLAGS", "--deny warnings").run(run)?;
    }
    futures::check(run)?;
    packages::count(run)?;
    if program_exists("cargo-deny") {
        Cargo::new(["deny", "--all-features", "check", "bans", "licenses", "sources"]).run(run)?;
    } else {
        run.step("cargo-deny is not installed: licences, bans and sources (deny.toml) were not checked");
    }
    Ok(())
}
