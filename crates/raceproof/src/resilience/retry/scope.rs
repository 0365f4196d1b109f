//! Which retries an operation runs inside of.
//!
//! While an attempt is polled, its thread knows how many retries are left to it. A retry that is begun in there spends
//! them, whichever layer it belongs to. What a layer has left and spends is the
//! [machine's](raceproof_core::resilience::retry::Layer).

use std::cell::Cell;

use raceproof_core::resilience::retry::Layer;

crate::sync::thread_local! {
    /// How many retries are left to what is being polled. `None` outside of any.
    static LEFT: Cell<Option<u32>> = const { Cell::new(None) };
}

fn around() -> Option<u32> {
    LEFT.with(Cell::get)
}

fn set_around(left: Option<u32>) {
    LEFT.with(|cell| cell.set(left));
}

/// The retries of one call.
#[derive(Debug)]
pub(super) struct Scope(Layer);

impl Scope {
    pub(super) const fn new(attempts_max: u32, independent: bool) -> Self {
        Self(Layer::new(attempts_max, independent))
    }

    /// How many retries this layer and those around it have left.
    pub(super) fn left(&self) -> u32 {
        self.0.left(around())
    }

    /// Takes one retry from this layer and from those around it.
    pub(super) fn spend(&mut self) {
        set_around(self.0.spend(around(), 1));
    }

    /// Runs `poll` inside this layer.
    #[inline]
    pub(super) fn enter<R>(&mut self, poll: impl FnOnce() -> R) -> R {
        let (around, left) = (around(), self.left());
        let _restored = Restore { layer: &mut self.0, around, left };
        set_around(Some(left));
        poll()
    }
}

/// Puts back what was left around, less what was spent within, also when the attempt panics.
struct Restore<'a> {
    layer: &'a mut Layer,
    around: Option<u32>,
    left: u32,
}

impl Drop for Restore<'_> {
    #[inline]
    fn drop(&mut self) {
        let spent = self.left.saturating_sub(around().unwrap_or(self.left));
        set_around(self.layer.spend(self.around, spent));
    }
}
