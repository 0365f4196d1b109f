//! Suites without a test. One whose tests were configured away, or were never built, would pass like any other.

use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::cargo::Cargo;
use crate::run::Run;

/// Built under a flag of its own, by a run of its own, which counts for itself.
const APART: &str = "shuttle";

/// A test program: of a library, or of a file in `tests/`.
#[derive(Debug, PartialEq, Eq)]
struct Suite {
    name: String,
    program: String,
}

/// Builds every suite, and fails with the names of those that have no test.
pub(crate) fn check(run: &Run) -> Result<()> {
    let build = ["test", "--workspace", "--all-features", "--no-run", "--message-format", "json-render-diagnostics"];
    let suites = built(&Cargo::new(build).printed(run)?)?;
    let mut empty = Vec::new();
    for Suite { name, program } in &suites {
        let listed = Run::output(Command::new(program).args(["--list", "--format", "terse"]))?;
        if tests(&listed) == 0 {
            empty.push(name.as_str());
        }
    }
    judge(suites.len(), &empty)?;
    run.step(&format!("each of {} suites has tests", suites.len()));
    Ok(())
}

fn judge(suites: usize, empty: &[&str]) -> Result<()> {
    if suites == 0 {
        bail!("not one suite was built");
    }
    if !empty.is_empty() {
        bail!("without a test are {}", empty.join(", "));
    }
    Ok(())
}

/// The suites among what cargo says it has built.
fn built(messages: &str) -> Result<Vec<Suite>> {
    let mut suites = Vec::new();
    for line in messages.lines().filter(|line| line.starts_with('{')) {
        let message: Value = serde_json::from_str(line).context("cargo's messages are JSON")?;
        let of = |path: &str| message.pointer(path).and_then(Value::as_str);
        let is_suite = matches!(of("/target/kind/0"), Some("lib" | "test"));
        let (Some(program), Some(name)) = (of("/executable"), of("/target/name")) else { continue };
        if is_suite && name != APART {
            suites.push(Suite { name: name.to_owned(), program: program.to_owned() });
        }
    }
    Ok(suites)
}

/// How many tests a test program lists.
fn tests(listed: &str) -> usize {
    listed.lines().filter(|line| line.ends_with(": test")).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_are_what_has_tests_to_run() {
        let messages = r#"
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"raceproof"},"executable":null}
{"reason":"compiler-artifact","target":{"kind":["lib"],"name":"raceproof"},"executable":"/t/raceproof-1"}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"stories"},"executable":"/t/stories-1"}
{"reason":"compiler-artifact","target":{"kind":["test"],"name":"shuttle"},"executable":"/t/shuttle-1"}
{"reason":"compiler-artifact","target":{"kind":["bin"],"name":"raceproof"},"executable":"/t/raceproof-2"}
{"reason":"build-finished","success":true}
"#;
        let names: Vec<String> = built(messages).expect("messages").into_iter().map(|suite| suite.name).collect();
        assert_eq!(names, ["raceproof", "stories"]);
    }

    #[test]
    fn a_suite_that_compiled_to_no_test_is_a_failure() {
        assert_eq!(tests("l1_one_holder: test\nbenches::acquire: benchmark\n"), 1);
        assert_eq!(tests("\n"), 0);
        assert_eq!(
            judge(3, &["stories", "client"]).expect_err("two are empty").to_string(),
            "without a test are stories, client"
        );
        assert!(judge(0, &[]).is_err(), "nothing at all is not nothing empty");
        assert!(judge(3, &[]).is_ok());
    }
}
