//! The server's monotonic clock, as the core's [`Time`].

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use raceproof_core::time::Time;
use tokio::time::Instant;

/// Microseconds since this server started; shared by all of its tasks.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Clock {
    origin: Instant,
}

impl Clock {
    pub(crate) fn start() -> Self {
        Self { origin: Instant::now() }
    }

    pub(crate) fn now(self) -> Time {
        Time::ZERO + self.origin.elapsed()
    }

    /// A while from now, a little longer so that all who ask with the same `grain` wake together.
    pub(crate) fn after(self, pause: Duration, grain: Duration) -> Instant {
        let due = self.origin.elapsed() + pause;
        let grain = grain.as_micros().max(1);
        let grains = u64::try_from(due.as_micros().div_ceil(grain) * grain).unwrap_or(u64::MAX);
        self.instant(Time::ZERO + Duration::from_micros(grains))
    }

    pub(crate) fn instant(self, time: Time) -> Instant {
        // A deadline beyond what an `Instant` holds never comes.
        let year = Duration::from_secs(31_536_000);
        self.origin + time.since(Time::ZERO).min(self.origin.elapsed() + year)
    }
}

pub(crate) fn unix_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn pauses_end_together_and_never_early() {
        let clock = Clock::start();
        let grain = Duration::from_millis(100);
        tokio::time::advance(Duration::from_millis(30)).await;
        let early = clock.after(Duration::from_millis(1_000), grain);
        tokio::time::advance(Duration::from_millis(60)).await;
        let late = clock.after(Duration::from_millis(1_000), grain);
        assert_eq!(early, late);
        assert_eq!(late - Instant::now(), Duration::from_millis(1_010));
        tokio::time::advance(Duration::from_millis(11)).await;
        assert_eq!(clock.after(Duration::from_millis(1_000), grain) - early, grain);
    }
}
