//! A race: a situation in which something can go wrong, and what each system makes of it.

use std::fmt::Write;
use std::pin::Pin;

use anyhow::{Context, Result};
use serde::Serialize;

use super::Absent;

type Run = Box<dyn Fn() -> Pin<Box<dyn Future<Output = Result<String>> + Send>> + Send>;

/// A situation in which something can go wrong.
pub(crate) struct Race {
    name: &'static str,
    wanted: &'static str,
    ours: &'static str,
    systems: Vec<(&'static str, Run)>,
}

/// What became of a race.
#[derive(Debug, Serialize)]
pub(crate) struct Settled {
    race: String,
    wanted: &'static str,
    /// Whether ours came out as wanted.
    pub(crate) held: bool,
    systems: Vec<(&'static str, String)>,
}

impl Race {
    /// `ours` fails the run unless its outcome is `wanted`.
    pub(crate) fn new(name: &'static str, ours: &'static str, wanted: &'static str) -> Self {
        Self { name, wanted, ours, systems: Vec::new() }
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    pub(crate) fn system<F>(mut self, name: &'static str, run: impl Fn() -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<String>> + Send + 'static,
    {
        self.systems.push((name, Box::new(move || Box::pin(run()))));
        self
    }

    pub(super) async fn settle(&self, room: &str) -> Settled {
        let race = format!("{room}/{}", self.name);
        let mut settled = Settled { race, wanted: self.wanted, held: true, systems: Vec::new() };
        for (name, run) in &self.systems {
            let outcome = match tokio::spawn(run()).await.context("a bench must not panic") {
                Ok(Ok(outcome)) => outcome,
                Ok(Err(error)) if error.is::<Absent>() => format!("left out: {error:#}"),
                Ok(Err(error)) | Err(error) => format!("failed: {error:#}"),
            };
            settled.held &= *name != self.ours || outcome == self.wanted;
            eprintln!("{:<28} {name:<28} {outcome}", settled.race);
            settled.systems.push((*name, outcome));
        }
        settled
    }
}

/// One table of all races.
pub(crate) fn table(races: &[Settled]) -> String {
    if races.is_empty() {
        return String::new();
    }
    let mut text = "\n### Races\n\n| race | wanted | came out | |\n|---|---|---|---|\n".to_owned();
    for Settled { race, wanted, held, systems } in races {
        let came_out: Vec<String> = systems.iter().map(|(system, outcome)| format!("{system}: {outcome}")).collect();
        let held = if *held { "pass" } else { "**FAIL**" };
        let _ = writeln!(text, "| {race} | {wanted} | {} | {held} |", came_out.join("; "));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn race(ours: Result<String>) -> Race {
        let ours = std::sync::Mutex::new(Some(ours));
        Race::new("race", "us", "1 load")
            .system("us", move || {
                let ours = ours.lock().ok().and_then(|mut ours| ours.take());
                async { ours.context("ran before")? }
            })
            .system("them", || async { Ok("2 loads".to_owned()) })
            .system("others", || async { Err(Absent("not here".to_owned()).into()) })
    }

    #[tokio::test]
    async fn a_race_holds_if_ours_comes_out_as_wanted_whatever_peers_do() {
        let settled = race(Ok("1 load".to_owned())).settle("room").await;
        assert!(settled.held);
        let text = table(&[settled]);
        assert!(text.contains("| room/race | 1 load | us: 1 load; them: 2 loads; others: left out: not here | pass |"));
    }

    #[tokio::test]
    async fn a_race_fails_if_ours_comes_out_otherwise_or_not_at_all() {
        let lost = [Ok("2 loads".to_owned()), Err(anyhow::anyhow!("stuck")), Err(Absent("no".to_owned()).into())];
        for ours in lost {
            let settled = race(ours).settle("room").await;
            assert!(!settled.held, "{settled:?}");
            assert!(table(&[settled]).contains("**FAIL**"));
        }
    }

    #[tokio::test]
    async fn a_race_that_panics_fails() {
        let race = Race::new("race", "us", "1").system("us", || async { panic!("on purpose") });
        assert!(!race.settle("room").await.held);
    }
}
