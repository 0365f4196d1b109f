//! What a server is told before it starts.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use raceproof::store::Kind;

use crate::auth::Tokens;

/// The address a server listens on unless told otherwise: 127.0.0.1:7117.
pub const LISTEN_DEFAULT: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7117);

/// How a server is set up. Start from [`ServerConfig::new`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ServerConfig {
    /// Where to listen. Port 0 takes a free one; [`crate::Server::local_addr`] says which.
    pub listen: SocketAddr,
    /// What keeps the log.
    pub store: StoreKind,
    /// Who may call. `None`: everybody who reaches the address.
    pub auth: Option<Tokens>,
    /// Origins of web pages that may call, such as `https://ops.example.org`. The server's own page always may.
    pub allowed_origins: Vec<String>,
    /// Names this server is called by, beside `localhost` and loopback addresses. Checked on a loopback listener,
    /// where a foreign name in `Host` means DNS rebinding.
    pub allowed_hosts: Vec<String>,
    /// Accepts a non-loopback address without credentials.
    pub insecure: bool,
    /// Bounds of the shell. The hub's own are in [`Self::hub`].
    pub limits: Limits,
    /// Bounds of the hub: sessions, waiters, grants, lengths.
    pub hub: raceproof_core::hub::Config,
}

impl ServerConfig {
    /// A server on [`LISTEN_DEFAULT`] over the given store: no credentials, no foreign origins.
    #[must_use]
    pub fn new(store: StoreKind) -> Self {
        Self {
            listen: LISTEN_DEFAULT,
            store,
            auth: None,
            allowed_origins: Vec::new(),
            allowed_hosts: Vec::new(),
            insecure: false,
            limits: Limits::default(),
            hub: raceproof_core::hub::Config::default(),
        }
    }
}

/// What keeps the log.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum StoreKind {
    /// A store in a directory, which is created if it is not there.
    Directory {
        /// The directory.
        path: PathBuf,
        /// What it is or becomes; `None` takes what is there, and creates an append log.
        kind: Option<Kind>,
    },
    /// Nothing outlives the process. For tests and trials.
    Memory,
}

impl StoreKind {
    /// A store in this directory, of the kind that is there; an append log if there is none.
    #[must_use]
    pub fn directory(path: impl Into<PathBuf>) -> Self {
        Self::Directory { path: path.into(), kind: None }
    }
}

/// Bounds of the shell: what one connection may cost. Their overflows have typed answers.
#[derive(Clone, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct Limits {
    /// Connections at a time; further ones wait in the listen queue. Default 100,000.
    pub connections: usize,
    /// Bytes of an HTTP body (413 `body_too_large`). Default 64 KiB.
    pub body_bytes: usize,
    /// Bytes of a WebSocket frame and message (close 1009). Default 64 KiB.
    pub frame_bytes: usize,
    /// Frames that wait for a slow reader before its connection is closed (4429 `slow_reader`). Default 4,096.
    pub outbox_frames: usize,
    /// How long one write may make no progress before its connection is closed. Default 10 s.
    pub write_timeout: Duration,
    /// Silence after which the server pings; after a second such span without a sign of life it closes (4408
    /// `ping_timeout`). Spread by ±10 % per connection. Default 20 s.
    pub ping_interval: Duration,
    /// How long a request's headers, or its body, may take. Default 10 s.
    pub header_timeout: Duration,
    /// How long an HTTP connection is kept for its next request. Default 75 s.
    pub keep_alive: Duration,
    /// How long a stop waits for answers to be written. Default 2 s.
    pub drain_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 100_000,
            body_bytes: 64 * 1024,
            frame_bytes: 64 * 1024,
            outbox_frames: 4_096,
            write_timeout: Duration::from_secs(10),
            ping_interval: Duration::from_secs(20),
            header_timeout: Duration::from_secs(10),
            keep_alive: Duration::from_secs(75),
            drain_timeout: Duration::from_secs(2),
        }
    }
}
