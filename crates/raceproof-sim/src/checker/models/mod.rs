//! Sequential objects to judge by, after those of the Jepsen analysis of Hazelcast: an owner-aware mutex, a fenced
//! mutex whose token grows across owners, a semaphore, a shared/exclusive lock, and a register with compare-and-set.
//!
//! Leases: a grant may end by itself. A history says so with a call that nobody made: the end of a session, invoked at
//! the first moment when its holder had stopped believing, answered when the end was certain (or never). A grant to
//! somebody else is then accepted from the first moment on, and not before.

mod fenced;
mod mutex;
mod register;

pub use fenced::{Fenced, FencedAnswer, FencedOp, FencedState, Holding};
pub use mutex::{MutexAnswer, MutexOp, OwnerMutex};
pub use register::{Register, RegisterAnswer, RegisterOp};
