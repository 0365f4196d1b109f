//! The clock that leases are counted on.

use raceproof_core::time::Time;
use rustix::time::{ClockId, clock_gettime};

/// The time on `CLOCK_BOOTTIME`, which goes on counting while the machine sleeps, because a lease does too (L8). Every
/// process of one machine reads the same. Where the system has no such clock, the monotonic one.
#[must_use]
pub fn now() -> Time {
    #[cfg(any(target_os = "linux", target_os = "android"))]
    const CLOCK: ClockId = ClockId::Boottime;
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    const CLOCK: ClockId = ClockId::Monotonic;
    let now = clock_gettime(CLOCK);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    let nanos = u64::try_from(now.tv_nsec).unwrap_or(0);
    Time::from_micros(seconds.saturating_mul(1_000_000) + nanos / 1_000)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_clock_goes_forward() {
        let first = super::now();
        let second = super::now();
        assert!(first.as_micros() > 0);
        assert!(second >= first);
    }
}
