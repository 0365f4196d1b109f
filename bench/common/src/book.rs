//! What was measured: every metric of every repeat, and what comes out of it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::stats::{Spread, number};

/// The metrics of one measurement, in the order in which they are shown.
pub type Metrics = Vec<(&'static str, f64)>;

/// One measurement of one system.
#[derive(Debug, Serialize)]
pub struct Measurement {
    pub row: String,
    pub system: String,
    pub repeat: usize,
    pub metrics: BTreeMap<&'static str, f64>,
    /// Why there are no metrics.
    pub failure: Option<String>,
}

/// All measurements.
#[derive(Debug, Default)]
pub struct Book {
    measurements: Vec<Measurement>,
    /// Metrics in the order in which a row first named them.
    order: BTreeMap<String, Vec<&'static str>>,
    rows: Vec<String>,
}

impl Book {
    pub fn record(&mut self, row: &str, system: &str, repeat: usize, result: anyhow::Result<Metrics>) {
        if !self.rows.iter().any(|known| known == row) {
            self.rows.push(row.to_owned());
        }
        let (metrics, failure) = match result {
            Ok(metrics) => {
                let order = self.order.entry(row.to_owned()).or_default();
                for (metric, _) in &metrics {
                    if !order.contains(metric) {
                        order.push(metric);
                    }
                }
                let shown: Vec<String> =
                    metrics.iter().map(|(metric, value)| format!("{metric} {}", number(*value))).collect();
                eprintln!("{row:<12} {system:<12} #{repeat}  {}", shown.join("  "));
                (metrics.into_iter().collect(), None)
            }
            Err(error) => {
                eprintln!("{row:<12} {system:<12} #{repeat}  FAILED: {error:#}");
                (BTreeMap::new(), Some(format!("{error:#}")))
            }
        };
        let (row, system) = (row.to_owned(), system.to_owned());
        self.measurements.push(Measurement { row, system, repeat, metrics, failure });
    }

    pub fn measurements(&self) -> &[Measurement] {
        &self.measurements
    }

    pub fn rows(&self) -> &[String] {
        &self.rows
    }

    pub fn metrics(&self, row: &str) -> &[&'static str] {
        self.order.get(row).map(Vec::as_slice).unwrap_or_default()
    }

    /// Who has measurements in a row, in the order of measuring.
    pub fn systems(&self, row: &str) -> Vec<&str> {
        let mut systems: Vec<&str> = Vec::new();
        for measurement in self.measurements.iter().filter(|measurement| measurement.row == row) {
            if !systems.contains(&measurement.system.as_str()) {
                systems.push(&measurement.system);
            }
        }
        systems
    }

    pub fn failures(&self) -> impl Iterator<Item = (&Measurement, &str)> {
        self.measurements.iter().filter_map(|measurement| Some((measurement, measurement.failure.as_deref()?)))
    }

    pub fn spread(&self, row: &str, system: &str, metric: &str) -> Option<Spread> {
        Spread::of(self.values(row, system, metric).into_values())
    }

    /// The ratio of two systems, taken within each repeat: both were measured within seconds of each other.
    pub fn ratio(&self, row: &str, metric: &str, ours: &str, theirs: &str) -> Option<Spread> {
        let theirs = self.values(row, theirs, metric);
        let ours = self.values(row, ours, metric);
        Spread::of(ours.into_iter().filter_map(|(repeat, value)| Some(value / theirs.get(&repeat)?)))
    }

    fn values(&self, row: &str, system: &str, metric: &str) -> BTreeMap<usize, f64> {
        self.measurements
            .iter()
            .filter(|measurement| measurement.row == row && measurement.system == system)
            .filter_map(|measurement| Some((measurement.repeat, *measurement.metrics.get(metric)?)))
            .collect()
    }
}

/// Whether a metric is better when it is greater.
pub fn is_rate(metric: &str) -> bool {
    metric.ends_with("_per_s")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ratio_pairs_measurements_of_the_same_repeat() {
        let mut book = Book::default();
        for (repeat, ours, theirs) in [(0, 10.0, 5.0), (1, 30.0, 10.0), (2, 8.0, 8.0)] {
            book.record("row", "us", repeat, Ok(vec![("us", ours)]));
            book.record("row", "them", repeat, Ok(vec![("us", theirs)]));
        }
        book.record("row", "us", 3, Err(anyhow::anyhow!("no")));
        let ratio = book.ratio("row", "us", "us", "them").unwrap();
        assert_eq!((ratio.min, ratio.median, ratio.max), (1.0, 2.0, 3.0));
        assert_eq!(book.failures().count(), 1);
    }
}
