//! Looking again before sleeping. To wake a thread that sleeps costs more than most requests ask of it, and whoever
//! waits for the answer waits for that too. So after a request, and after a flush, the thread goes on looking at its
//! sockets for as long as the next one is likely to take, and only then sleeps.
//!
//! How long that is, is learned in the way in which Linux' KVM learns for how long to poll before it halts a processor
//! (`halt_poll_ns`): what came a little too late doubles the window, what came much too late halves it. A server whose
//! requests come one by one does not look again at all; one that looks is one that would be woken thousands of times a
//! second.
//!
//! On a machine whose processors are all busy this helps nobody: looking uses up the thread's share, and a thread that
//! sleeps is woken at little cost, because no processor has to be started for it. So a watch that was itself kept
//! waiting ends, and none begins for a while.
//!
//! Renewals do not count, because nobody waits for their answers: they have [`crate::calm`].

use std::time::Duration;

use raceproof_core::time::Time;

/// Where a window begins.
const LEAST: Duration = Duration::from_micros(10);
/// What comes later than this is not waited for.
const MOST: Duration = Duration::from_micros(200);

/// A watch that is kept waiting for so long shares its processor.
const PREEMPTED: Duration = Duration::from_micros(100);
/// For how long nobody watches then.
const PAUSE: Duration = Duration::from_millis(100);

/// When something came last, and for how long the next one is waited for.
#[derive(Debug)]
pub(crate) struct Alert {
    last: Time,
    window: Duration,
    is_watching: bool,
    /// When somebody looked last.
    looked: Time,
    /// Nobody watches until then.
    paused: Time,
}

impl Alert {
    pub(crate) const fn new(now: Time) -> Self {
        Self { last: now, window: Duration::ZERO, is_watching: false, looked: now, paused: now }
    }

    /// Something came. Says whether somebody has to begin to watch.
    pub(crate) fn came(&mut self, now: Time) -> bool {
        let gap = now.since(self.last);
        self.last = now;
        if gap > MOST {
            self.window = if self.window > LEAST { self.window / 2 } else { Duration::ZERO };
        } else if gap > self.window {
            self.window = (self.window * 2).clamp(LEAST, MOST);
        }
        let begins = !self.is_watching && !self.window.is_zero() && now >= self.paused;
        if begins {
            self.is_watching = true;
            self.looked = now;
        }
        begins
    }

    /// Whether to look once more. If not, whoever watched has ended.
    pub(crate) fn looks_again(&mut self, now: Time) -> bool {
        if now.since(self.looked.max(self.last)) > PREEMPTED {
            self.paused = now + PAUSE;
        }
        self.looked = now;
        self.is_watching = now.since(self.last) < self.window && now >= self.paused;
        self.is_watching
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn us(us: u64) -> Duration {
        Duration::from_micros(us)
    }

    /// Something comes after each of the gaps; gives the window.
    fn after(alert: &mut Alert, gaps: &[u64]) -> Duration {
        for gap in gaps {
            let at = alert.last + us(*gap);
            let _begins = alert.came(at);
        }
        alert.window
    }

    #[test]
    fn the_window_grows_until_it_covers_the_gaps_and_no_further() {
        let mut alert = Alert::new(Time::ZERO);
        assert_eq!(after(&mut alert, &[50]), us(10));
        assert_eq!(after(&mut alert, &[50, 50]), us(40));
        assert_eq!(after(&mut alert, &[50]), us(80));
        assert_eq!(after(&mut alert, &[50, 50, 80]), us(80), "it is long enough");
        assert_eq!(after(&mut alert, &[200, 200, 200]), MOST);
    }

    #[test]
    fn requests_that_come_one_by_one_are_not_watched_for() {
        let mut alert = Alert::new(Time::ZERO);
        assert!(!alert.came(Time::ZERO + us(201)));
        assert_eq!(after(&mut alert, &[1_000, 201, 50_000]), Duration::ZERO);
        after(&mut alert, &[100; 8]);
        assert_eq!(alert.window, us(160));
        assert_eq!(after(&mut alert, &[201]), us(80));
        assert_eq!(after(&mut alert, &[201; 3]), us(10));
        assert_eq!(after(&mut alert, &[201]), Duration::ZERO);
    }

    #[test]
    fn one_watches_until_nothing_has_come_for_a_window() {
        let mut alert = Alert::new(Time::ZERO);
        assert!(alert.came(Time::ZERO + us(40)), "begins");
        assert!(!alert.came(Time::ZERO + us(60)), "somebody watches already");
        assert_eq!(alert.window, us(20));
        assert!(alert.looks_again(Time::ZERO + us(79)));
        assert!(!alert.looks_again(Time::ZERO + us(80)));
        assert!(alert.came(Time::ZERO + us(90)), "begins again");
    }

    #[test]
    fn who_is_kept_waiting_leaves_the_processor_to_others() {
        let mut alert = Alert::new(Time::ZERO);
        after(&mut alert, &[150; 8]);
        assert_eq!(alert.window, us(160));
        let last = alert.last;
        assert!(alert.looks_again(last + us(100)), "nothing is known of an earlier look");
        assert!(!alert.looks_again(last + us(201)), "not looked for 101 µs");
        let back = last + us(201) + PAUSE;
        assert!(!alert.came(back.saturating_sub(us(50))), "others may still want it");
        assert!(alert.came(back));
        assert!(alert.looks_again(back + us(50)));
        assert!(!alert.came(back + us(140)), "somebody watches");
        assert!(alert.looks_again(back + us(160)), "what came was seen to meanwhile");
    }
}
