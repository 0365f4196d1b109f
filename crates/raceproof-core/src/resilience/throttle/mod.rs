//! That two calls are so far apart, however many there are.
//!
//! Owns: when the next one may begin. A call that comes before is told when, and takes nothing.

#[cfg(test)]
mod tests;

use std::time::Duration;

use crate::time::Time;

/// The machine. See the [module](self).
#[derive(Clone, Debug)]
pub struct Throttle {
    every: Duration,
    free_at: Time,
}

impl Throttle {
    /// Calls are at least `every` apart. The first may begin at once.
    #[must_use]
    pub const fn new(every: Duration) -> Self {
        Self { every, free_at: Time::ZERO }
    }

    /// A call wants to begin.
    ///
    /// # Errors
    /// When it may, if no other does before.
    pub fn begin(&mut self, now: Time) -> Result<(), Time> {
        if now < self.free_at {
            return Err(self.free_at);
        }
        self.free_at = now + self.every;
        Ok(())
    }
}
