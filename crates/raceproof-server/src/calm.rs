//! Fewer wake-ups while a server has nothing to do but renew many leases. Thousands of idle clients a second, each at
//! a time of its own, would wake the thread for every single renewal; nobody waits for the answer to one. So while
//! renewals are all there is, and many, the thread gathers them for a moment before it looks at its sockets again.
//! Whatever else comes ends that at once, for as long as more of it comes: a first request may be found
//! [`GATHER`] later, the next ones are not.
//!
//! Per thread, and only on the runtime of [`crate::runtime`], whose one thread does everything.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// How long renewals are gathered. Far below what a lease can notice: it ends within 20 ms of its time. Waking costs so
/// little from here on that longer would save nothing.
const GATHER: Duration = Duration::from_millis(5);
/// How far back "while" reaches.
const WINDOW: Duration = Duration::from_millis(20);
/// Renewals within a window from which on gathering is worth its delay: 2,000 a second.
const MANY: u32 = 40;

/// What a thread has had to do.
#[derive(Clone, Copy, Debug)]
struct Calm {
    since: Instant,
    renewals: u32,
    others: u32,
    /// The window before held many renewals, and nothing else.
    is_calm: bool,
}

thread_local! {
    static CALM: Cell<Option<Calm>> = const { Cell::new(None) };
}

impl Calm {
    const fn new(now: Instant) -> Self {
        Self { since: now, renewals: 0, others: 0, is_calm: false }
    }

    /// How long to wait before the sockets are looked at.
    fn pause(&mut self, now: Instant) -> Option<Duration> {
        if now.duration_since(self.since) >= WINDOW {
            let is_calm = self.renewals >= MANY && self.others == 0;
            *self = Self { is_calm, ..Self::new(now) };
        }
        (self.is_calm && self.others == 0).then_some(GATHER)
    }
}

/// A lease was renewed.
pub(crate) fn renewed() {
    count(|calm| calm.renewals = calm.renewals.saturating_add(1));
}

/// Something else came.
pub(crate) fn asked() {
    count(|calm| calm.others = calm.others.saturating_add(1));
}

fn count(add: impl FnOnce(&mut Calm)) {
    if let Some(mut calm) = CALM.get() {
        add(&mut calm);
        CALM.set(Some(calm));
    }
}

/// Called when the thread has done everything and is about to wait for more.
pub(crate) fn before_park() {
    let now = Instant::now();
    let mut calm = CALM.get().unwrap_or_else(|| Calm::new(now));
    let pause = calm.pause(now);
    CALM.set(Some(calm));
    if let Some(pause) = pause {
        std::thread::sleep(pause);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_renewals_and_nothing_else_are_gathered() {
        let start = Instant::now();
        let mut calm = Calm::new(start);
        calm.renewals = MANY;
        assert_eq!(calm.pause(start + WINDOW / 2), None, "the window is not over");
        assert_eq!(calm.pause(start + WINDOW), Some(GATHER));
        calm.renewals = MANY;
        assert_eq!(calm.pause(start + WINDOW + WINDOW / 2), Some(GATHER));
        calm.others = 1;
        assert_eq!(calm.pause(start + WINDOW + WINDOW / 2), None, "at once");
        assert_eq!(calm.pause(start + WINDOW * 2), None, "and for a whole window after it");
        calm.renewals = MANY;
        assert_eq!(calm.pause(start + WINDOW * 3), Some(GATHER));
        calm.renewals = MANY - 1;
        assert_eq!(calm.pause(start + WINDOW * 4), None, "too few");
    }
}
