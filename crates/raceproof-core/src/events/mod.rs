//! Events within one process: one ring that all subscribers read, each at its own place.
//!
//! Owns: the order of events, how far each subscriber has read, what happens to one that falls behind, who waits for
//! room, and which events are kept for those who subscribe later.
//!
//! - B1: each subscriber sees the events in the order in which they were published, and a [`Gap`] in the place of those
//!   it lost.
//! - B2: a subscriber that is full follows its own [`Policy`]. Only one that asked for [`Policy::Wait`] holds up
//!   publishers, and then all of them: first come, first published.
//!
//! Refuses: threads, tasks, wakers. Who waits leaves a value of the shell's choosing, which comes back in
//! [`Outputs::wakes`] when there is something to do. Events of other kinds than the subscriber wants are filtered by
//! the shell, so that a filter runs in its subscriber's time, not in the publisher's.

mod bus;
mod config;
mod error;
mod reader;
mod writer;

pub use bus::{Bus, Outputs, Published, Reading};
pub use config::{Config, Policy, ReaderConfig};
pub use error::{PublishError, SubscribeError, WaitError};
pub use reader::{Gap, Read, ReaderId};
pub use writer::{WriterId, Writing};

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
