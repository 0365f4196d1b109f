//! An independent judge of what clients saw: is there an order of the calls, compatible with when each was made and
//! answered, in which a simple sequential object would have given the same answers?
//!
//! It shares no code with the core: not its types, not its tables. It knows processes, calls, answers and times.

mod history;
mod search;

pub mod models;

pub use history::{Call, History};
pub use search::{Verdict, Violation, check};

use std::fmt::Debug;
use std::hash::Hash;

/// A sequential object: what one call does, and whether an answer fits.
pub trait Model {
    /// What the object remembers.
    type State: Clone + Eq + Hash + Debug;
    /// What can be asked of it.
    type Op: Debug;
    /// What it can answer.
    type Answer: Debug;

    /// The object before the first call.
    fn initial(&self) -> Self::State;

    /// The object after `op`, or `None` if `op` cannot give `answer` in this state. Without an answer (the caller
    /// never learned it) any answer that `op` can give is accepted.
    fn step(&self, state: &Self::State, op: &Self::Op, answer: Option<&Self::Answer>) -> Option<Self::State>;
}
