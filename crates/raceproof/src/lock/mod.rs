//! Locks and semaphores: by key ([`Locks`], [`Semaphores`]), around a value ([`AsyncLock`]), alone ([`Semaphore::new`]).
//! The guide, with what is guaranteed and what is not, is the repository's `docs/rooms/lock.md`.
//!
//! Owns how they are asked for and what is told of them. Decides nothing: see `local` for this process, and the server.
//!
//! - L1 no two conflicting grants are valid at once. L2 tokens increase.
//! - L3 first come, first served: nobody is overtaken by what would delay them.
//! - L4 a wait that is given up, or whose grant is not claimed in time, passes on what it was given.
//! - L6 several names are taken all or none; of a cycle of waiters exactly one is refused, and told who waits for whom.
//! - L7 a key that nobody uses leaves nothing behind. L10 a release wakes whom it grants to, and nobody else.

mod deadlock;
mod guard;
mod locks;
mod request;
mod semaphore;
#[cfg(test)]
mod tests;
mod value;

pub use raceproof_core::local::{Blocked, Blocker, Site, Stats};

pub use self::deadlock::Deadlock;
pub use self::guard::{GuardFuture, LockGuard};
pub use self::locks::{Locks, Semaphores};
pub use self::request::Lock;
pub(crate) use self::request::millis;
pub use self::semaphore::Semaphore;
pub use self::value::{AsyncGuard, AsyncLock};
