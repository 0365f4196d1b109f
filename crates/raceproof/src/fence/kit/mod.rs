//! Proves a fence: replays a stale holder against a resource of your own.
//!
//! Owns: the holders and their order. Refuses nothing: it reports which [`Check`] failed, and how.
//!
//! The kit writes to the resource as a line of holders would, each with the token of its grant: newer ones, stale ones,
//! several at once, before and after the resource was opened anew. Give it a resource of its own, whose content and
//! fence nobody needs: at the end the fence stands at the greatest token there is.
//!
//! ```
//! use raceproof::fence::file::{FencedFile, FileError};
//! use raceproof::fence::kit::{self, BoxError, Resource, Verdict};
//! use raceproof::fence::Token;
//!
//! struct Deployed(FencedFile);
//!
//! impl Resource for Deployed {
//!     async fn write(&self, token: Token, value: &str) -> Result<Verdict, BoxError> {
//!         match self.0.write(token, value.as_bytes()) {
//!             Ok(()) => Ok(Verdict::Accepted),
//!             Err(FileError::Stale(_)) => Ok(Verdict::Refused),
//!             Err(error) => Err(error.into()),
//!         }
//!     }
//!
//!     async fn read(&self) -> Result<Option<String>, BoxError> {
//!         Ok(self.0.read()?.map(String::from_utf8).transpose()?)
//!     }
//!
//!     async fn reopen(&mut self) -> Result<(), BoxError> {
//!         Ok(()) // it keeps nothing in memory
//!     }
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let dir = tempfile::tempdir()?;
//! let resource = Deployed(FencedFile::new(dir.path().join("deployed"))?);
//! kit::replay(resource, Token::new(1)).await.into_result()?;
//! # Ok(()) }
//! ```

mod replay;
mod report;
#[cfg(test)]
mod tests;

use std::future::Future;

use raceproof_core::id::Token;

use self::replay::Replay;
pub use self::report::{Check, Report, Unfenced};

/// Why a resource could not do what it was asked; not a refusal.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// What became of a write.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Verdict {
    /// It happened.
    Accepted,
    /// The token was stale, and nothing happened.
    Refused,
}

/// Something that is written under a fence.
pub trait Resource: Send + Sync + 'static {
    /// Writes `value` in place of what is there, as a holder whose grant has this token.
    ///
    /// # Errors
    /// Anything but a stale token. It fails the check.
    ///
    /// # Cancel safety
    /// Dropped only with the replay itself; then the write may or may not happen.
    fn write(&self, token: Token, value: &str) -> impl Future<Output = Result<Verdict, BoxError>> + Send;

    /// What is there: the last value that was accepted, `None` before the first.
    ///
    /// # Errors
    /// It fails the check.
    ///
    /// # Cancel safety
    /// Dropped only with the replay itself, which then has no result.
    fn read(&self) -> impl Future<Output = Result<Option<String>, BoxError>> + Send;

    /// Forgets whatever is in memory and opens the resource anew, as after a crash of the process that guards it.
    ///
    /// # Errors
    /// It fails the check.
    ///
    /// # Cancel safety
    /// Dropped only with the replay itself; the resource is not used any more then.
    fn reopen(&mut self) -> impl Future<Output = Result<(), BoxError>> + Send;
}

/// Replays holders against a resource. `from` is a token that it admits: 1 for a fresh one.
///
/// Writers that race are spawned on the current Tokio runtime; one with several threads makes them race harder. A race
/// that is narrow may go unseen: a pass is evidence, a failure is proof.
///
/// # Cancel safety
/// Dropped early, writers that were spawned end by themselves.
///
/// # Panics
/// Outside of a Tokio runtime.
pub async fn replay<R: Resource>(resource: R, from: Token) -> Report {
    Replay::new(resource, from).run().await
}
