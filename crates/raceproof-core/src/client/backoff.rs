//! When to try again: at once, then after a random part of a pause that doubles ("full jitter", as in Brooker,
//! "Exponential Backoff And Jitter", AWS Architecture Blog, 2015).

use std::time::Duration;

#[derive(Debug)]
pub(super) struct Backoff {
    rng: fastrand::Rng,
    min: Duration,
    max: Duration,
    failures: u32,
}

impl Backoff {
    pub(super) fn new(seed: u64, min: Duration, max: Duration) -> Self {
        Self { rng: fastrand::Rng::with_seed(seed), min, max, failures: 0 }
    }

    /// The pause before the next attempt, at most `cap`.
    pub(super) fn pause(&mut self, cap: Duration) -> Duration {
        let failures = self.failures;
        self.failures = failures.saturating_add(1);
        if failures == 0 {
            return Duration::ZERO;
        }
        let longest = self.min.saturating_mul(1 << (failures - 1).min(20)).min(self.max).min(cap);
        let micros = u64::try_from(longest.as_micros()).unwrap_or(u64::MAX - 1);
        Duration::from_micros(self.rng.u64(0..=micros))
    }

    /// A session was bound: the next attempt is a first one again.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_retry_is_at_once_and_the_others_stay_below_their_bound() {
        let (min, max) = (Duration::from_millis(50), Duration::from_secs(1));
        let mut backoff = Backoff::new(7, min, max);
        assert_eq!(backoff.pause(max), Duration::ZERO);
        let pauses: Vec<_> = (0..40).map(|_| backoff.pause(max)).collect();
        for (n, pause) in pauses.iter().enumerate() {
            assert!(*pause <= (min * (1 << n.min(10))).min(max), "pause {n} is {pause:?}");
        }
        assert!(pauses.iter().any(|pause| *pause > max / 2), "the pauses never grew");
        assert!(backoff.pause(Duration::from_millis(3)) <= Duration::from_millis(3));
        backoff.reset();
        assert_eq!(backoff.pause(max), Duration::ZERO);
    }
}
