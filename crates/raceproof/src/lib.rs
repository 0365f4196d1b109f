//! Locks with fencing tokens, semaphores and elections that survive cancellation, crashes and frozen holders: between
//! processes and machines over a Raceproof server, with `Raceproof::connect`, and between the tasks and threads of one
//! process with the same handles, with [`Raceproof::local`].
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")] async fn main() -> Result<(), raceproof::Error> {
//! let rp = raceproof::Raceproof::local(); // or: Raceproof::connect("http://127.0.0.1:7117").await?
//! let guard = rp.lock("deploy").acquire().await?;
//! println!("deploying under token {}", guard.token());
//! guard.release().await?;
//! # Ok(()) }
//! ```
//!
//! What a guard promises is in [`Guard`], what a leadership promises in [`Leadership`], how a client stays connected
//! in [`Raceproof`]. The repository's `docs/library.md` is the guide to all of it.
//!
//! # Features
//! - `client` (on by default): the client of a server. Without it nothing of HTTP or WebSocket is built.
//! - `coarse-clock` (on by default): on Linux, a cheaper clock where [`resilience`] refuses. It admits nothing.
//! - `config`: the settings of the rooms from `raceproof.toml` and the environment.
//! - `console`: what tokio-console looks at.
//! - `prometheus`: the [`registry`] as a collector of metrics.
//! - `serde`: snapshots of the [`registry`] can be serialised.
//! - `store`: the embedded store, for servers.
//! - `cache`: values by key that are loaded once.
//! - `signal`: [`startup`] that ends at SIGINT or SIGTERM.
//! - `stream`: subscribers of [`events`] as streams.
//! - `fence-http`: a tower layer that checks tokens.
//! - `tower`: policies of [`resilience`] as tower layers.

mod attempt;
#[cfg(feature = "cache")]
pub mod cache;
#[cfg(feature = "client")]
pub mod clock;

#[cfg(feature = "client")]
mod builder;
#[cfg(feature = "client")]
mod client;
pub mod config;
#[cfg(feature = "console")]
pub mod console;
mod coordinator;
mod election;
#[cfg(feature = "client")]
mod end;
mod error;
pub mod events;
pub mod fence;
mod guard;
mod handle;
mod held;
mod lease;
mod local;
pub mod lock;
mod names;
mod observer;
mod owner;
mod query;
pub mod registry;
pub mod resilience;
mod rt;
pub mod service;
pub mod startup;
#[cfg(feature = "store")]
pub mod store;
mod sync;
pub mod task;
mod timer;
mod waiting;
pub mod worker;

#[cfg(feature = "client")]
pub use builder::Builder;
pub use election::{Election, Leadership};
#[cfg(feature = "client")]
pub use end::end_session;
pub use error::{AcquireError, CampaignError, ConnectError, Error, QueryError, ReleaseError, TransferError};
pub use guard::Guard;
pub use handle::Raceproof;
pub use lease::{Lease, Leases};
pub use lock::{Lock, Semaphore};
pub use observer::{ObserveError, Observer};
pub use query::Checked;
pub use raceproof_core::client::{ConnectionState, Failure};
pub use raceproof_core::id::{SessionId, SessionKey, Token};
pub use raceproof_core::time::Time;
pub use raceproof_core::wire;
pub use raceproof_core::wire::{Class, Code, LostReason, OnDisconnect, Problem};

/// The README's program, as a doctest.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../../../README.md")]
mod readme {}

/// The guide to what can be seen, as doctests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/rooms/observability.md")]
mod observability {}

/// The reference of the settings, as doctests.
#[cfg(all(doctest, feature = "config"))]
#[doc = include_str!("../../../docs/configuration.md")]
mod configuration {}

/// The guide's programs, as doctests.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../../../docs/library.md")]
mod guide {}

/// The guides of rooms, as doctests.
#[cfg(doctest)]
mod rooms {
    #[cfg(feature = "cache")]
    #[doc = include_str!("../../../docs/rooms/cache.md")]
    mod cache {}

    #[doc = include_str!("../../../docs/rooms/lock.md")]
    mod lock {}

    #[doc = include_str!("../../../docs/rooms/resilience.md")]
    mod resilience {}

    #[doc = include_str!("../../../docs/rooms/service.md")]
    mod service {}

    #[doc = include_str!("../../../docs/rooms/startup.md")]
    mod startup {}

    #[doc = include_str!("../../../docs/rooms/events.md")]
    mod events {}

    #[doc = include_str!("../../../docs/rooms/monitors.md")]
    mod monitors {}

    #[doc = include_str!("../../../docs/rooms/task.md")]
    mod task {}

    #[doc = include_str!("../../../docs/rooms/worker.md")]
    mod worker {}
}
