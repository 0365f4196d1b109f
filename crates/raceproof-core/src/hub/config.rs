//! The hub's limits. Each has a typed answer when it is reached.

use std::time::Duration;

use super::Mutation;

/// Limits and times of a hub. Every field has the default that its documentation names.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// The shortest lease that may be asked for: 100 ms. Shorter is answered with `ttl_out_of_range`.
    pub ttl_ms_min: u64,
    /// The longest lease that may be asked for: a day. Longer is answered with `ttl_out_of_range`.
    pub ttl_ms_max: u64,
    /// How many sessions may be open: 250,000. One more is answered with `too_many_sessions`.
    pub sessions_max: usize,
    /// How many requests may wait: 250,000. One more is answered with `too_many_waiters`.
    pub waiters_max: usize,
    /// How many requests may wait for one name: 10,000. One more is answered with `too_many_waiters`.
    pub waiters_per_name_max: usize,
    /// How many requests of one session may wait: 1,000. One more is answered with `too_many_waiters`.
    pub waiters_per_session_max: usize,
    /// How many grants one session may hold: 10,000. One more is answered with `too_many_grants`.
    pub grants_per_session_max: usize,
    /// How many names one request may take: 64. More is answered with `bad_request`.
    pub names_max: usize,
    /// How long a name may be: 256 bytes. Longer is answered with `name_invalid`.
    pub name_bytes_max: usize,
    /// How long a request id or an owner may be: 64 bytes. Longer is answered with `bad_request`.
    pub request_bytes_max: usize,
    /// How long a candidate's value may be: 4,096 bytes. Longer is answered with `value_too_large`.
    pub value_bytes_max: usize,
    /// The longest lock-delay: an hour. Longer is answered with `bad_request`.
    pub lock_delay_ms_max: u64,
    /// How many answers a session's requests are remembered for after they were given: 32 (L12).
    pub answers_remembered_max: usize,
    /// How many times one waiting request may be sent and not answered yet: 16. One more is answered with
    /// `too_many_requests`.
    pub retries_waiting_max: usize,
    /// How many elections one connection may observe: 1,000. One more is answered with `too_many_requests`.
    pub observed_max: usize,
    /// A gap between two calls longer than this is a stall of the server: 50 ms (L5).
    pub stall: Duration,
    /// How long a grant waits for a session that is not connected to come and claim it: 5 s, and never longer than
    /// half the session's lease (L4).
    pub claim: Duration,
    /// How many leases end in one call of `tick`: 128, so that other requests get in between.
    pub expiries_per_tick_max: usize,
    /// How many tokens are set aside at a time: 2^20. A crash skips at most two blocks.
    pub token_block: u64,
    /// A known bug to put back, so that the simulator can prove that it notices.
    #[cfg(feature = "mutations")]
    pub mutation: Option<Mutation>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ttl_ms_min: 100,
            ttl_ms_max: 86_400_000,
            sessions_max: 250_000,
            waiters_max: 250_000,
            waiters_per_name_max: 10_000,
            waiters_per_session_max: 1_000,
            grants_per_session_max: 10_000,
            names_max: 64,
            name_bytes_max: 256,
            request_bytes_max: 64,
            value_bytes_max: 4_096,
            lock_delay_ms_max: 3_600_000,
            answers_remembered_max: 32,
            retries_waiting_max: 16,
            observed_max: 1_000,
            stall: Duration::from_millis(50),
            claim: Duration::from_secs(5),
            expiries_per_tick_max: 128,
            token_block: 1 << 20,
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
}
