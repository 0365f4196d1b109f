//! A row: the same work, done by several systems in turns.

use std::pin::Pin;

use anyhow::{Context, Result};
use raceproof_bench_common::book::{Book, Metrics};
use raceproof_bench_common::targets::{Bound, Verdict, absolute, against};

use super::{Absent, Sample, callgrind, counted};

const ALLOCATIONS: &str = "allocations";

type Run = Box<dyn Fn(usize) -> Pin<Box<dyn Future<Output = Result<Sample>> + Send>> + Send>;

/// What `ours` is to take at most: so many times what a peer takes, or so much of a metric.
#[derive(Clone, Copy, Debug)]
struct Wanted {
    ours: &'static str,
    peer: Option<&'static str>,
    metric: &'static str,
    at_most: f64,
}

/// The same work, done by several systems.
pub(crate) struct Row {
    name: &'static str,
    times: usize,
    systems: Vec<(&'static str, Run)>,
    wanted: Vec<Wanted>,
}

impl Row {
    /// `times` operations make one measurement; choose it so that one takes 20 to 200 ms. A row of one operation is
    /// about a wait, and its instructions are not counted.
    pub(crate) const fn new(name: &'static str, times: usize) -> Self {
        Self { name, times, systems: Vec::new(), wanted: Vec::new() }
    }

    pub(crate) const fn name(&self) -> &'static str {
        self.name
    }

    pub(super) fn label(&self, room: &str) -> String {
        format!("{room}/{}", self.name)
    }

    /// `run` does so many operations and says how long they took. It runs as a task on two worker threads.
    pub(crate) fn system<F>(mut self, name: &'static str, run: impl Fn(usize) -> F + Send + 'static) -> Self
    where
        F: Future<Output = Result<Sample>> + Send + 'static,
    {
        self.systems.push((name, Box::new(move |times| Box::pin(run(times)))));
        self
    }

    /// `ours` is to take at most this many times what `peer` takes.
    pub(crate) fn target(self, ours: &'static str, peer: &'static str, at_most: f64) -> Self {
        self.wanted(Wanted { ours, peer: Some(peer), metric: "ns", at_most })
    }

    /// `ours` is to take at most so many nanoseconds.
    pub(crate) fn at_most_ns(self, ours: &'static str, at_most: f64) -> Self {
        self.wanted(Wanted { ours, peer: None, metric: "ns", at_most })
    }

    /// `ours` is to allocate nothing.
    pub(crate) fn without_allocation(self, ours: &'static str) -> Self {
        self.wanted(Wanted { ours, peer: None, metric: ALLOCATIONS, at_most: 0.0 })
    }

    fn wanted(mut self, wanted: Wanted) -> Self {
        self.wanted.push(wanted);
        self
    }

    pub(super) async fn measure(&self, room: &str, repeats: usize, book: &mut Book) {
        let label = self.label(room);
        for repeat in 0..repeats {
            // Every other repeat goes the other way round, so that no system always runs behind the same one.
            let mut order: Vec<_> = self.systems.iter().map(|(name, _)| *name).collect();
            if repeat % 2 == 1 {
                order.reverse();
            }
            for system in order {
                let mut measured = self.once(system, self.times).await.map(|sample| sample.metrics());
                if repeat == 0 {
                    measured = self.with_allocations(room, system, self.times, measured).await;
                }
                record(book, &label, system, repeat, measured);
            }
        }
    }

    pub(super) async fn count_instructions(&self, room: &str, book: &mut Book) {
        if self.times == 1 {
            return;
        }
        let label = self.label(room);
        for (system, _) in &self.systems {
            let times = self.times / 10;
            let counted = callgrind::count(&label, system, times).await;
            record(book, &label, system, 0, self.with_allocations(room, system, times, counted).await);
        }
    }

    /// Adds what was allocated, unless it is known or the row is about a wait.
    async fn with_allocations(
        &self,
        room: &str,
        system: &str,
        times: usize,
        measured: Result<Metrics>,
    ) -> Result<Metrics> {
        let mut metrics = measured?;
        if self.times > 1 && !metrics.iter().any(|(metric, _)| *metric == ALLOCATIONS) {
            let allocations = counted::allocations(&self.label(room), system, times).await?;
            metrics.extend(allocations.map(|allocations| (ALLOCATIONS, allocations)));
        }
        Ok(metrics)
    }

    /// Does the work with one system.
    pub(super) async fn once(&self, system: &str, times: usize) -> Result<Sample> {
        let run = self.systems.iter().find(|(name, _)| *name == system).map(|(_, run)| run);
        let run = run.with_context(|| format!("`{system}` is not in the row `{}`", self.name))?;
        tokio::spawn(run(times)).await.context("a bench must not panic")?
    }

    pub(super) fn verdicts(&self, room: &str, book: &Book) -> Vec<Verdict> {
        let label = self.label(room);
        let verdict = |Wanted { ours, peer, metric, at_most }: &Wanted| {
            let bound = Bound::AtMost(*at_most);
            match peer {
                Some(peer) => {
                    against(&format!("{label}: {ours} ÷ {peer}"), &label, metric, ours, peer, bound).verdict(book)
                }
                None => absolute(&format!("{label}: {ours}, {metric}"), &label, metric, ours, bound).verdict(book),
            }
        };
        self.wanted.iter().filter_map(verdict).collect()
    }
}

/// Puts a measurement into the book, unless its system is not there.
fn record(book: &mut Book, row: &str, system: &str, repeat: usize, measured: Result<Metrics>) {
    match measured {
        Err(error) if error.is::<Absent>() => eprintln!("{row:<28} {system:<28} left out: {error:#}"),
        measured => book.record(row, system, repeat, measured),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use anyhow::{anyhow, ensure};

    use super::super::repeat_sync;
    use super::*;

    fn took(nanos: u64) -> impl Future<Output = Result<Sample>> + Send {
        std::future::ready(Ok(Sample::elsewhere(Duration::from_nanos(nanos), 1)))
    }

    async fn measured(row: Row) -> (Book, Vec<Verdict>) {
        let mut book = Book::default();
        row.measure("room", 3, &mut book).await;
        let verdicts = row.verdicts("room", &book);
        (book, verdicts)
    }

    fn met(verdicts: &[Verdict]) -> Vec<bool> {
        verdicts.iter().map(|verdict| verdict.met).collect()
    }

    #[tokio::test]
    async fn targets_are_judged_by_ratio_time_and_allocations() {
        let boxes = |times| {
            let mut sample = repeat_sync(times, || {});
            sample.allocations = Some(times);
            sample
        };
        let row = Row::new("row", 10)
            .system("us", |_| took(12))
            .system("them", |_| took(10))
            .system("boxes", move |times| std::future::ready(Ok(boxes(times))))
            .target("us", "them", 1.1)
            .target("us", "them", 1.2)
            .at_most_ns("us", 11.0)
            .at_most_ns("us", 12.0)
            .without_allocation("boxes");
        let (book, verdicts) = measured(row).await;
        assert_eq!(met(&verdicts), [false, true, false, true, false], "{verdicts:?}");
        assert_eq!(book.failures().count(), 0);
    }

    #[tokio::test]
    async fn a_row_fails_when_its_check_fails_once_or_panics() {
        let failing = |_| async {
            ensure!(false, "11 loads for 10 keys");
            took(1).await
        };
        let row = Row::new("row", 10).system("us", failing).system("them", |_| took(10)).target("us", "them", 1.1);
        let (book, verdicts) = measured(row).await;
        assert_eq!((book.failures().count(), met(&verdicts)), (3, vec![false]));

        let row = Row::new("row", 10).system("us", |_| async { panic!("on purpose") });
        assert_eq!(measured(row).await.0.failures().count(), 3);
    }

    #[tokio::test]
    async fn who_is_not_here_is_left_out() {
        let absent = |_| async { Err(anyhow!(Absent("no node".to_owned()))) };
        let row = Row::new("row", 10).system("us", |_| took(1)).system("them", absent).target("us", "them", 1.1);
        let (book, verdicts) = measured(row).await;
        assert_eq!((book.failures().count(), verdicts.len()), (0, 0));
        assert_eq!(book.systems("room/row"), ["us"]);
    }
}
