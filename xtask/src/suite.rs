//! The full test run: components, servers, simulation, shuttle, doctests, and every other test last, so that the run
//! closes on how many there were.

use anyhow::{Result, bail};
use clap::Args;

use crate::cargo::{Cargo, Count, Harness};
use crate::components;
use crate::run::Run;
use crate::servers::{self, Address};
use crate::targets;

/// How the suite is run.
#[derive(Args)]
pub(crate) struct Options {
    /// How long to simulate: as many seeds as fit.
    #[arg(long, value_name = "DURATION", default_value = "120s")]
    sim_for: String,
    /// Leave the simulation out.
    #[arg(long)]
    no_sim: bool,
    /// Passed to the test runner; the simulation and the doctests are left out then:
    /// `cargo xtask test -- -p raceproof fence`.
    #[arg(last = true)]
    args: Vec<String>,
}

/// Runs every test.
pub(crate) fn test(run: &Run, options: &Options) -> Result<()> {
    let missing = components::install(run)?;
    components::wasm_target(run)?;
    let mut addresses = servers::start(run)?;
    if let Some(library) = components::component("libfaketime").and_then(components::Component::find) {
        addresses.push(("RACEPROOF_TEST_FAKETIME", library.display().to_string()));
    }
    let everything = options.args.is_empty();
    if everything && !options.no_sim {
        simulate(run, &options.sim_for)?;
    }
    let mut count = Count::default();
    if everything {
        count.add(shuttle(run, &[])?);
        let examples = with_addresses(run, doctests(), &addresses).run_tests(run, Harness::Libtest)?;
        if examples == Count::default() {
            bail!("not one doctest was built");
        }
        count.add(examples);
        targets::check(run)?;
    }
    let harness = harness(run);
    count.add(with_addresses(run, tests(harness, &options.args), &addresses).run_tests(run, harness)?);
    conclude(run, count, &missing)
}

/// Runs the library's shared state in every order that shuttle finds.
pub(crate) fn shuttle(run: &Run, args: &[String]) -> Result<Count> {
    let count = Cargo::shuttle(args).run_tests(run, Harness::Libtest)?;
    if count == Count::default() {
        bail!("not one test was built for shuttle");
    }
    Ok(count)
}

fn simulate(run: &Run, duration: &str) -> Result<()> {
    if !Run::root().join("crates/raceproof-sim/src/main.rs").is_file() {
        run.step("the simulator has no program: nothing is simulated");
        return Ok(());
    }
    Cargo::simulator(&["--for".to_owned(), duration.to_owned()]).run(run)
}

fn doctests() -> Cargo {
    Cargo::new(["test", "--doc", "--workspace", "--all-features", "--no-fail-fast"])
}

/// nextest where it is installed: each test in a process of its own, all of them at once.
fn harness(run: &Run) -> Harness {
    if components::program_exists("cargo-nextest") {
        return Harness::Nextest;
    }
    run.step("cargo-nextest is not installed: by cargo test, one test program after the other");
    Harness::Libtest
}

/// All but the doctests.
fn tests(harness: Harness, args: &[String]) -> Cargo {
    let whole = if args.is_empty() { &["--workspace"][..] } else { &[] };
    let runner = match harness {
        Harness::Nextest => &["nextest", "run", "--no-fail-fast"][..],
        Harness::Libtest => &["test", "--no-fail-fast", "--lib", "--bins", "--tests", "--examples"],
    };
    Cargo::new(runner.iter().copied()).args(["--all-features"]).args(whole).args(args)
}

fn with_addresses(run: &Run, mut cargo: Cargo, addresses: &[Address]) -> Cargo {
    for (name, address) in addresses {
        cargo = cargo.env(name, address);
    }
    if run.in_ci() {
        // A test that does not find its server fails then, instead of saying that it did not run.
        cargo = cargo.env("RACEPROOF_TEST_REQUIRE", "1");
    }
    cargo
}

/// Says how it went, in the one line that every reader of test output knows.
pub(crate) fn conclude(run: &Run, count: Count, missing: &[&components::Component]) -> Result<()> {
    for component in missing {
        run.step(&format!("not tested, for want of {}: see above", component.name));
    }
    println!("{} passed, {} failed, {} skipped", count.passed, count.failed, count.skipped);
    if count.failed > 0 {
        bail!("{} tests failed", count.failed);
    }
    if count.passed == 0 {
        bail!("no test ran");
    }
    Ok(())
}
