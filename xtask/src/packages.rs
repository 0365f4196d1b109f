//! What the library costs a user who asks for nothing: the packages behind `raceproof` without features.

use std::collections::BTreeSet;
use std::env;
use std::process::Command;

use anyhow::{Result, bail};

use crate::run::Run;

/// How many there may be, the library itself included. A room that needs one more is a feature.
const PACKAGES_MAX: usize = 25;

/// Those that are meant to be there. Another one is named when there are too many.
const MEANT: [&str; 22] = [
    "arc-swap",
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

/// Counts them, and fails when there are too many.
pub(crate) fn count(run: &Run) -> Result<()> {
    let tree =
        ["tree", "--package", "raceproof", "--no-default-features", "--prefix", "none", "--edges", "normal,build"];
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    let listed = Run::output(cargo.args(tree).current_dir(Run::root()))?;
    run.step(&judge(&packages(&listed))?);
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

    fn tree(extra: &[&str]) -> String {
        let meant = MEANT.iter().map(|name| format!("{name} v1.0.0 (/somewhere)\n{name} v1.0.0 (*)\n"));
        meant.chain(extra.iter().map(|line| format!("{line}\n"))).collect()
    }

    #[test]
    fn each_package_counts_once() {
        let said = judge(&packages(&tree(&[]))).expect("few enough");
        assert_eq!(said, "raceproof without features needs 22 packages of at most 25");
    }

    #[test]
    fn one_too_many_is_refused_with_the_names_of_all_that_came() {
        let three = ["bytes v1.0.0", "itoa v1.0.0", "syn v2.0.0"];
        assert_eq!(
            judge(&packages(&tree(&three))).expect("as many as may be"),
            "raceproof without features needs 25 packages of at most 25, of which not meant so: bytes v1.0.0, itoa \
             v1.0.0, syn v2.0.0"
        );
        let four = [&three[..], &["zmij v1.0.0"]].concat();
        let error = judge(&packages(&tree(&four))).expect_err("one too many").to_string();
        assert!(error.contains("needs 26 packages, and may need 25"), "{error}");
        assert!(error.contains("came bytes v1.0.0, itoa v1.0.0, syn v2.0.0, zmij"), "{error}");
    }
}
