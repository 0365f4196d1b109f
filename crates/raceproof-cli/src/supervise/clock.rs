//! The clock that leases are counted on: it goes on while the machine sleeps, and is one for all its processes.

use raceproof_core::time::Time;
use rustix::time::{ClockId, clock_gettime};

/// The time on `CLOCK_BOOTTIME`.
pub(crate) fn now() -> Time {
    let time = clock_gettime(ClockId::Boottime);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    let micros = u64::try_from(time.tv_nsec / 1_000).unwrap_or(0);
    Time::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros))
}
