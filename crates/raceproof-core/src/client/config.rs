//! What a client can be told to do differently, with its defaults.

use std::sync::Arc;
use std::time::Duration;

use super::Mutation;
use crate::wire::OnDisconnect;

/// How a client behaves. Every field has a default that suits a service on a local network.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Who this is, for people: `host:pid` by custom.
    pub name: Arc<str>,
    /// The lease to ask for: 100 ms to a day. 10 s by default.
    pub ttl: Duration,
    /// What the end of the connection means (L11). Nothing, until the lease ends, by default.
    pub on_disconnect: OnDisconnect,
    /// Whether to open a session. Without one a client can look and steal, but holds nothing.
    pub session: bool,
    /// How long a grant may wait for its operation to be polled before it is given back (L4). The smaller of half the
    /// lease and 5 s by default.
    pub claim_timeout: Option<Duration>,
    /// How many operations may be under way, answered but not yet claimed included. 1,024 by default.
    pub pending_max: usize,
    /// How many changes wait for a slow observer before the oldest is passed over. 16 by default.
    pub observed_max: usize,
    /// The longest pause after the second failed attempt to connect; doubles with each further one. 50 ms by default.
    pub backoff_min: Duration,
    /// The longest pause between two attempts to connect. 5 s by default; while a lease runs, a sixth of it.
    pub backoff_max: Duration,
    /// How long one attempt to connect may take, the opening of the session included. 5 s by default; while a lease
    /// runs, a third of it but at least 250 ms.
    pub connect_timeout: Duration,
    /// How long a request that does not wait, or whose wait is over, may stay unanswered. 5 s by default.
    pub answer_timeout: Duration,
    /// How long the hub may be silent before it is pinged; after twice that the connection is taken for dead. 10 s by
    /// default.
    pub ping_interval: Duration,
    /// A known bug to put back, so that the simulator can prove that it notices.
    #[cfg(feature = "mutations")]
    pub mutation: Option<Mutation>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            name: Arc::from("client"),
            ttl: Duration::from_secs(10),
            on_disconnect: OnDisconnect::Keep,
            session: true,
            claim_timeout: None,
            pending_max: 1_024,
            observed_max: 16,
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(5),
            connect_timeout: Duration::from_secs(5),
            answer_timeout: Duration::from_secs(5),
            ping_interval: Duration::from_secs(10),
            #[cfg(feature = "mutations")]
            mutation: None,
        }
    }
}

impl Config {
    /// Whether a known bug is put back. Never, in a build without the feature `mutations`.
    #[cfg(feature = "mutations")]
    pub(super) fn has(&self, mutation: Mutation) -> bool {
        self.mutation == Some(mutation)
    }

    /// Whether a known bug is put back. Never, in a build without the feature `mutations`.
    #[cfg(not(feature = "mutations"))]
    #[expect(clippy::unused_self, reason = "the same call with and without the feature")]
    pub(super) const fn has(&self, _mutation: Mutation) -> bool {
        false
    }

    pub(super) fn claim_timeout(&self) -> Duration {
        self.claim_timeout.unwrap_or_else(|| (self.ttl / 2).min(Duration::from_secs(5)))
    }
}

/// What a holder takes off its lease for the drift between its clock and the hub's (L8): a fiftieth of the lease, which
/// covers clocks that run 2 % apart, and 2 ms for their resolution.
#[must_use]
pub fn drift_margin(ttl: Duration) -> Duration {
    ttl / 50 + Duration::from_millis(2)
}
