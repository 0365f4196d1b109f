//! What the library costs a user who asks for nothing: the packages behind `raceproof` without features. And what no
//! room may cost: an HTTP stack.

use std::collections::BTreeSet;
use std::env;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::run::Run;

/// How many there may be, the library itself included. A room that needs one more is a feature.
const PACKAGES_MAX: usize = 25;

/// Those that are meant to be there. Another one is named when there are too many.
const MEANT: [&str; 23] = [
    "arc-swap",
    "crossbeam-utils",
    "fastrand",
    "hashbrown",
    "once_cell",
    "pin-project-lite",
    "proc-macro2",
    "quote",
    "raceproof",
    "raceproof-core",
    "rustc-hash",
    "rustversion",
    "serde",
    "serde_core",
    "serde_derive",
    "syn",
    "thiserror",
    "thiserror-impl",
    "tokio",
    "tokio-macros",
    "tracing",
    "tracing-core",
    "unicode-ident",
];

/// The features that are about speaking to others. The rest are rooms, or show what rooms do.
const NETWORKED: [&str; 3] = ["client", "console", "fence-http"];

/// How HTTP and TLS come into a program.
const HTTP: [&str; 12] = [
    "axum",
    "h2",
    "http",
    "http-body",
    "httparse",
    "hyper",
    "native-tls",
    "openssl",
    "reqwest",
    "rustls",
    "tungstenite",
    "ureq",
];

/// Counts them, and fails when there are too many, or when a room would bring an HTTP stack.
pub(crate) fn count(run: &Run) -> Result<()> {
    run.step(&judge(&packages(&tree("")?))?);
    let rooms: Vec<String> = features()?.into_iter().filter(|name| !NETWORKED.contains(&name.as_str())).collect();
    local(&packages(&tree(&rooms.join(","))?))
}

/// Every feature of the library but the set of those that are on by default.
pub(crate) fn features() -> Result<Vec<String>> {
    features_in(&cargo(&["metadata", "--no-deps", "--format-version", "1"])?)
}

fn features_in(metadata: &str) -> Result<Vec<String>> {
    let metadata: Value = serde_json::from_str(metadata).context("cargo's metadata is JSON")?;
    let packages = metadata.get("packages").and_then(Value::as_array).context("there are packages")?;
    let library = packages.iter().find(|package| package.get("name").is_some_and(|name| name == "raceproof"));
    let features = library.and_then(|library| library.get("features")?.as_object()).context("it has features")?;
    Ok(features.keys().filter(|name| *name != "default").cloned().collect())
}

fn tree(features: &str) -> Result<String> {
    let tree = ["tree", "--package", "raceproof", "--no-default-features", "--features", features];
    cargo(&[&tree[..], &["--prefix", "none", "--edges", "normal,build"]].concat())
}

fn cargo(args: &[&str]) -> Result<String> {
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    Run::output(cargo.args(args).current_dir(Run::root()))
}

/// Nothing of a process's own rooms speaks HTTP.
fn local(packages: &BTreeSet<(&str, &str)>) -> Result<()> {
    let http: Vec<&str> = packages.iter().map(|(name, _)| *name).filter(|name| HTTP.contains(name)).collect();
    if !http.is_empty() {
        bail!("the rooms of one process need {}, and may not need an HTTP stack", http.join(", "));
    }
    Ok(())
}

/// The packages of a tree, each by its name and version, once.
fn packages(tree: &str) -> BTreeSet<(&str, &str)> {
    let named = tree.lines().filter_map(|line| {
        let mut words = line.split_whitespace();
        Some((words.next()?, words.next()?))
    });
    named.collect()
}

fn judge(packages: &BTreeSet<(&str, &str)>) -> Result<String> {
    let count = packages.len();
    let mut seen = BTreeSet::new();
    // A second version of a package is as much of a newcomer as another package.
    let came = packages.iter().filter(|(name, _)| !MEANT.contains(name) || !seen.insert(*name));
    let came: Vec<String> = came.map(|(name, version)| format!("{name} {version}")).collect();
    if count > PACKAGES_MAX {
        bail!(
            "raceproof without features needs {count} packages, and may need {PACKAGES_MAX}: beyond those that are meant \
             to be there (xtask/src/packages.rs) came {}; make what needs them a feature",
            came.join(", ")
        );
    }
    let beyond = if came.is_empty() { String::new() } else { format!(", of which not meant so: {}", came.join(", ")) };
    Ok(format!("raceproof without features needs {count} packages of at most {PACKAGES_MAX}{beyond}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(extra: &[&str]) -> String {
        let meant = MEANT.iter().map(|name| format!("{name} v1.0.0 (/somewhere)\n{name} v1.0.0 (*)\n"));
        meant.chain(extra.iter().map(|line| format!("{line}\n"))).collect()
    }

    #[test]
    fn each_package_counts_once() {
        let said = judge(&packages(&listed(&[]))).expect("few enough");
        assert_eq!(said, format!("raceproof without features needs {} packages of at most 25", MEANT.len()));
    }

    #[test]
    fn one_too_many_is_refused_with_the_names_of_all_that_came() {
        let mut came: Vec<String> = (MEANT.len()..25).map(|number| format!("dep-{number} v1.0.0")).collect();
        // A second version of one that is meant to be there, and a newcomer beyond those that fit.
        *came.last_mut().expect("there is room") = "syn v2.0.0".into();
        let judged = |came: &[String]| {
            let lines: Vec<&str> = came.iter().map(String::as_str).collect();
            judge(&packages(&listed(&lines))).map_err(|error| error.to_string())
        };
        let full = "raceproof without features needs 25 packages of at most 25, of which not meant so: ";
        let named = came.join(", ");
        assert_eq!(judged(&came).expect("as many as may be"), format!("{full}{named}"));
        came.push("zmij v1.0.0".into());
        let error = judged(&came).expect_err("one too many");
        assert!(error.contains("needs 26 packages, and may need 25"), "{error}");
        assert!(error.contains(&format!("came {named}, zmij")), "{error}");
    }

    #[test]
    fn the_library_without_features_stands_on_few_packages() {
        judge(&packages(&tree("").expect("cargo tree"))).expect("few enough");
    }

    #[test]
    fn no_room_brings_an_http_stack() {
        local(&packages(&listed(&["toml v1.0.0", "tower-layer v1.0.0"]))).expect("none of them is one");
        let error = local(&packages(&listed(&["hyper v1.0.0", "http v1.0.0"]))).expect_err("it is one").to_string();
        assert!(error.contains("need http, hyper, and"), "{error}");
    }

    #[test]
    fn each_feature_is_looked_at_by_itself() {
        let metadata = r#"{"packages":[{"name":"other","features":{"a":[]}},
            {"name":"raceproof","features":{"default":["client"],"client":[],"stream":[]}}]}"#;
        assert_eq!(features_in(metadata).expect("metadata"), ["client", "stream"]);
        let features = features().expect("the library's own");
        assert!(NETWORKED.iter().all(|name| features.iter().any(|feature| feature == name)), "{features:?}");
    }
}
