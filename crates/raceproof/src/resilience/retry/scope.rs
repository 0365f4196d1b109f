//! Which retries an operation runs inside of.
//!
//! While an attempt is polled, its thread knows how many retries are left to it. A retry that is begun in there spends
//! them, whichever layer it belongs to, so layers share attempts and do not multiply them (P2).

use std::cell::Cell;

thread_local! {
    /// How many retries are left to what is being polled. `None` outside of any.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

/// The retries of one call.
#[derive(Debug)]
pub(super) struct Scope {
    own: u32,
    independent: bool,
}

impl Scope {
    pub(super) const fn new(attempts_max: u32, independent: bool) -> Self {
        Self { own: attempts_max.saturating_sub(1), independent }
    }

    /// How many retries this layer and those around it have left.
    pub(super) fn left(&self) -> u32 {
        match LEFT.get() {
            Some(outer) if !self.independent => outer.min(self.own),
            _ => self.own,
        }
    }

    /// Takes one retry from this layer and from those around it.
    pub(super) fn spend(&mut self) {
        self.own = self.own.saturating_sub(1);
        if !self.independent
            && let Some(outer) = LEFT.get()
        {
            LEFT.set(Some(outer.saturating_sub(1)));
        }
    }

    /// Runs `poll` inside this layer.
    #[inline]
    pub(super) fn enter<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        let outer = LEFT.get();
        let left = self.left();
        let _restored = Restore { scope: self, outer, left };
        LEFT.set(Some(left));
        poll()
    }
}

/// Puts back what was left around, less what was spent within, also when the attempt panics.
struct Restore<'a> {
    scope: &'a mut Scope,
    outer: Option<u32>,
    left: u32,
}

impl Drop for Restore<'_> {
    #[inline]
    fn drop(&mut self) {
        let spent = self.left - LEFT.get().unwrap_or(self.left).min(self.left);
        self.scope.own = self.scope.own.saturating_sub(spent);
        let outer =
            if self.scope.independent { self.outer } else { self.outer.map(|outer| outer.saturating_sub(spent)) };
        LEFT.set(outer);
    }
}
