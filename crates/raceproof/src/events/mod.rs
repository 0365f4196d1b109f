//! A typed bus of events within one process: one order for everybody, and a stated answer for everybody who is slow.
//!
//! Owns the handles: [`Bus`] publishes, [`Subscriber`] receives, a [`Handler`] is a task that calls a function for each
//! event. What is decided is decided by [`raceproof_core::events`].
//!
//! - B1: each subscriber sees events in the order of publishing, one at a time.
//! - B2: a full subscriber follows its own [`Policy`]: publishers wait for it, or it loses the oldest events and is
//!   given a [`Gap`], or it is cut off and told so. Only the first slows anybody down.
//! - B3: a handler that panics is reported and goes on with the next event.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! use raceproof::events::{Bus, Received};
//!
//! let bus = Bus::<&str>::new();
//! let mut log = bus.subscribe("log").receiver()?;
//! bus.publish("saved").await?;
//! assert!(matches!(log.recv().await?, Received::Event(event) if *event == "saved"));
//! # Ok(()) }
//! ```

mod bus;
mod error;
mod handler;
mod shared;
mod stats;
mod subscribe;
mod subscriber;

pub use bus::{Builder, Bus};
pub use error::{DrainError, PublishError, RecvError, SubscribeError, TryPublishError};
pub use handler::{Handler, HandlerPanic};
pub use raceproof_core::events::{Gap, Policy, Published};
pub use stats::{Stats, SubscriberStats};
pub use subscribe::Subscribe;
pub use subscriber::{Received, Subscriber};

#[cfg(test)]
mod tests;
