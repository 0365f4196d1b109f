//! What keeps one failure from becoming many.
//!
//! - [`breaker`]: stops calling what fails, and lets a counted number of probes find out whether it works again (P1).
//! - [`retry`]: which failure is tried again, when, and out of whose budget (P2).
//!
//! None of these queues outputs: each answers at once. Their callers bring the time and wait.

pub mod breaker;
pub mod retry;
