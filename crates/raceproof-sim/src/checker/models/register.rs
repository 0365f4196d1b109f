//! A register with compare-and-set.

use crate::checker::Model;

/// The model. Its state is the value, at first 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Register;

/// A call on the register.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RegisterOp {
    /// Reads the value.
    Read,
    /// Writes a value.
    Write(u64),
    /// Writes the second value if the register has the first.
    CompareAndSet(u64, u64),
}

/// An answer of the register.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum RegisterAnswer {
    /// It is written.
    Written,
    /// The value read.
    Value(u64),
    /// The register had another value.
    Mismatch,
}

impl Model for Register {
    type State = u64;
    type Op = RegisterOp;
    type Answer = RegisterAnswer;

    fn initial(&self) -> u64 {
        0
    }

    fn step(&self, state: &u64, op: &RegisterOp, answer: Option<&RegisterAnswer>) -> Option<u64> {
        let (after, gives) = match *op {
            RegisterOp::Read => (*state, RegisterAnswer::Value(*state)),
            RegisterOp::Write(value) => (value, RegisterAnswer::Written),
            RegisterOp::CompareAndSet(from, to) if from == *state => (to, RegisterAnswer::Written),
            RegisterOp::CompareAndSet(..) => (*state, RegisterAnswer::Mismatch),
        };
        answer.is_none_or(|answer| *answer == gives).then_some(after)
    }
}
