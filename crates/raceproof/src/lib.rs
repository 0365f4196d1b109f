//! Locks with fencing tokens, semaphores and elections that survive cancellation, crashes and frozen holders: between
//! processes and machines over a Raceproof server, with [`Raceproof::connect`].
//!
//! ```no_run
//! # async fn example() -> Result<(), raceproof::Error> {
//! let rp = raceproof::Raceproof::connect("http://127.0.0.1:7117").await?;
//! let guard = rp.lock("deploy").acquire().await?;
//! println!("deploying under token {}", guard.token());
//! guard.release().await?;
//! # Ok(()) }
//! ```
//!
//! What a guard promises is in [`Guard`], what a leadership promises in [`Leadership`], how a client stays connected
//! in [`Raceproof`]. What makes a resource refuse a holder that comes too late is in [`fence`].

pub mod clock;

#[cfg(feature = "client")]
mod builder;
#[cfg(feature = "client")]
mod client;
#[cfg(feature = "client")]
mod election;
#[cfg(feature = "client")]
mod end;
#[cfg(feature = "client")]
mod error;
pub mod fence;
#[cfg(feature = "client")]
mod guard;
#[cfg(feature = "client")]
mod handle;
#[cfg(feature = "client")]
mod lease;
#[cfg(feature = "client")]
mod lock;
#[cfg(feature = "client")]
mod observer;
#[cfg(feature = "client")]
mod query;
#[cfg(feature = "client")]
mod semaphore;
#[cfg(feature = "store")]
pub mod store;

#[cfg(feature = "client")]
pub use builder::Builder;
#[cfg(feature = "client")]
pub use election::{Election, Leadership};
#[cfg(feature = "client")]
pub use end::end_session;
#[cfg(feature = "client")]
pub use error::{AcquireError, CampaignError, ConnectError, Error, QueryError, ReleaseError, TransferError};
#[cfg(feature = "client")]
pub use guard::Guard;
#[cfg(feature = "client")]
pub use handle::Raceproof;
#[cfg(feature = "client")]
pub use lease::{Lease, Leases};
#[cfg(feature = "client")]
pub use lock::Lock;
#[cfg(feature = "client")]
pub use observer::{ObserveError, Observer};
#[cfg(feature = "client")]
pub use query::Checked;
#[cfg(feature = "client")]
pub use raceproof_core::client::{ConnectionState, Failure};
pub use raceproof_core::id::{SessionId, SessionKey, Token};
pub use raceproof_core::time::Time;
pub use raceproof_core::wire;
pub use raceproof_core::wire::{Class, Code, LostReason, OnDisconnect, Problem};
#[cfg(feature = "client")]
pub use semaphore::Semaphore;

/// The README's program, as a doctest.
#[cfg(all(doctest, feature = "client"))]
#[doc = include_str!("../../../README.md")]
mod readme {}
