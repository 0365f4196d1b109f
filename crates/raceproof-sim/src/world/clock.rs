//! True time, which only the simulator knows, and the clocks that run beside it.

use raceproof_core::time::Time;

/// True time, in microseconds since the run began.
pub type Instant = u64;

/// Microseconds in a millisecond.
pub const MS: u64 = 1_000;
/// Microseconds in a second.
pub const SECOND: u64 = 1_000_000;

/// How far a clock's rate may be off, in parts per million. Two clocks that differ by twice this stay within the
/// margin that holders leave (2 %).
pub const DRIFT_PPM_MAX: i64 = 9_900;

/// A clock that counts suspend, starts anywhere, and drifts.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Instant,
    origin: u64,
    drift_ppm: i64,
}

impl Clock {
    /// A clock that shows `origin` at `started`.
    #[must_use]
    pub const fn new(started: Instant, origin: u64, drift_ppm: i64) -> Self {
        Self { started, origin, drift_ppm }
    }

    /// What it shows at `at`.
    #[must_use]
    pub fn read(&self, at: Instant) -> Time {
        let run = i128::from(at.saturating_sub(self.started));
        let shown = run + run * i128::from(self.drift_ppm) / 1_000_000;
        Time::from_micros(self.origin + u64::try_from(shown).unwrap_or(0))
    }

    /// The first true time at which it shows `time` or later.
    #[must_use]
    pub fn when(&self, time: Time) -> Instant {
        let Some(run) = time.as_micros().checked_sub(self.origin) else { return self.started };
        let rate = u128::try_from(1_000_000 + self.drift_ppm).unwrap_or(1_000_000);
        let mut at = self
            .started
            .saturating_add(u64::try_from(u128::from(run).saturating_mul(1_000_000) / rate).unwrap_or(u64::MAX / 2));
        while self.read(at) < time && at < u64::MAX / 2 {
            at += 1;
        }
        at
    }

    /// How much true time passes while the clock counts `micros`.
    #[must_use]
    pub fn true_micros(&self, micros: u64) -> u64 {
        let rate = u128::try_from(1_000_000 + self.drift_ppm).unwrap_or(1_000_000);
        u64::try_from(u128::from(micros) * 1_000_000 / rate).unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_can_be_read_backwards() {
        for drift in [-DRIFT_PPM_MAX, -17, 0, 3, DRIFT_PPM_MAX] {
            let clock = Clock::new(5_000, 123_456, drift);
            assert_eq!(clock.read(5_000), Time::from_micros(123_456));
            for time in [123_456, 123_457, 200_000, 9_999_999] {
                let at = clock.when(Time::from_micros(time));
                assert!(clock.read(at).as_micros() >= time);
                assert!(at == 5_000 || clock.read(at - 1).as_micros() < time, "{drift} {time}");
            }
        }
    }
}
