//! The client against a real server over real sockets, with a proxy between that can cut, swallow and hold back.
#![cfg(feature = "client")]
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod connect;
mod elections;
mod locks;
mod outages;
mod place;
