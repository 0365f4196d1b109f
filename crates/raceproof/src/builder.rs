//! How a client of a server is set up.

use std::sync::Arc;
use std::time::Duration;

use raceproof_core::client::{Client, Config, ConnectionState, Failure};
use raceproof_core::wire::OnDisconnect;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::http::HeaderValue;

use crate::client::Shared;
use crate::client::driver::Driver;
use crate::client::url::Address;
use crate::error::ConnectError;
use crate::handle::Raceproof;

/// Sets up a client of a server: see [`Raceproof::builder`].
#[derive(Clone)]
#[must_use = "nothing happens before `connect`"]
pub struct Builder {
    url: String,
    token: Option<String>,
    config: Config,
    connect_wait: Duration,
}

impl std::fmt::Debug for Builder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Builder").field("url", &self.url).field("config", &self.config).finish_non_exhaustive()
    }
}

impl Raceproof {
    /// Connects to a server and opens a session, with every setting at its default: see [`Builder`].
    ///
    /// The address is `http://host:port`, `ws://host:port` or `host:port`.
    ///
    /// # Errors
    /// When the address is unusable, no server answers, or it refuses.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future ends what was begun.
    pub async fn connect(url: &str) -> Result<Self, ConnectError> {
        Self::builder(url).connect().await
    }

    /// Begins to set up a client of a server.
    pub fn builder(url: impl Into<String>) -> Builder {
        let name = format!("{}:{}", hostname(), std::process::id());
        let mut config = Config::default();
        config.name = name.into();
        Builder { url: url.into(), token: None, config, connect_wait: Duration::ZERO }
    }
}

impl Builder {
    /// Who this is, for people. `host:pid` by default.
    pub fn name(mut self, name: impl Into<Arc<str>>) -> Self {
        self.config.name = name.into();
        self
    }

    /// The lease: 100 ms to a day, 10 s by default. A shorter one frees what a dead holder held sooner; a longer one
    /// survives longer interruptions.
    pub fn ttl(mut self, ttl: Duration) -> Self {
        self.config.ttl = ttl;
        self
    }

    /// What the end of the connection means (L11). By default nothing, until the lease ends.
    pub fn on_disconnect(mut self, on_disconnect: OnDisconnect) -> Self {
        self.config.on_disconnect = on_disconnect;
        self
    }

    /// The credentials that the server asks for. None by default.
    pub fn auth_token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// Opens no session: the handle can look, check and steal, and holds nothing.
    pub fn observer(mut self) -> Self {
        self.config.session = false;
        self
    }

    /// How long a grant may wait for its future to be polled before it is given back (L4). The smaller of half the
    /// lease and 5 s by default.
    pub fn claim_timeout(mut self, timeout: Duration) -> Self {
        self.config.claim_timeout = Some(timeout);
        self
    }

    /// How many operations may be under way at one time. 1,024 by default.
    pub fn pending_max(mut self, pending_max: usize) -> Self {
        self.config.pending_max = pending_max;
        self
    }

    /// How long one attempt to connect may take. 5 s by default.
    pub fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.config.connect_timeout = timeout;
        self
    }

    /// How long `connect` goes on trying when no server answers. Zero by default: the first failure is the answer.
    pub fn connect_wait(mut self, wait: Duration) -> Self {
        self.connect_wait = wait;
        self
    }

    /// The longest pause between two attempts to connect. 5 s by default.
    pub fn backoff_max(mut self, pause: Duration) -> Self {
        self.config.backoff_max = pause;
        self
    }

    /// Connects, and opens a session unless [`Builder::observer`] was said.
    ///
    /// # Errors
    /// When the address is unusable, no server answers in time, or it refuses.
    ///
    /// # Panics
    /// Outside a Tokio runtime.
    ///
    /// # Cancel safety
    /// Cancel safe: dropping the future ends what was begun.
    pub async fn connect(self) -> Result<Raceproof, ConnectError> {
        let address = Address::parse(&self.url)?;
        let token = self.token.as_deref().map(bearer).transpose()?;
        let client = Client::new(self.config, fastrand::u64(..), crate::clock::now());
        let shared = Arc::new(Shared::new(client));
        shared.with(|_, _| ());
        let rp = Raceproof::server(Arc::clone(&shared));
        tokio::spawn(Driver { shared: Arc::clone(&shared), address, token }.run());
        connected(&rp, &shared, self.connect_wait).await?;
        Ok(rp)
    }
}

async fn connected(rp: &Raceproof, shared: &Shared, wait: Duration) -> Result<(), ConnectError> {
    let give_up = Instant::now() + wait;
    let mut states = rp.connection_states();
    loop {
        let state = *states.borrow_and_update();
        let failure = shared.failure();
        match (state, failure) {
            (ConnectionState::Connected, _) => return Ok(()),
            (ConnectionState::Failed, Some(failure)) => return Err(ConnectError::Failed(failure)),
            (ConnectionState::Closed | ConnectionState::Failed, _) => return Err(ConnectError::Closed),
            (_, Some(failure)) if Instant::now() >= give_up => return Err(ConnectError::Failed(failure)),
            (_, failure) => {
                let changed = states.changed();
                match failure {
                    Some(_) => drop(tokio::time::timeout_at(give_up, changed).await),
                    // One attempt is always made, and it has a time limit of its own.
                    None => changed.await.map_err(|_| ConnectError::Closed)?,
                }
            }
        }
    }
}

pub(crate) fn bearer(token: &str) -> Result<HeaderValue, ConnectError> {
    let mut value = HeaderValue::try_from(format!("Bearer {}", token.trim()))
        .map_err(|_| Failure::Unauthorized("the token has characters that no header can carry".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
