//! The time that handles of this room bring to their machines.
//!
//! Reading the clock is what costs most on a hot path, so there is a cheap reading too: bounds that the time lies
//! between. They come from the kernel's coarse clock, which is behind by a tick; a handle that can decide within the
//! bounds need not know more. The upper bound allows for ticks that come late, not for any delay: where it is wrong,
//! a decision is as late as the tick.

use raceproof_core::time::Time;
use tokio::time::Instant;

/// How many ticks the coarse clock may be behind.
#[cfg(all(target_os = "linux", feature = "coarse-clock"))]
const TICKS: u64 = 4;

/// How long after the origin the coarse clock's own may be taken. Much less than a tick.
#[cfg(all(target_os = "linux", feature = "coarse-clock"))]
const SOON: std::time::Duration = std::time::Duration::from_micros(200);

/// A clock that begins when it is made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
    coarse: Option<Coarse>,
}

/// What the time is between, in nanoseconds.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    pub(crate) earliest: u64,
    pub(crate) latest: u64,
}

impl Bounds {
    pub(crate) const fn nanos(self) -> (u64, u64) {
        (self.earliest, self.latest)
    }

    pub(crate) const fn earliest(self) -> Time {
        Time::from_micros(self.earliest / 1_000)
    }

    pub(crate) const fn latest(self) -> Time {
        Time::from_micros(self.latest.div_ceil(1_000))
    }
}

#[derive(Clone, Copy, Debug)]
struct Coarse {
    /// Where the coarse clock was, or would have been, when the other one was at its origin.
    #[cfg(all(target_os = "linux", feature = "coarse-clock"))]
    origin: u64,
    #[cfg(all(target_os = "linux", feature = "coarse-clock"))]
    behind: u64,
}

impl Clock {
    pub(crate) fn new() -> Self {
        let origin = Instant::now();
        let clock = Self { origin, coarse: Coarse::new(origin) };
        if clock.coarse.is_some() || cfg!(debug_assertions) {
            return clock;
        }
        // The thread may have been interrupted between the two readings.
        let origin = Instant::now();
        Self { origin, coarse: Coarse::new(origin) }
    }

    pub(crate) fn now(&self) -> Time {
        self.at(Instant::now())
    }

    pub(crate) fn at(&self, instant: Instant) -> Time {
        let since = instant.saturating_duration_since(self.origin);
        Time::from_micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    }

    /// The instant of a time; `None` if it is further away than an instant can be.
    pub(crate) fn instant(&self, time: Time) -> Option<Instant> {
        self.origin.checked_add(time.since(Time::ZERO))
    }

    /// What the time is between, without reading the exact clock where that can be avoided.
    #[inline]
    pub(crate) fn bounds(&self) -> Bounds {
        match &self.coarse {
            Some(coarse) => coarse.bounds(),
            None => {
                let now = self.now().as_micros().saturating_mul(1_000);
                Bounds { earliest: now, latest: now }
            }
        }
    }
}

#[cfg(all(target_os = "linux", feature = "coarse-clock"))]
impl Coarse {
    /// None while Tokio's time is paused, and none in a debug build, because it may be paused later.
    fn new(origin: Instant) -> Option<Self> {
        use rustix::time::{ClockId, clock_getres, clock_gettime};

        if cfg!(debug_assertions) {
            return None;
        }
        let real = std::time::Instant::now();
        while real.elapsed().is_zero() {}
        if origin.elapsed().is_zero() {
            return None;
        }
        let behind = nanos(clock_getres(ClockId::MonotonicCoarse)) * TICKS;
        // Read after the origin, so that the lower bound is one; and at once after it, so that the upper bound is.
        let here = nanos(clock_gettime(ClockId::Monotonic));
        (origin.elapsed() < SOON).then_some(Self { origin: here, behind })
    }

    #[inline]
    fn bounds(&self) -> Bounds {
        let coarse = nanos(rustix::time::clock_gettime(rustix::time::ClockId::MonotonicCoarse));
        let earliest = coarse.saturating_sub(self.origin);
        Bounds { earliest, latest: earliest + self.behind }
    }
}

#[cfg(all(target_os = "linux", feature = "coarse-clock"))]
fn nanos(time: rustix::time::Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds.saturating_mul(1_000_000_000) + u64::try_from(time.tv_nsec).unwrap_or(0)
}

#[cfg(not(all(target_os = "linux", feature = "coarse-clock")))]
impl Coarse {
    fn new(_origin: Instant) -> Option<Self> {
        None
    }

    fn bounds(&self) -> Bounds {
        Bounds { earliest: 0, latest: u64::MAX }
    }
}
