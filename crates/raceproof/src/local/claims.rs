//! Looks after grants that were handed over and are not claimed (L4), by a queue or by the machine: one task of whatever
//! runtime the waiters are in, as long as anyone waits. If that runtime ends, whoever waits in another is woken, and
//! has somebody look there.

use std::sync::{Arc, Weak};
use std::task::Waker;
use std::time::Duration;

use raceproof_core::local::CLAIM_TIMEOUT;

use super::Local;
use crate::sync::atomic::Ordering;

/// How often it looks.
pub(super) const AGE: Duration = Duration::from_millis(250);

/// For how many looks a grant may be unclaimed.
const PATIENCE: u32 = (CLAIM_TIMEOUT.as_millis() / AGE.as_millis()) as u32;

/// Says, when the runtime ends, that nobody watches any more.
struct Watch(Weak<Local>);

impl Local {
    /// Has somebody watch, once somebody waits. Outside a runtime nobody does.
    pub(super) fn watch(self: &Arc<Self>) {
        if !self.watched.load(Ordering::SeqCst) {
            self.start_watch();
        }
    }

    #[cold]
    fn start_watch(self: &Arc<Self>) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        if self.watched.swap(true, Ordering::SeqCst) {
            return;
        }
        let mut watch = Watch(Arc::downgrade(self));
        runtime.spawn(async move {
            loop {
                tokio::time::sleep(AGE).await;
                let Some(local) = watch.0.upgrade() else { return };
                for next in local.shards.grow_older(PATIENCE) {
                    next.wake();
                }
                local.with(|slow, now| slow.machine.tick(now));
                if local.is_watched_enough() {
                    drop(std::mem::take(&mut watch.0));
                    return;
                }
            }
        });
    }

    /// Whether the watch may end. Who begins to wait counts before it looks for a watch, and this the other way round.
    fn is_watched_enough(&self) -> bool {
        // No wait moves from a queue to the machine meanwhile.
        let slow = self.lock();
        let waiting = || self.shards.waiting() + slow.machine.pending();
        if waiting() > 0 {
            return false;
        }
        self.watched.store(false, Ordering::SeqCst);
        // If another watch has begun meanwhile, this one ends.
        waiting() == 0 || self.watched.swap(true, Ordering::SeqCst)
    }

    /// Wakes all who wait, so that they look whether somebody watches.
    fn rouse(&self) {
        let slow = self.lock();
        let mut wakers: Vec<Waker> = slow.ops.values().cloned().collect();
        self.shards.wakers(&mut wakers);
        drop(slow);
        wakers.into_iter().for_each(Waker::wake);
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        if let Some(local) = self.0.upgrade() {
            local.watched.store(false, Ordering::SeqCst);
            local.rouse();
        }
    }
}
