//! What was measured: every metric of every repeat, and what comes out of it.

use std::collections::BTreeMap;

use serde::Serialize;

use crate::kind::Kind;
use crate::stats::Spread;

/// The metrics of one measurement, in the order in which they are shown.
pub(crate) type Metrics = Vec<(&'static str, f64)>;

/// One measurement of one system.
#[derive(Debug, Serialize)]
pub(crate) struct Measurement {
    pub(crate) row: &'static str,
    pub(crate) system: &'static str,
    pub(crate) repeat: usize,
    pub(crate) metrics: BTreeMap<&'static str, f64>,
    /// Why there are no metrics.
    pub(crate) failure: Option<String>,
}

/// All measurements.
#[derive(Debug, Default)]
pub(crate) struct Book {
    measurements: Vec<Measurement>,
    /// Metrics in the order in which a row first named them.
    order: BTreeMap<&'static str, Vec<&'static str>>,
    rows: Vec<&'static str>,
}

impl Book {
    pub(crate) fn record(
        &mut self,
        row: &'static str,
        system: &'static str,
        repeat: usize,
        result: anyhow::Result<Metrics>,
    ) {
        if !self.rows.contains(&row) {
            self.rows.push(row);
        }
        let (metrics, failure) = match result {
            Ok(metrics) => {
                let order = self.order.entry(row).or_default();
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
        self.measurements.push(Measurement { row, system, repeat, metrics, failure });
    }

    pub(crate) fn measurements(&self) -> &[Measurement] {
        &self.measurements
    }

    pub(crate) fn rows(&self) -> &[&'static str] {
        &self.rows
    }

    pub(crate) fn metrics(&self, row: &str) -> &[&'static str] {
        self.order.get(row).map(Vec::as_slice).unwrap_or_default()
    }

    /// Who has measurements in a row, in the order of measuring.
    pub(crate) fn systems(&self, row: &str) -> Vec<&'static str> {
        let mut systems = Vec::new();
        for measurement in self.measurements.iter().filter(|measurement| measurement.row == row) {
            if !systems.contains(&measurement.system) {
                systems.push(measurement.system);
            }
        }
        systems
    }

    pub(crate) fn failures(&self) -> impl Iterator<Item = (&Measurement, &str)> {
        self.measurements.iter().filter_map(|measurement| Some((measurement, measurement.failure.as_deref()?)))
    }

    pub(crate) fn spread(&self, row: &str, system: &str, metric: &str) -> Option<Spread> {
        Spread::of(self.values(row, system, metric).into_values())
    }

    /// The ratio of two systems, taken within each repeat: both were measured within seconds of each other.
    pub(crate) fn ratio(&self, row: &str, metric: &str, ours: &str, theirs: &str) -> Option<Spread> {
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
pub(crate) fn is_rate(metric: &str) -> bool {
    metric.ends_with("_per_s")
}

/// A number with as many digits as mean something.
pub(crate) fn number(value: f64) -> String {
    if value.abs() >= 1_000.0 {
        let digits = format!("{value:.0}");
        let mut grouped = String::new();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) && !grouped.ends_with('-') {
                grouped.push(',');
            }
            grouped.push(digit);
        }
        grouped
    } else if value.abs() >= 100.0 {
        format!("{value:.0}")
    } else if value.abs() >= 10.0 {
        format!("{value:.1}")
    } else {
        format!("{value:.2}")
    }
}

/// Systems that are ours, of those measured.
pub(crate) const OURS: [Kind; 2] = [Kind::Durable, Kind::Reclaim];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_and_short() {
        assert_eq!(number(1_234_567.8), "1,234,568");
        assert_eq!(number(-1_234.0), "-1,234");
        assert_eq!(number(999.4), "999");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(0.123), "0.12");
    }

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
