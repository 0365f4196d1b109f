//! What a guard of a server's lock believes in: its session's lease, and whether it was lost.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use raceproof_core::id::SessionId;
use raceproof_core::time::Time;
use raceproof_core::wire::LostReason;
use tokio::sync::SetOnce;

/// A session's lease as the guards of many tasks see it. Once anyone saw it over, it stays over: a renewal that was
/// answered too late cannot bring it back (L8).
#[derive(Debug)]
pub(crate) struct LeaseCell {
    pub(crate) session: SessionId,
    /// In microseconds; zero when the lease is over.
    deadline: AtomicU64,
}

impl LeaseCell {
    pub(crate) fn new(session: SessionId, deadline: Time) -> Self {
        Self { session, deadline: AtomicU64::new(deadline.as_micros()) }
    }

    pub(crate) fn deadline(&self) -> Time {
        Time::from_micros(self.deadline.load(Ordering::Acquire))
    }

    pub(crate) fn is_live(&self) -> bool {
        let mut deadline = self.deadline.load(Ordering::Acquire);
        loop {
            if deadline == 0 {
                return false;
            }
            if crate::clock::now().as_micros() < deadline {
                return true;
            }
            match self.deadline.compare_exchange(deadline, 0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return false,
                Err(renewed) => deadline = renewed,
            }
        }
    }

    /// Moves the deadline. False if the lease was seen over.
    pub(crate) fn extend(&self, to: Time) -> bool {
        let to = to.as_micros();
        self.deadline
            .fetch_update(Ordering::AcqRel, Ordering::Acquire, |deadline| (deadline != 0).then_some(deadline.max(to)))
            .is_ok()
    }

    pub(crate) fn end(&self) {
        self.deadline.store(0, Ordering::Release);
    }
}

/// A grant's or leadership's fate.
#[derive(Debug)]
pub(crate) struct GrantCell {
    pub(crate) lease: Arc<LeaseCell>,
    lost: SetOnce<LostReason>,
}

impl GrantCell {
    pub(crate) fn new(lease: Arc<LeaseCell>) -> Self {
        Self { lease, lost: SetOnce::new() }
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.lost.get().is_none() && self.lease.is_live()
    }

    pub(crate) fn reason(&self) -> Option<LostReason> {
        self.lost.get().copied()
    }

    /// Says that it is over. False if it was before.
    pub(crate) fn lose(&self, reason: LostReason) -> bool {
        self.lost.set(reason).is_ok()
    }

    pub(crate) fn lost(self: &Arc<Self>) -> impl Future<Output = LostReason> + Send + use<> {
        let cell = Arc::clone(self);
        async move { *cell.lost.wait().await }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn l8_a_lease_that_was_seen_over_is_never_extended() {
        let past = LeaseCell::new(SessionId::new(1), Time::from_micros(1));
        assert!(!past.is_live());
        assert!(!past.extend(Time::MAX));
        assert!(!past.is_live());

        let live = LeaseCell::new(SessionId::new(1), Time::from_micros(1));
        assert!(live.extend(Time::MAX));
        assert!(live.is_live());
        assert!(live.extend(Time::from_micros(1)), "an older answer is no error");
        assert_eq!(live.deadline(), Time::MAX);
        live.end();
        assert!(!live.is_live());
        assert!(!live.extend(Time::MAX));
    }
}
