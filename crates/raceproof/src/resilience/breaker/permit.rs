//! A call that was admitted.

use std::ops::Deref;
use std::sync::Arc;

use super::{Admission, Inner};

/// A call that a [`Breaker`](super::Breaker) admitted. To be told how it went.
///
/// Dropped without a verdict it frees its place: that of a probe goes to the next caller. Dropped by a panic it is a
/// failure.
#[must_use = "a permit that is dropped at once says nothing about the call"]
#[derive(Debug)]
pub struct Permit {
    pub(super) pass: Pass<Arc<Inner>>,
}

impl Permit {
    /// The call showed that the service works.
    pub fn success(self) {
        self.pass.settle(true);
    }

    /// The call showed that it does not.
    pub fn failure(self) {
        self.pass.settle(false);
    }
}

/// A call that was admitted, with its breaker, which is borrowed where that lives long enough.
#[derive(Debug)]
pub(in crate::resilience) struct Pass<B: Deref<Target = Inner>> {
    breaker: B,
    admission: Admission,
    /// It was told.
    over: bool,
}

impl<B: Deref<Target = Inner>> Pass<B> {
    #[inline]
    pub(super) const fn new(breaker: B, admission: Admission) -> Self {
        Self { breaker, admission, over: false }
    }

    #[inline]
    pub(in crate::resilience) fn settle(mut self, success: bool) {
        self.breaker.settle(self.admission, success);
        self.over = true;
    }
}

impl<B: Deref<Target = Inner>> Drop for Pass<B> {
    #[inline]
    fn drop(&mut self) {
        if !self.over {
            self.breaker.dropped(self.admission);
        }
    }
}
