//! A server and the library over what real networks, processes and clocks do to them.
//!
//! Some parts run in processes of their own: this test program itself, which finds its part in the environment.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod elections;
mod frozen;
mod moved;
mod partition;
mod process;
mod proxy;
mod replies;
mod restart;
mod storm;
mod support;
mod wall_clock;
