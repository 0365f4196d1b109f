//! Order statistics.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};

/// Latencies, to be sorted once.
#[derive(Debug, Default)]
pub struct Latencies(Vec<u64>);

impl Latencies {
    pub fn push(&mut self, latency: Duration) {
        self.0.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub fn append(&mut self, mut other: Self) {
        self.0.append(&mut other.0);
    }

    pub const fn len(&self) -> usize {
        self.0.len()
    }

    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The latency that the part `quantile` of all do not exceed, in microseconds; an error of nothing.
    pub fn quantile_us(&mut self, quantile: f64) -> Result<f64> {
        let last = self.0.len().checked_sub(1).context("nothing was measured")?;
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "an index"
        )]
        let index = (last as f64 * quantile).round() as usize;
        let (_, nanos, _) = self.0.select_nth_unstable(index);
        #[expect(clippy::cast_precision_loss, reason = "far below 2^53")]
        let micros = *nanos as f64 / 1_000.0;
        Ok(micros)
    }

    /// The same in milliseconds.
    pub fn quantile_ms(&mut self, quantile: f64) -> Result<f64> {
        Ok(self.quantile_us(quantile)? / 1e3)
    }
}

impl FromIterator<Duration> for Latencies {
    fn from_iter<T: IntoIterator<Item = Duration>>(latencies: T) -> Self {
        let mut all = Self::default();
        latencies.into_iter().for_each(|latency| all.push(latency));
        all
    }
}

/// The median and the ends of several measurements of one thing.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    pub median: f64,
    pub min: f64,
    pub max: f64,
}

impl Spread {
    pub fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let upper = *values.get(values.len() / 2)?;
        let lower = *values.get((values.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), min, max })
    }
}

/// The median, and the least and the greatest where they are not the same.
impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { median, min, max } = self;
        if min == max {
            f.write_str(&number(*median))
        } else {
            write!(f, "{} ({}–{})", number(*median), number(*min), number(*max))
        }
    }
}

/// A number with as many digits as mean something.
pub fn number(value: f64) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let mut latencies = Latencies::default();
        assert!(latencies.quantile_us(0.5).is_err());
        for micros in (0..=100).rev() {
            latencies.push(Duration::from_micros(micros));
        }
        assert_eq!(latencies.quantile_us(0.0).unwrap(), 0.0);
        assert_eq!(latencies.quantile_us(0.5).unwrap(), 50.0);
        assert_eq!(latencies.quantile_us(0.99).unwrap(), 99.0);
        assert_eq!(latencies.quantile_us(1.0).unwrap(), 100.0);
    }

    #[test]
    fn a_spread_has_the_middle_and_both_ends() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 4.0));
        assert_eq!(Spread::of([7.0]).unwrap().median, 7.0);
        assert!(Spread::of([]).is_none());
    }

    #[test]
    fn numbers_are_grouped_and_short() {
        assert_eq!(number(1_234_567.8), "1,234,568");
        assert_eq!(number(-1_234.0), "-1,234");
        assert_eq!(number(999.4), "999");
        assert_eq!(number(12.34), "12.3");
        assert_eq!(number(0.123), "0.12");
    }
}
