//! The end that values are handed to.

use std::fmt;
use std::sync::Arc;

use raceproof_core::time::Time;

use super::Shared;
use crate::timer;

/// Where a [`Debounce`](super::Debounce) hands its values on.
///
/// What was not received when this is dropped is dropped with it; [`take`](Self::take) it before. Pushing is refused
/// from then on.
pub struct Debounced<T> {
    pub(super) shared: Arc<Shared<T>>,
}

enum Next<T> {
    Value(T),
    Wait(Option<Time>),
    Over,
}

impl<T> Debounced<T> {
    /// The next value, once it is due. `None` when every handle is dropped or one was closed, and everything was
    /// received.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing: what is due is received by the next call.
    pub async fn recv(&mut self) -> Option<T> {
        let shared = &*self.shared;
        loop {
            match self.next() {
                Next::Value(value) => return Some(value),
                Next::Over => return None,
                Next::Wait(due) => {
                    let due = due.and_then(|due| shared.clock.instant(due));
                    // Whichever comes first, the state is looked at again.
                    timer::before(due, shared.changed.notified()).await;
                }
            }
        }
    }

    /// What waits, due or not.
    #[must_use]
    pub fn take(&mut self) -> Option<T> {
        let mut state = self.shared.lock();
        let now = self.shared.clock.now();
        let taken = state.machine.flush(now) && state.machine.take(now);
        state.handed_on += u64::from(taken);
        state.value.take_if(|_| taken)
    }

    fn next(&self) -> Next<T> {
        let mut state = self.shared.lock();
        if state.machine.take(self.shared.clock.now())
            && let Some(value) = state.value.take()
        {
            state.handed_on += 1;
            return Next::Value(value);
        }
        match state.machine.next_deadline() {
            None if state.closed => Next::Over,
            due => Next::Wait(due),
        }
    }
}

impl<T> Drop for Debounced<T> {
    fn drop(&mut self) {
        let left = {
            let mut state = self.shared.lock();
            state.receiver_gone = true;
            state.value.take()
        };
        drop(left);
        self.shared.gone.notify_waiters();
    }
}

impl<T> fmt::Debug for Debounced<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Debounced").finish_non_exhaustive()
    }
}
