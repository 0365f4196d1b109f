//! The simulator's program: runs many seeds, or replays one and prints what happened, with or without a known bug.

use std::process::ExitCode;
use std::time::Duration;

use raceproof_sim::mutation::Mutation;
use raceproof_sim::runner::{Summary, Task, hunt, run_many};
use raceproof_sim::world::{Options, run};

const USAGE: &str = "\
usage: raceproof-sim [--seeds N] [--from SEED] [--for 120s] [--jobs N] [--mutation NAME|all] [--only INVARIANT]
       raceproof-sim --seed SEED [--quiet] [--mutation NAME] [--only INVARIANT]

Runs N seeds (10,000 by default) and prints the first that violates a promise; with --seed, replays one and prints its
trace. Exits with 1 if a promise was violated, or if a known bug that was put back went unnoticed.";

struct Arguments {
    task: Task,
    seed: Option<u64>,
    quiet: bool,
    mutations: Vec<Mutation>,
}

fn main() -> ExitCode {
    let arguments = match parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(problem) => {
            eprintln!("{problem}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    let fine = match (arguments.seed, arguments.mutations.as_slice()) {
        (Some(seed), mutations) => replay(seed, &arguments, mutations.first().copied()),
        (None, []) => report(&run_many(&arguments.task)),
        (None, mutations) => report_hunt(&hunt(&arguments.task, mutations)),
    };
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Arguments, String> {
    let jobs = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let task = Task { from: 0, seeds: 10_000, length: None, jobs, options: Options::default() };
    let mut arguments = Arguments { task, seed: None, quiet: false, mutations: Vec::new() };
    let mut seeds = None;
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--seeds" => seeds = Some(number(&value()?)?),
            "--from" => arguments.task.from = number(&value()?)?,
            "--seed" => arguments.seed = Some(number(&value()?)?),
            "--jobs" => arguments.task.jobs = usize::try_from(number(&value()?)?).unwrap_or(1),
            "--for" => {
                let text = value()?;
                let length = Duration::from_secs(number(text.trim_end_matches('s'))?);
                arguments.task.length = Some(length);
            }
            "--mutation" => arguments.mutations = mutations(&value()?)?,
            "--only" => {
                let name = value()?;
                let known = raceproof_sim::invariants::names();
                let found = known.into_iter().find(|known| *known == name);
                arguments.task.options.only = Some(found.ok_or_else(|| format!("no invariant is called {name:?}"))?);
            }
            "--quiet" => arguments.quiet = true,
            _ => return Err(format!("{word:?} is not an option")),
        }
    }
    arguments.task.seeds = seeds.unwrap_or_else(|| if arguments.task.length.is_some() { u64::MAX } else { 10_000 });
    Ok(arguments)
}

fn number(text: &str) -> Result<u64, String> {
    text.replace('_', "").parse().map_err(|_| format!("{text:?} is not a number"))
}

fn mutations(name: &str) -> Result<Vec<Mutation>, String> {
    if name == "all" {
        return Ok(Mutation::all());
    }
    let known = || Mutation::all().into_iter().map(Mutation::name).collect::<Vec<_>>().join(" ");
    Mutation::named(name)
        .map(|one| vec![one])
        .ok_or_else(|| format!("no known bug is called {name:?}; there are: {}", known()))
}

fn replay(seed: u64, arguments: &Arguments, mutation: Option<Mutation>) -> bool {
    let outcome = run(seed, Options { text: !arguments.quiet, mutation, ..arguments.task.options });
    for line in &outcome.lines {
        println!("{line}");
    }
    println!("seed {seed}: {} events, trace {:016x}", outcome.events, outcome.hash);
    println!("{:?}", outcome.report);
    match &outcome.violated {
        Some(violated) => {
            println!("VIOLATED {} at {} µs: {}", violated.invariant, violated.at, violated.what);
            false
        }
        None => true,
    }
}

fn report(summary: &Summary) -> bool {
    let seconds = summary.took.as_secs_f64();
    #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
    let rate = summary.seeds as f64 / seconds;
    println!("{} seeds in {seconds:.1} s, {rate:.0} seeds/s, {} events", summary.seeds, summary.events);
    println!("{:?}", summary.report);
    match &summary.failed {
        Some((seed, violated)) => {
            println!("seed {seed} VIOLATED {}: {}", violated.invariant, violated.what);
            println!("replay it with --seed {seed}");
            false
        }
        None => {
            println!("nothing was violated");
            true
        }
    }
}

fn report_hunt(hunted: &[(Mutation, Summary)]) -> bool {
    let mut all_caught = true;
    for (mutation, summary) in hunted {
        let name = mutation.name();
        match &summary.failed {
            Some((seed, violated)) => {
                let what: String = violated.what.chars().take(120).collect();
                println!("{name:24} caught by seed {seed} ({} run): {}: {what}", summary.seeds, violated.invariant);
            }
            None => {
                all_caught = false;
                println!("{name:24} NOT CAUGHT in {} seeds", summary.seeds);
            }
        }
    }
    all_caught
}
