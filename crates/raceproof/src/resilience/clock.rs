//! The time that handles of this room bring to their machines.
//!
//! Reading the clock is what costs most on a hot path, so there is a cheap reading too: bounds that the time lies
//! between, from the kernel's coarse clock, which is behind by a tick. The lower bound is one. The upper bound is none
//! where ticks come late, so it may only be refused by: a refusal then lasts as long as the tick is late. Nothing is
//! admitted by it.

use raceproof_core::time::Time;

use crate::rt;
use crate::timer::Instant;

/// How many ticks the coarse clock is taken to be behind at most.
#[cfg(all(target_os = "linux", feature = "coarse-clock", not(shuttle)))]
const TICKS: u64 = 4;

/// A clock that begins when it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    exact: rt::Clock,
    coarse: Option<Coarse>,
    /// What a test has the coarse clock say.
    #[cfg(test)]
    said: Option<&'static std::sync::Mutex<Bounds>>,
}

/// What the time is between.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    /// It is not earlier.
    pub(crate) earliest: Time,
    /// It is not later, unless the kernel's ticks are.
    pub(crate) latest: Time,
}

/// In nanoseconds.
#[derive(Clone, Copy, Debug)]
struct Coarse {
    /// What the kernel's clock said right after the origin.
    #[cfg(all(target_os = "linux", feature = "coarse-clock", not(shuttle)))]
    origin: u64,
    /// How far apart the bounds are: what the coarse clock is behind, and how long reading the origin took.
    #[cfg(all(target_os = "linux", feature = "coarse-clock", not(shuttle)))]
    width: u64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let (exact, coarse) = Coarse::new();
        Self {
            exact,
            coarse,
            #[cfg(test)]
            said: None,
        }
    }

    /// A clock whose coarse reading is the test's.
    #[cfg(test)]
    pub(super) fn saying(said: &'static std::sync::Mutex<Bounds>) -> Self {
        Self { said: Some(said), ..Self::new() }
    }

    #[inline]
    pub(crate) fn now(&self) -> Time {
        self.exact.now()
    }

    /// The instant of a time; `None` if it is further away than an instant can be.
    pub(crate) fn instant(&self, time: Time) -> Option<Instant> {
        self.exact.instant(time)
    }

    /// What the time is between, without reading the exact clock where that can be avoided.
    #[inline]
    pub(crate) fn bounds(&self) -> Bounds {
        #[cfg(test)]
        if let Some(said) = self.said {
            return *said.lock().unwrap();
        }
        match &self.coarse {
            Some(coarse) => coarse.bounds(),
            None => {
                let now = self.now();
                Bounds { earliest: now, latest: now }
            }
        }
    }
}

#[cfg(all(target_os = "linux", feature = "coarse-clock", not(shuttle)))]
impl Coarse {
    /// None while Tokio's time is paused, and none in a debug build, because it may be paused later.
    fn new() -> (rt::Clock, Option<Self>) {
        if cfg!(debug_assertions) { (rt::Clock::new(), None) } else { Self::measured() }
    }

    fn measured() -> (rt::Clock, Option<Self>) {
        use rustix::time::{ClockId, clock_getres, clock_gettime};

        // The thread may be interrupted between the readings.
        let before = nanos(clock_gettime(ClockId::Monotonic));
        let exact = rt::Clock::new();
        let after = nanos(clock_gettime(ClockId::Monotonic));
        while nanos(clock_gettime(ClockId::Monotonic)) == after {}
        let width = nanos(clock_getres(ClockId::MonotonicCoarse)) * TICKS + (after - before);
        (exact, (!exact.origin.elapsed().is_zero()).then_some(Self { origin: after, width }))
    }

    #[inline]
    fn bounds(&self) -> Bounds {
        let coarse = nanos(rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse));
        let earliest = coarse.saturating_sub(self.origin);
        let latest = (earliest + self.width).div_ceil(1_000);
        Bounds { earliest: Time::from_micros(earliest / 1_000), latest: Time::from_micros(latest) }
    }
}

#[cfg(all(target_os = "linux", feature = "coarse-clock", not(shuttle)))]
fn nanos(time: rustix::time::Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000) + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(not(all(target_os = "linux", feature = "coarse-clock", not(shuttle))))]
impl Coarse {
    fn new() -> (rt::Clock, Option<Self>) {
        (rt::Clock::new(), None)
    }

    fn bounds(&self) -> Bounds {
        Bounds { earliest: Time::ZERO, latest: Time::MAX }
    }
}

#[cfg(all(test, target_os = "linux", feature = "coarse-clock", not(shuttle)))]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn p3_the_coarse_clock_is_never_ahead_and_seldom_behind_its_bound() {
        let (exact, coarse) = Coarse::measured();
        let clock = Clock { exact, coarse, said: None };
        assert!(clock.coarse.is_some());
        let (mut last, mut looks, mut late) = (Time::ZERO, 0, 0);
        while last < Time::ZERO + Duration::from_millis(50) {
            let before = clock.now();
            let bounds = clock.bounds();
            assert!(bounds.earliest <= clock.now() && last <= bounds.earliest);
            assert!(bounds.earliest < bounds.latest);
            looks += 1;
            late += u32::from(bounds.latest < before);
            last = bounds.earliest;
        }
        assert!(late <= looks / 10, "{late} of {looks}");
    }

    #[tokio::test(start_paused = true)]
    async fn p3_there_is_no_coarse_clock_while_time_is_paused() {
        assert!(Coarse::measured().1.is_none());
    }
}
