//! The mailbox of workers that answer requests: who is next, who has gone, and what follows a panic.
//!
//! Owns: the order of requests, the limit of those that wait, which worker is woken for one, and the pauses before a
//! worker that panicked goes on.
//!
//! - T1: a worker that panics fails the request in its hand; those that wait are kept for it and the others.
//! - T3: a request that was abandoned, or whose time is over, is not handed out, and holds no place.
//!
//! Refuses: what a request is, how it is answered, the clock.

mod config;
mod error;
mod inbox;
mod mailbox;
mod queue;

pub use config::Config;
pub use error::OfferError;
pub use inbox::{Inbox, Terms};
pub use mailbox::{Counters, Mailbox, Next, Refilled, Waiting, WorkerId};
pub use queue::RequestId;

#[cfg(test)]
mod model;
#[cfg(test)]
mod sequential;
#[cfg(test)]
mod tests;
