//! Retries inside retries.

/// What a layer of retries has left of its own. A layer inside others spends theirs, too, so layers share attempts and do
/// not multiply them (P2). `around` is what the layers around have left; `None` outside of any.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Layer {
    own: u32,
    independent: bool,
}

impl Layer {
    /// A layer with so many attempts, the first included. An independent one keeps them for itself.
    #[must_use]
    pub const fn new(attempts_max: u32, independent: bool) -> Self {
        Self { own: attempts_max.saturating_sub(1), independent }
    }

    /// How many retries this layer and those around it have left.
    #[must_use]
    pub fn left(&self, around: Option<u32>) -> u32 {
        around.filter(|_| !self.independent).map_or(self.own, |around| around.min(self.own))
    }

    /// Takes so many retries from this layer. What those around have left then.
    #[must_use]
    pub fn spend(&mut self, around: Option<u32>, retries: u32) -> Option<u32> {
        self.own = self.own.saturating_sub(retries);
        around.map(|around| if self.independent { around } else { around.saturating_sub(retries) })
    }
}
