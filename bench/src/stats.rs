//! Order statistics.

use std::time::Duration;

/// Latencies, to be sorted once.
#[derive(Debug, Default)]
pub(crate) struct Latencies(Vec<u64>);

impl Latencies {
    pub(crate) fn push(&mut self, latency: Duration) {
        self.0.push(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The latency that the part `quantile` of all do not exceed, in microseconds; `None` of nothing.
    pub(crate) fn quantile_us(&mut self, quantile: f64) -> Option<f64> {
        let last = self.0.len().checked_sub(1)?;
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
        Some(micros)
    }
}

/// The median and the ends of several measurements of one thing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let upper = *values.get(values.len() / 2)?;
        let lower = *values.get((values.len() - 1) / 2)?;
        Some(Self { median: f64::midpoint(lower, upper), min, max })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_of_the_nearest_rank() {
        let mut latencies = Latencies::default();
        assert_eq!(latencies.quantile_us(0.5), None);
        for micros in (0..=100).rev() {
            latencies.push(Duration::from_micros(micros));
        }
        assert_eq!(latencies.quantile_us(0.0), Some(0.0));
        assert_eq!(latencies.quantile_us(0.5), Some(50.0));
        assert_eq!(latencies.quantile_us(0.99), Some(99.0));
        assert_eq!(latencies.quantile_us(1.0), Some(100.0));
    }

    #[test]
    fn a_spread_has_the_middle_and_both_ends() {
        let spread = Spread::of([4.0, 1.0, 3.0, 2.0]).unwrap();
        assert_eq!((spread.min, spread.median, spread.max), (1.0, 2.5, 4.0));
        assert_eq!(Spread::of([7.0]).unwrap().median, 7.0);
        assert!(Spread::of([]).is_none());
    }
}
