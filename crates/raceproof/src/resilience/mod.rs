//! What keeps one failure from becoming many: circuit breakers, retries, rate limits, debouncing, throttling, timeouts,
//! [`Policy`] to stack them, and [`Recovery`] to do something about what still fails.
//!
//! Every handle here is cheap to clone, and its clones share one state. Decisions are the core's
//! ([`raceproof_core::resilience`]); times are Tokio's, so a test that pauses Tokio's time before it makes a handle
//! pauses that too.

pub mod breaker;
mod clock;
pub mod debounce;
pub mod limiter;
pub mod policy;
mod queue;
pub mod recovery;
pub mod retry;
pub mod throttle;
pub mod timeout;

pub use breaker::Breaker;
pub use debounce::Debounce;
pub use limiter::{KeyedRateLimiter, RateLimiter};
pub use policy::{Policy, PolicyError};
pub use queue::QueueFull;
pub use recovery::Recovery;
pub use retry::Retry;
pub use throttle::{Throttle, TooSoon};
pub use timeout::{TimedOut, Timeout};
