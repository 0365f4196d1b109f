//! Formatting, clippy, docs and dependencies.

use anyhow::Result;

use crate::cargo::Cargo;
use crate::components::program_exists;
use crate::packages;
use crate::run::Run;

/// The features of the library, each of which has to build by itself.
const FEATURES: [&str; 11] = [
    "cache",
    "client",
    "coarse-clock",
    "config",
    "console",
    "fence-http",
    "prometheus",
    "serde",
    "signal",
    "store",
    "tower",
];

/// Runs every check that needs no test.
pub(crate) fn lint(run: &Run) -> Result<()> {
    Cargo::new(["fmt", "--all", "--check"]).run(run)?;
    Cargo::new(["fmt", "--all", "--check", "--manifest-path", "bench/Cargo.toml"]).run(run)?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--all-features", "--", "--deny", "warnings"];
    Cargo::new(clippy).run(run)?;
    // What a user of the library gets without asking, the least that can be asked for, and each feature by itself.
    let one = |feature| ["--no-default-features", "--features", feature];
    let alone = FEATURES.map(one);
    for features in [&[][..], &["--no-default-features"]].into_iter().chain(alone.iter().map(|one| &one[..])) {
        Cargo::new(["clippy", "--package", "raceproof"]).args(features).args(["--", "--deny", "warnings"]).run(run)?;
    }
    // Links have to lead somewhere with every feature, and without any.
    for what in [&["--workspace", "--all-features"][..], &["--package", "raceproof", "--no-default-features"]] {
        Cargo::new(["doc", "--no-deps"]).args(what).env("RUSTDOCFLAGS", "--deny warnings").run(run)?;
    }
    packages::count(run)?;
    if program_exists("cargo-deny") {
        Cargo::new(["deny", "--all-features", "check", "bans", "licenses", "sources"]).run(run)?;
    } else {
        run.step("cargo-deny is not installed: licences, bans and sources (deny.toml) were not checked");
    }
    Ok(())
}
