//! How often something happened within the last minute.

use std::collections::VecDeque;

use crate::time::Time;

const SECONDS: u64 = 60;
const MICROS_PER_SECOND: u64 = 1_000_000;

/// Events by the second, for a minute.
#[derive(Clone, Debug, Default)]
pub(super) struct Rate {
    /// The second and what happened in it; the oldest first.
    seconds: VecDeque<(u64, u32)>,
    sum: u32,
}

impl Rate {
    /// It happens. How often within the last minute, this time included.
    pub(super) fn count(&mut self, now: Time) -> u32 {
        self.forget(now);
        let second = now.as_micros() / MICROS_PER_SECOND;
        match self.seconds.back_mut() {
            Some((last, count)) if *last >= second => *count = count.saturating_add(1),
            _ => self.seconds.push_back((second, 1)),
        }
        self.sum = self.sum.saturating_add(1);
        self.sum
    }

    pub(super) fn per_minute(&mut self, now: Time) -> u32 {
        self.forget(now);
        self.sum
    }

    fn forget(&mut self, now: Time) {
        let second = now.as_micros() / MICROS_PER_SECOND;
        while let Some((_, count)) = self.seconds.pop_front_if(|(old, _)| *old + SECONDS <= second) {
            self.sum = self.sum.saturating_sub(count);
        }
    }
}
