//! A call that was admitted.

use super::{Admission, Breaker};

/// A call that a [`Breaker`] admitted. To be told how it went.
///
/// Dropped without a verdict it frees its place: that of a probe goes to the next caller. Dropped by a panic it is a
/// failure.
#[must_use = "a permit that is dropped at once says nothing about the call"]
#[derive(Debug)]
pub struct Permit {
    pub(super) breaker: Breaker,
    pub(super) admission: Admission,
    /// It was told.
    pub(super) over: bool,
}

impl Permit {
    /// The call showed that the service works.
    pub fn success(self) {
        self.settle(true);
    }

    /// The call showed that it does not.
    pub fn failure(self) {
        self.settle(false);
    }

    fn settle(mut self, success: bool) {
        self.breaker.inner.settle(self.admission, success);
        self.over = true;
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if !self.over {
            self.breaker.inner.dropped(self.admission);
        }
    }
}
