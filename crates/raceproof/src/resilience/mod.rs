//! What keeps one failure from becoming many: circuit breakers and retries.
//!
//! Every handle here is cheap to clone, and its clones share one state. Decisions are the core's
//! ([`raceproof_core::resilience`]); times are Tokio's, so a test that pauses Tokio's time pauses these too.

pub mod breaker;
mod clock;
pub mod retry;

pub use breaker::Breaker;
pub use retry::Retry;
