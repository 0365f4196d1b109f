//! A rate limiter: the generic cell rate algorithm, for one stream of calls or for one each per key.
//!
//! Owns: how much of a quota is used, and until when. Its state is one number, the time at which the quota is whole
//! again ([`Tat`]), so a shell may keep it in an atomic.
//!
//! - P3: over any time there are at most a burst, and what the rate gives in that time. [`Keyed`] holds no more keys
//!   than it is told; a key whose quota is whole again takes no memory after the next sweep.

mod error;
mod keyed;
mod quota;

#[cfg(test)]
mod tests;

pub use error::{KeyRefused, Refused};
pub use keyed::Keyed;
pub use quota::{Quota, Tat};
