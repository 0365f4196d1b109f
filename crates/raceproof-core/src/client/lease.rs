//! The session as its holder sees it: a key, and a lease that is counted from when its renewal was sent (L8).

use std::time::Duration;

use super::config::drift_margin;
use crate::id::SessionKey;
use crate::time::Time;

/// A session that was opened and not given up.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) key: SessionKey,
    pub(super) ttl: Duration,
    /// Until when its grants are believed in. Only ever moves forward.
    pub(super) deadline: Time,
    /// When the last renewal was sent on the present connection.
    pub(super) renewal_sent: Time,
    /// When the oldest renewal that is unanswered on the present connection was sent.
    pub(super) unanswered: Option<Time>,
}

impl Session {
    pub(super) fn new(key: SessionKey, ttl: Duration, sent: Time) -> Self {
        let mut session = Self { key, ttl, deadline: Time::ZERO, renewal_sent: sent, unanswered: None };
        session.renewed(ttl, sent);
        session
    }

    /// A renewal that was sent at `sent` was answered. Says whether the deadline moved.
    pub(super) fn renewed(&mut self, ttl: Duration, sent: Time) -> bool {
        self.ttl = ttl;
        let deadline = (sent + ttl).saturating_sub(drift_margin(ttl));
        let moved = deadline > self.deadline;
        self.deadline = self.deadline.max(deadline);
        // Answers come in order, so that what is still unanswered was sent after this one.
        if self.unanswered.is_some_and(|oldest| oldest <= sent) {
            self.unanswered = (self.renewal_sent > sent).then_some(self.renewal_sent);
        }
        moved
    }

    /// When the lease is renewed next or, while a renewal is unanswered, when its connection is given up.
    pub(super) fn keepalive_due(&self) -> Time {
        let (renew, answer) = rhythm(self.ttl);
        self.renewal_sent + if self.unanswered.is_some() { answer } else { renew }
    }
}

/// A lease from here on is renewed at its half.
const LONG: Duration = Duration::from_secs(6);

/// How long after the last renewal the next one is sent, and for how long its answer is waited for. Either way a
/// connection that fell silent is left when two thirds of the lease are over. A long lease can do with one renewal less
/// in that time; of a short one, the answer's share would be too short for a machine that is busy.
fn rhythm(ttl: Duration) -> (Duration, Duration) {
    if ttl >= LONG { (ttl / 2, ttl / 6) } else { (ttl / 3, ttl / 3) }
}
