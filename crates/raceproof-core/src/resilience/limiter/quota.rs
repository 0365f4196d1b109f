//! What is allowed, and what is used of it.

use std::num::NonZeroU32;
use std::time::Duration;

use super::Refused;
use crate::time::Time;

const NANOS_PER_MICRO: u64 = 1_000;

/// The theoretical arrival time: when the quota is whole again, in nanoseconds. The state of a limiter.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct Tat(u64);

impl Tat {
    /// A quota of which nothing was used.
    pub const WHOLE: Self = Self(0);

    /// The state that this number stands for.
    #[must_use]
    pub const fn from_nanos(nanos: u64) -> Self {
        Self(nanos)
    }

    /// The number that stands for this state.
    #[must_use]
    pub const fn as_nanos(self) -> u64 {
        self.0
    }

    /// Whether the quota is whole at this time, so that this state need not be remembered.
    #[must_use]
    pub const fn is_whole(self, now: Time) -> bool {
        self.0 <= nanos(now)
    }

    /// When it is.
    #[must_use]
    pub const fn whole_at(self) -> Time {
        Time::from_micros(self.0.div_ceil(NANOS_PER_MICRO))
    }
}

/// So many calls in so much time, and so many at once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Quota {
    /// What one cell takes, in nanoseconds. Rounded up, so that the rate is never exceeded.
    cell: u64,
    burst: u32,
}

impl Quota {
    /// `cells` in any `per`, all of them at once if need be.
    #[must_use]
    pub fn new(cells: NonZeroU32, per: Duration) -> Self {
        let cell = per.as_nanos().div_ceil(u128::from(cells.get())).max(1);
        Self { cell: u64::try_from(cell).unwrap_or(u64::MAX), burst: cells.get() }
    }

    /// So many a second.
    #[must_use]
    pub fn per_second(cells: NonZeroU32) -> Self {
        Self::new(cells, Duration::from_secs(1))
    }

    /// So many a minute.
    #[must_use]
    pub fn per_minute(cells: NonZeroU32) -> Self {
        Self::new(cells, Duration::from_secs(60))
    }

    /// So many an hour.
    #[must_use]
    pub fn per_hour(cells: NonZeroU32) -> Self {
        Self::new(cells, Duration::from_secs(3_600))
    }

    /// So many at once, at the same rate.
    #[must_use]
    pub const fn burst(mut self, cells: NonZeroU32) -> Self {
        self.burst = cells.get();
        self
    }

    /// How many there may be at once.
    #[must_use]
    pub const fn burst_size(&self) -> u32 {
        self.burst
    }

    /// How long a used-up quota takes until it is whole.
    #[must_use]
    pub const fn period(&self) -> Duration {
        Duration::from_nanos(self.capacity())
    }

    /// What is left of it: how many cells would be admitted at once.
    #[must_use]
    pub fn left(&self, tat: Tat, now: Time) -> u32 {
        let used = tat.0.saturating_sub(nanos(now)).div_ceil(self.cell);
        self.burst.saturating_sub(u32::try_from(used).unwrap_or(u32::MAX))
    }

    /// Takes `cells` at a time, if they are covered: the state after that.
    ///
    /// # Errors
    /// [`Refused`], and nothing is taken.
    #[inline]
    pub fn decide(&self, tat: Tat, now: Time, cells: u32) -> Result<Tat, Refused> {
        let (now, capacity) = (nanos(now), self.capacity());
        let base = if tat.0 > now { tat.0 } else { now };
        let after = base.saturating_add(self.cell.saturating_mul(cells as u64));
        if after - now <= capacity && cells <= self.burst { Ok(Tat(after)) } else { Err(self.refusal(after, cells)) }
    }

    const fn capacity(&self) -> u64 {
        self.cell.saturating_mul(self.burst as u64)
    }

    const fn refusal(&self, after: u64, cells: u32) -> Refused {
        if cells > self.burst {
            return Refused::TooLarge { cells, burst: self.burst };
        }
        let at = after.saturating_sub(self.capacity());
        Refused::Limited { retry_at: Time::from_micros(at.div_ceil(NANOS_PER_MICRO)) }
    }
}

const fn nanos(time: Time) -> u64 {
    time.as_micros().saturating_mul(NANOS_PER_MICRO)
}
