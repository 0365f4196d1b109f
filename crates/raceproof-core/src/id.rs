//! Identities and numbers that must not be mixed up: sessions, tokens, log positions, requests.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize)]
        #[serde(transparent)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct $name(u64);

        impl $name {
            /// Wraps a number that came from elsewhere: a store, a frame, a test.
            #[must_use]
            pub const fn new(number: u64) -> Self {
                Self(number)
            }

            /// The bare number.
            #[must_use]
            pub const fn as_u64(self) -> u64 {
                self.0
            }

            /// The number that follows.
            #[must_use]
            pub const fn next(self) -> Self {
                Self(self.0 + 1)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }
    };
}

number! {
    /// A fencing token: strictly increasing over every grant of a store, for ever (L2). Below 2^53, so that it is
    /// exact in JSON, in Redis scripts and in JavaScript.
    Token
}
number! {
    /// Names a session in public: in listings, holders and cycles. It opens nothing; a [`SessionKey`] does.
    SessionId
}
number! {
    /// Position of a record in the store's log, dense from 1; 0 is "before everything".
    Lsn
}
number! {
    /// Identity of one run of a hub over its store. Each start writes a higher one.
    Epoch
}
number! {
    /// A connection of the hub's, as its shell numbers them; never reused within a run.
    ConnId
}

impl Token {
    /// The greatest token: 2^53 - 1.
    pub const MAX: Self = Self((1 << 53) - 1);
}

impl FromStr for Token {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// What proves that a request speaks for a session: its id and a secret that only its opener was told.
///
/// Written `17-0123456789abcdef0123456789abcdef`. `Debug` hides the secret.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct SessionKey {
    /// The public half.
    pub id: SessionId,
    /// The secret half.
    pub secret: u128,
}

/// A text that is not a session key.
#[derive(Debug, thiserror::Error)]
#[error("not a session key: expected an id, a hyphen and 32 hexadecimal digits")]
pub struct SessionKeyError;

impl fmt::Display for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{:032x}", self.id, self.secret)
    }
}

impl fmt::Debug for SessionKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionKey({}-…)", self.id)
    }
}

impl FromStr for SessionKey {
    type Err = SessionKeyError;

    fn from_str(text: &str) -> Result<Self, SessionKeyError> {
        let (id, secret) = text.split_once('-').ok_or(SessionKeyError)?;
        let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit()) && !s.is_empty();
        if !digits(id) || secret.len() != 32 || !secret.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(SessionKeyError);
        }
        Ok(Self {
            id: SessionId(id.parse().map_err(|_| SessionKeyError)?),
            secret: u128::from_str_radix(secret, 16).map_err(|_| SessionKeyError)?,
        })
    }
}

impl Serialize for SessionKey {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for SessionKey {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// The caller's own name for a request. A request that is sent again under the same id by the same session is
/// answered as the first time (L12).
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[serde(transparent)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema), schema(value_type = String))]
pub struct RequestId(Arc<str>);

impl RequestId {
    /// Wraps the caller's text. The hub bounds its length.
    #[must_use]
    pub fn new(id: impl Into<Arc<str>>) -> Self {
        Self(id.into())
    }

    /// The caller's text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
