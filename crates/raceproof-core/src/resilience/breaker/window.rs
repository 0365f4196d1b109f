//! The results that a closed breaker remembers.

use std::collections::VecDeque;
use std::time::Duration;

use super::{Threshold, Verdict, Window};
use crate::time::Time;

/// Into how many parts a window of time is cut.
const SLOTS: u64 = 10;

/// Counts results and says when there are too many failures.
#[derive(Clone, Debug)]
pub(super) struct Counts {
    threshold: Threshold,
    results: Results,
}

#[derive(Clone, Debug)]
enum Results {
    Streak(u32),
    Calls(Calls),
    Time(Slots),
}

impl Counts {
    pub(super) fn new(threshold: Threshold) -> Self {
        let results = match threshold {
            Threshold::Consecutive(_) => Results::Streak(0),
            Threshold::Failures { window, .. } | Threshold::Rate { window, .. } => match window {
                Window::Calls(calls) => Results::Calls(Calls::new(calls.max(1))),
                Window::Time(time) => Results::Time(Slots::new(time)),
            },
        };
        Self { threshold, results }
    }

    pub(super) fn clear(&mut self) {
        match &mut self.results {
            Results::Streak(streak) => *streak = 0,
            Results::Calls(calls) => calls.clear(),
            Results::Time(slots) => slots.slots.clear(),
        }
    }

    pub(super) const fn ignores_success(&self) -> bool {
        matches!(self.results, Results::Streak(0))
    }

    /// Counts a result. Whether that is too much.
    pub(super) fn push(&mut self, now: Time, verdict: Verdict) -> bool {
        let failed = verdict == Verdict::Failure;
        let (calls, failures) = match &mut self.results {
            Results::Streak(streak) => {
                *streak = if failed { *streak + 1 } else { 0 };
                (*streak, *streak)
            }
            Results::Calls(calls) => calls.push(failed),
            Results::Time(slots) => slots.push(now, failed),
        };
        // A success never opens: it can only push a success out of the window.
        failed
            && match self.threshold {
                Threshold::Consecutive(count) | Threshold::Failures { count, .. } => failures >= count.max(1),
                Threshold::Rate { percent, calls_min, .. } => {
                    calls >= calls_min && u64::from(failures) * 100 >= u64::from(percent) * u64::from(calls)
                }
            }
    }
}

/// The last so many results, a bit each.
#[derive(Clone, Debug)]
struct Calls {
    bits: Box<[u64]>,
    size: u32,
    next: u32,
    len: u32,
    failures: u32,
}

impl Calls {
    fn new(size: u32) -> Self {
        let words = size.div_ceil(64) as usize;
        Self { bits: vec![0; words].into_boxed_slice(), size, next: 0, len: 0, failures: 0 }
    }

    fn clear(&mut self) {
        self.bits.fill(0);
        (self.next, self.len, self.failures) = (0, 0, 0);
    }

    fn push(&mut self, failed: bool) -> (u32, u32) {
        let mask = 1_u64 << (self.next % 64);
        if let Some(word) = self.bits.get_mut(self.next as usize / 64) {
            self.failures -= u32::from(*word & mask != 0);
            *word = if failed { *word | mask } else { *word & !mask };
        }
        self.failures += u32::from(failed);
        self.next = (self.next + 1) % self.size;
        self.len = (self.len + 1).min(self.size);
        (self.len, self.failures)
    }
}

/// The results of the last so much time.
#[derive(Clone, Debug)]
struct Slots {
    width: u64,
    /// Number of the slot, calls, failures; the oldest first, at most [`SLOTS`].
    slots: VecDeque<(u64, u32, u32)>,
}

impl Slots {
    fn new(time: Duration) -> Self {
        let micros = u64::try_from(time.as_micros()).unwrap_or(u64::MAX);
        Self { width: (micros / SLOTS).max(1), slots: VecDeque::with_capacity(SLOTS as usize) }
    }

    fn push(&mut self, now: Time, failed: bool) -> (u32, u32) {
        let number = now.as_micros() / self.width;
        self.slots.retain(|(old, ..)| old + SLOTS > number);
        match self.slots.back_mut() {
            Some((last, calls, failures)) if *last == number => {
                *calls = calls.saturating_add(1);
                *failures = failures.saturating_add(u32::from(failed));
            }
            _ => self.slots.push_back((number, 1, u32::from(failed))),
        }
        self.slots.iter().fold((0_u32, 0_u32), |(calls, failures), (_, c, f)| {
            (calls.saturating_add(*c), failures.saturating_add(*f))
        })
    }
}
