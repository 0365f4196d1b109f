//! Fencing sinks: resources that remember the newest token and refuse an older one, so that a holder which was frozen
//! past its lease cannot write when it comes back (L9).
//!
//! Owns: the check for [SQL](mod@sql), [Redis](mod@redis), [files](mod@file) and HTTP services (`http`, feature `fence-http`),
//! the [`FenceStore`] that other checks are built on, and the [kit](mod@kit) that proves a resource of your own. Refuses:
//! drivers. Statements and scripts are texts, to be run by the driver that the program has.
//!
//! The guide is `docs/fencing.md`.

pub mod directory;
pub mod file;
#[cfg(feature = "fence-http")]
pub mod http;
pub mod kit;
mod memory;
mod record;
pub mod redis;
pub mod sql;

use std::env;
use std::future::Future;

pub use raceproof_core::fence::{Fence, Stale};
pub use raceproof_core::id::Token;

pub use self::memory::{MemoryFences, TooManyResources};

/// The variable in which `raceproof lock` and `raceproof elect` tell their command its token.
pub const ENVIRONMENT: &str = "RACEPROOF_FENCE";

/// The token that `raceproof lock` or `raceproof elect` started this program with.
#[must_use]
pub fn token_from_environment() -> Option<Token> {
    parse(&env::var(ENVIRONMENT).ok()?)
}

/// A token as it is written in headers and variables: decimal digits, from 1 to 2^53 - 1, nothing around them.
fn parse(text: &str) -> Option<Token> {
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    text.parse().ok().filter(|token| (Token::new(1)..=Token::MAX).contains(token))
}

/// Remembers the newest token of each of many resources.
///
/// It guards what is written in the same breath. A check that is followed by a write elsewhere leaves a gap in which a
/// newer holder may pass both; close it with a transaction, or by letting nobody newer in before the write has ended,
/// as `http` does.
pub trait FenceStore: Send + Sync {
    /// Why the newest token could not be read or kept.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Admits `token` for `resource` unless a newer one was admitted, and remembers it: the comparison and the
    /// remembering are one step, and what was remembered is not forgotten once this returned.
    ///
    /// # Cancel safety
    /// Dropped early, the token may or may not have been remembered. Both are safe.
    ///
    /// # Errors
    /// [`CheckError::Stale`] if a newer token was admitted; [`CheckError::Store`] if that could not be found out, in
    /// which case nothing may be written.
    fn check(&self, resource: &str, token: Token) -> impl Future<Output = Result<(), CheckError<Self::Error>>> + Send;
}

/// Why a token was not admitted.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CheckError<E> {
    /// A newer token was admitted before.
    #[error(transparent)]
    Stale(#[from] Stale),
    /// The store failed.
    #[error("the newest fencing token could not be read or kept")]
    Store(#[source] E),
}

/// The guide's snippets, as doctests.
#[cfg(all(doctest, feature = "fence-http"))]
#[doc = include_str!("../../../../docs/fencing.md")]
mod guide {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_digits_in_range_and_nothing_else() {
        assert_eq!(parse("17"), Some(Token::new(17)));
        assert_eq!(parse("9007199254740991"), Some(Token::MAX));
        for text in ["", "0", "-1", "+1", " 1", "1 ", "1.0", "1e3", "0x10", "9007199254740992", "99999999999999999999"]
        {
            assert_eq!(parse(text), None, "{text:?}");
        }
    }
}
