//! What keeps one failure from becoming many.
//!
//! - [`breaker`]: stops calling what fails, and lets a counted number of probes find out whether it works again (P1).
//! - [`retry`]: which failure is tried again, when, and out of whose budget (P2).
//! - [`limiter`]: how many calls there are in a time, for all or for each key (P3).
//! - [`debounce`]: when the last of many events is handled (P4).
//! - [`policy`]: what a stack of them makes of an attempt that has no result.
//! - [`recovery`]: what is done about errors, by category, and who is told.
//!
//! None of these queues outputs: each answers at once. Their callers bring the time and wait.

pub mod breaker;
pub mod debounce;
pub mod limiter;
pub mod policy;
pub mod recovery;
pub mod retry;
