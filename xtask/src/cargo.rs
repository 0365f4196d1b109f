//! Cargo's command lines, and running them: output passes through as it is, and the tests in it are counted.

use std::env;
use std::io::{self, BufRead, BufReader, IsTerminal, Read, Write};
use std::process::{Command, Stdio};
use std::thread;

use anyhow::{Context, Result, bail};

use crate::run::Run;

/// One call of cargo.
pub(crate) struct Cargo {
    command: Command,
}

impl Cargo {
    /// `cargo ARGS…` in the workspace's root, by the cargo that runs this program.
    pub(crate) fn new<'a>(args: impl IntoIterator<Item = &'a str>) -> Self {
        let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        command.args(args).current_dir(Run::root());
        Self { command }
    }

    /// The simulator, with flags of its own.
    pub(crate) fn simulator(args: &[String]) -> Self {
        Self::new(["run", "--release", "--package", "raceproof-sim", "--"]).args(args)
    }

    /// A bench, with flags of its own: what is built first, and what is run. What stays within one process is a program
    /// of its own, which has no server's client to build, and a second one that counts allocations.
    pub(crate) fn bench(args: &[String]) -> [Self; 2] {
        let cargo =
            |what, package| Self::new([what, "--release", "--manifest-path", "bench/Cargo.toml", "--package", package]);
        let both = |package, own: &[&str], flags: &[String]| {
            [cargo("build", package), cargo("run", package).args(["--"]).args(own).args(flags)]
        };
        let local = |own: &[&str]| both("raceproof-bench-local", own, args.get(1..).unwrap_or_default());
        match args.first().map(String::as_str) {
            Some("local") => local(&[]),
            Some("races") => local(&["--races"]),
            Some("instructions") => local(&["--instructions"]),
            _ => both("raceproof-bench", &[], args),
        }
    }

    /// The tests that run in every order of their tasks, built apart: locks and atomics are shuttle's there.
    pub(crate) fn shuttle(args: &[String]) -> Self {
        let test =
            ["test", "--package", "raceproof", "--no-default-features", "--features", "cache", "--test", "shuttle"];
        let flags = format!("{} --cfg shuttle", env::var("RUSTFLAGS").unwrap_or_default());
        Self::new(test).args(["--target-dir", "target/shuttle", "--"]).args(args).env("RUSTFLAGS", flags.trim())
    }

    /// The core, without an operating system under it.
    pub(crate) fn wasm_core() -> Self {
        let library = ["rustc", "--package", "raceproof-core", "--lib", "--target", crate::components::WASM_TARGET];
        Self::new(library).args(["--features", "json,log", "--", "--deny", "warnings"])
    }

    /// Adds arguments.
    pub(crate) fn args<S: AsRef<std::ffi::OsStr>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.command.args(args);
        self
    }

    /// Sets a variable of cargo's environment.
    pub(crate) fn env(mut self, name: &str, value: &str) -> Self {
        self.command.env(name, value);
        self
    }

    /// Runs it and fails if it fails.
    pub(crate) fn run(mut self, run: &Run) -> Result<()> {
        run.step(&self.line());
        let status = run.wait(self.command.spawn().context("cargo could not be started")?)?;
        if !status.success() {
            bail!("`{}` failed ({status})", self.line());
        }
        Ok(())
    }

    /// Runs it and returns what it printed. What it says on the way passes through.
    pub(crate) fn printed(mut self, run: &Run) -> Result<String> {
        run.step(&self.line());
        let mut child = self.command.stdout(Stdio::piped()).spawn().context("cargo could not be started")?;
        let stdout = child.stdout.take().map(|from| thread::spawn(move || io::read_to_string(from)));
        let status = run.wait(child)?;
        let printed = stdout.and_then(|reader| reader.join().ok()).context("what cargo printed was lost")??;
        if !status.success() {
            bail!("`{}` failed ({status})", self.line());
        }
        Ok(printed)
    }

    /// Runs tests, and says how many there were. Failed tests are in the count, not in the error.
    pub(crate) fn run_tests(mut self, run: &Run, harness: Harness) -> Result<Count> {
        run.step(&self.line());
        if io::stdout().is_terminal() {
            self.command.env("CARGO_TERM_COLOR", "always");
        }
        let mut child =
            self.command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().context("cargo could not be started")?;
        let stdout = child.stdout.take().map(|from| thread::spawn(move || tee(from, io::stdout(), harness)));
        let stderr = child.stderr.take().map(|from| thread::spawn(move || tee(from, io::stderr(), harness)));
        let status = run.wait(child)?;
        let mut count = Count::default();
        for reader in [stdout, stderr].into_iter().flatten() {
            count.add(reader.join().unwrap_or_default());
        }
        if !status.success() && count.failed == 0 {
            bail!("`{}` failed ({status})", self.line());
        }
        Ok(count)
    }

    fn line(&self) -> String {
        let args = self.command.get_args().map(|arg| arg.to_string_lossy());
        format!("cargo {}", args.collect::<Vec<_>>().join(" "))
    }
}

/// Who runs the tests, and so whose closing line is counted: a test that fails under nextest shows libtest's, too.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Harness {
    /// `cargo test`.
    Libtest,
    /// `cargo nextest`.
    Nextest,
}

impl Harness {
    const fn closing(self) -> &'static str {
        match self {
            Self::Libtest => "test result:",
            Self::Nextest => "Summary [",
        }
    }
}

/// How many tests ran, by their outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Count {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
}

impl Count {
    /// Adds another run's tests.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
    }

    /// Reads the closing line of a test harness.
    fn from_line(line: &str, harness: Harness) -> Option<Self> {
        let plain = without_colour(line);
        let text = plain.trim_start();
        if !text.starts_with(harness.closing()) {
            return None;
        }
        let mut count = Self::default();
        let words: Vec<&str> = text.split(|c: char| c.is_whitespace() || ",;:()".contains(c)).collect();
        let words: Vec<&str> = words.into_iter().filter(|word| !word.is_empty()).collect();
        for pair in words.windows(2) {
            let &[number, what] = pair else { continue };
            let Ok(number) = number.parse::<u64>() else { continue };
            match what {
                "passed" => count.passed += number,
                "failed" => count.failed += number,
                // nextest's "1 timed out" and "1 exec failed".
                "timed" | "exec" => count.failed += number,
                "ignored" | "skipped" => count.skipped += number,
                _ => {}
            }
        }
        Some(count)
    }
}

/// Copies what a child says, line by line, and counts the tests in it.
fn tee(from: impl Read, mut to: impl Write, harness: Harness) -> Count {
    let mut count = Count::default();
    let mut from = BufReader::new(from);
    let mut line = Vec::new();
    while from.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
        // A reader of ours that went away must not stop the tests.
        let _closed = to.write_all(&line).and_then(|()| to.flush());
        if let Some(counted) = Count::from_line(&String::from_utf8_lossy(&line), harness) {
            count.add(counted);
        }
        line.clear();
    }
    count
}

/// The text without terminal escapes (`ESC [ … letter`).
fn without_colour(line: &str) -> String {
    let mut plain = String::with_capacity(line.len());
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        if c == '\u{1b}' {
            chars.by_ref().find(char::is_ascii_alphabetic);
        } else {
            plain.push(c);
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_the_closing_lines_of_both_runners() {
        let libtest =
            "test result: FAILED. 5 passed; 1 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.1s";
        let counted = Some(Count { passed: 5, failed: 1, skipped: 2 });
        assert_eq!(Count::from_line(libtest, Harness::Libtest), counted);
        let nextest = "     Summary [   0.005s] 12 tests run: 9 passed (1 slow), 2 failed, 1 timed out, 4 skipped";
        let counted = Some(Count { passed: 9, failed: 3, skipped: 4 });
        assert_eq!(Count::from_line(nextest, Harness::Nextest), counted);
        let coloured = "\u{1b}[32;1m     Summary\u{1b}[0m [   0.005s] \u{1b}[1m3\u{1b}[0m tests run: \u{1b}[1m3\u{1b}[0m \u{1b}[32;1mpassed\u{1b}[0m, \u{1b}[1m0\u{1b}[0m skipped";
        let counted = Some(Count { passed: 3, failed: 0, skipped: 0 });
        assert_eq!(Count::from_line(coloured, Harness::Nextest), counted);
        assert_eq!(Count::from_line("test l1_one_holder ... ok", Harness::Libtest), None);
    }

    #[test]
    fn a_failure_that_nextest_shows_is_counted_once() {
        let shown = b"    test result: FAILED. 0 passed; 1 failed; 0 ignored\n     Summary [   0.005s] 1 test run: 0 passed, 1 failed, 0 skipped\n";
        assert_eq!(tee(&shown[..], Vec::new(), Harness::Nextest), Count { passed: 0, failed: 1, skipped: 0 });
    }

    #[test]
    fn copies_output_as_it_is_and_sums_it() {
        let said = b"running 1 test\ntest result: ok. 1 passed; 0 failed; 0 ignored\n\xff\ntest result: ok. 2 passed; 0 failed; 0 ignored";
        let mut copied = Vec::new();
        assert_eq!(tee(&said[..], &mut copied, Harness::Libtest), Count { passed: 3, failed: 0, skipped: 0 });
        assert_eq!(copied, said);
    }
}
