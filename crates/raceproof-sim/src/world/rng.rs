//! The one source of chance in a run.

/// Chances are counted in this many.
pub const OF: u32 = 1_000;

/// A seeded source.
#[derive(Debug)]
pub struct Rng(fastrand::Rng);

impl Rng {
    /// A source that gives the same for the same seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        // Neighbouring seeds must not give neighbouring runs.
        Self(fastrand::Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5851_f42d_4c95_7f2d))
    }

    /// Less than `end`; 0 if that is 0.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.0.u64(0..end) }
    }

    /// From `low` to `high`, both included.
    pub fn range(&mut self, low: u64, high: u64) -> u64 {
        if low >= high { low } else { self.0.u64(low..=high) }
    }

    /// An index into something of this length.
    pub fn index(&mut self, length: usize) -> usize {
        if length == 0 { 0 } else { self.0.usize(0..length) }
    }

    /// True so often in [`OF`].
    pub fn chance(&mut self, of_1000: u32) -> bool {
        of_1000 > 0 && self.0.u32(0..OF) < of_1000
    }

    /// One of several.
    pub fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        let index = self.index(of.len());
        *of.get(index).expect("there is something to pick from")
    }

    /// Fresh bits.
    pub fn bits(&mut self) -> u128 {
        self.0.u128(..)
    }

    /// Puts things in another order.
    pub fn shuffle<T>(&mut self, things: &mut [T]) {
        self.0.shuffle(things);
    }
}
