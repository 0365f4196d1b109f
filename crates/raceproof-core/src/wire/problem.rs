//! Refusals, in the shape of RFC 9457 problem details: a stable code, a sentence, and what the code calls for.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::response::{CycleMember, Holder};

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident $code:literal $status:literal $title:literal;)*) => {
        /// Why a request was refused. The text form is stable; new codes may come.
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
        #[non_exhaustive]
        pub enum Code {
            $($(#[$doc])* #[serde(rename = $code)] $variant,)*
            /// A code that this version does not know.
            #[serde(other, rename = "unknown")]
            Unknown,
        }

        impl Code {
            /// Every code that a hub sends.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The code as it is written in JSON.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $code,)*
                    Self::Unknown => "unknown",
                }
            }

            /// The HTTP status it is sent with.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self {
                    $(Self::$variant => $status,)*
                    Self::Unknown => 500,
                }
            }

            /// The problem's title, the same for every problem of this code.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self {
                    $(Self::$variant => $title,)*
                    Self::Unknown => "unknown problem",
                }
            }
        }
    };
}

codes! {
    /// The body, frame or parameter is not what the call takes.
    BadRequest "bad_request" 400 "the request is malformed";
    /// A name is empty or too long.
    NameInvalid "name_invalid" 400 "the name is not usable";
    /// The lease is too short or too long.
    TtlOutOfRange "ttl_out_of_range" 400 "the lease is out of range";
    /// No or wrong credentials.
    Unauthorized "unauthorized" 401 "credentials are missing or wrong";
    /// The request comes from an origin or a host name that is not allowed.
    OriginDenied "origin_denied" 403 "the origin is not allowed";
    /// No such page or call.
    NotFound "not_found" 404 "there is nothing here";
    /// The path exists, but not with this method.
    MethodNotAllowed "method_not_allowed" 405 "the method is not allowed here";
    /// The session ended or never was.
    SessionUnknown "session_unknown" 404 "the session is not known";
    /// The request id is not waiting.
    NotWaiting "not_waiting" 404 "the request does not wait";
    /// The wait ran out.
    WaitTimedOut "wait_timed_out" 408 "the wait timed out";
    /// The lock is held, or somebody waits before.
    LockHeld "lock_held" 409 "the lock is held";
    /// Waiting would close a cycle of waiters.
    Deadlock "deadlock" 409 "waiting would be a deadlock";
    /// The token is not of a grant that this session holds on this lock.
    NotHolder "not_holder" 409 "the session does not hold this";
    /// The lock is in use with another number of permits, or as another kind.
    PermitsMismatch "permits_mismatch" 409 "the lock is in use as another kind";
    /// The request id was used for something else.
    RequestReused "request_reused" 409 "the request id was used before, for something else";
    /// The candidate named as successor does not stand.
    NotCandidate "not_candidate" 409 "the session does not stand for this election";
    /// The wait was given up by its owner.
    Cancelled "cancelled" 409 "the wait was cancelled";
    /// The grant was handed out and not claimed in time.
    Unclaimed "unclaimed" 409 "the grant was not claimed in time";
    /// The body is larger than the hub reads.
    BodyTooLarge "body_too_large" 413 "the body is too large";
    /// The value is longer than the hub keeps.
    ValueTooLarge "value_too_large" 413 "the value is too large";
    /// The hub has as many sessions as it takes.
    TooManySessions "too_many_sessions" 429 "there are too many sessions";
    /// The lock has as many waiters as it takes, or the hub does.
    TooManyWaiters "too_many_waiters" 429 "there are too many waiters";
    /// The session holds as many grants as it may.
    TooManyGrants "too_many_grants" 429 "the session holds too many grants";
    /// Too many requests of this connection are under way.
    TooManyRequests "too_many_requests" 429 "there are too many requests";
    /// The store failed: nothing is promised until an operator has looked.
    StoreFailed "store_failed" 503 "the store failed";
    /// The hub is stopping or not yet ready.
    Unavailable "unavailable" 503 "the hub is not available";
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A refusal.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize, thiserror::Error)]
#[error("{detail}")]
pub struct Problem {
    /// The stable code.
    pub code: Code,
    /// What happened, to what, and what to do.
    pub detail: String,
    /// Who holds the lock (`lock_held`, `wait_timed_out`).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
    /// The waiters that would wait for each other (`deadlock`): each waits for the next, the last for the first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cycle: Vec<CycleMember>,
    /// When to try again, where the hub knows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
}

impl Problem {
    /// A refusal with nothing but a sentence.
    #[must_use]
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), holders: Vec::new(), cycle: Vec::new(), retry_after_ms: None }
    }

    /// Adds who holds the lock.
    #[must_use]
    pub fn with_holders(mut self, holders: Vec<Holder>) -> Self {
        self.holders = holders;
        self
    }

    /// Adds the cycle.
    #[must_use]
    pub fn with_cycle(mut self, cycle: Vec<CycleMember>) -> Self {
        self.cycle = cycle;
        self
    }

    /// Adds when to try again.
    #[must_use]
    pub const fn with_retry_after_ms(mut self, retry_after_ms: u64) -> Self {
        self.retry_after_ms = Some(retry_after_ms);
        self
    }
}
