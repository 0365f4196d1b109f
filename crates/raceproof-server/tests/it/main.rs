//! The server over real sockets.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test may panic")]

mod access;
mod dashboard;
mod description;
mod document;
mod harness;
mod hostile;
mod http;
mod life;
mod limits;
mod refusals;
mod scale;
mod slow;
mod socket;
mod waiting;
