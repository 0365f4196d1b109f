//! The hub of Raceproof: one sequencer over a durable store, behind HTTP and WebSocket.
//!
//! Owns sockets, the wall clock, credentials, origins, metrics and the dashboard. Decides nothing about sessions,
//! locks or elections: [`raceproof_core::hub::Hub`] does, and this crate carries its inputs and outputs. What is said
//! on the wire is documented in `docs/protocol.md`.
//!
//! Promises carried here: L5 (what waits in the queue is taken before leases are expired), L4 (a closed HTTP request
//! gives up its wait), L11 (lease timers are looked at every 10 ms), "durable before visible" (only
//! [`raceproof::store::Writer`]'s word releases an answer).
//!
//! ```no_run
//! use raceproof_server::{Server, ServerConfig, StoreKind};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! raceproof_server::runtime()?.block_on(async {
//!     let server = Server::bind(ServerConfig::new(StoreKind::directory("./data"))).await?;
//!     println!("listening on http://{}", server.local_addr());
//!     server.run(async { tokio::signal::ctrl_c().await.expect("signals can be listened for") }).await?;
//!     Ok(())
//! })
//! # }
//! ```

mod alert;
mod auth;
mod calm;
mod clock;
mod config;
mod heard;
mod http;
mod journal;
mod metrics;
mod openapi;
mod origin;
mod outbox;
mod sequencer;
mod server;
mod ws;

pub use auth::{Tokens, TokensError};
pub use config::{LISTEN_DEFAULT, Limits, ServerConfig, StoreKind};
pub use server::{RunError, Server, StartError, runtime};
