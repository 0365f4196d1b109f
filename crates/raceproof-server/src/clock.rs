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
