//! A mutex that knows its owner and is not reentrant.

use crate::checker::Model;

/// The model. Its state is the owner.
#[derive(Clone, Copy, Debug, Default)]
pub struct OwnerMutex;

/// A call on the mutex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MutexOp {
    /// Tries to take it.
    Acquire {
        /// Who asks.
        owner: u64,
    },
    /// Gives it back.
    Release {
        /// Who asks.
        owner: u64,
    },
    /// The owner's session ends.
    End {
        /// Whose.
        owner: u64,
    },
}

/// An answer of the mutex.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum MutexAnswer {
    /// It is done.
    Done,
    /// Somebody, the asker included, has it; or the asker does not have it.
    Refused,
}

impl Model for OwnerMutex {
    type State = Option<u64>;
    type Op = MutexOp;
    type Answer = MutexAnswer;

    fn initial(&self) -> Option<u64> {
        None
    }

    fn step(&self, state: &Option<u64>, op: &MutexOp, answer: Option<&MutexAnswer>) -> Option<Option<u64>> {
        let (after, gives) = match *op {
            MutexOp::Acquire { owner } if state.is_none() => (Some(owner), MutexAnswer::Done),
            MutexOp::Release { owner } if *state == Some(owner) => (None, MutexAnswer::Done),
            MutexOp::End { owner } if *state == Some(owner) => (None, MutexAnswer::Done),
            MutexOp::End { .. } => (*state, MutexAnswer::Done),
            MutexOp::Acquire { .. } | MutexOp::Release { .. } => (*state, MutexAnswer::Refused),
        };
        answer.is_none_or(|answer| *answer == gives).then_some(after)
    }
}
