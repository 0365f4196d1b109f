//! Questions to the coordinator, for people and their tools.

use std::sync::Arc;

use raceproof_core::client::OpError;
#[cfg(feature = "client")]
use raceproof_core::client::{Client, Query};
use raceproof_core::id::Token;
use raceproof_core::wire::{self, Check, ElectionPage, LockPage, Page, Request, Response, SessionPage};

#[cfg(feature = "client")]
use crate::client::Claimed;
use crate::coordinator::Coordinator;
use crate::error::QueryError;
use crate::handle::Raceproof;

/// What a token is worth: see [`Raceproof::check`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Checked {
    /// Whether the token belongs to a grant that is valid.
    pub valid: bool,
    /// The greatest token among the lock's grants, if it is held.
    pub newest: Option<Token>,
}

/// # Questions
///
/// None of these needs a session: see `Builder::observer`.
impl Raceproof {
    /// A page of the locks that are held or waited for, in name order.
    ///
    /// # Errors
    /// See [`QueryError`].
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is changed by asking.
    pub async fn locks(&self, page: Page) -> Result<LockPage, QueryError> {
        match self.ask(Request::Locks(page)).await? {
            Response::Locks(page) => Ok(page),
            _ => Err(QueryError::Unreachable),
        }
    }

    /// One lock: its holders and waiters.
    ///
    /// # Errors
    /// See [`QueryError`].
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is changed by asking.
    pub async fn lock_info(&self, name: impl Into<Arc<str>>) -> Result<wire::Lock, QueryError> {
        match self.ask(Request::Lock { name: name.into() }).await? {
            Response::Lock(lock) => Ok(lock),
            _ => Err(QueryError::Unreachable),
        }
    }

    /// A page of the sessions, in order of opening.
    ///
    /// # Errors
    /// See [`QueryError`].
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is changed by asking.
    pub async fn sessions(&self, page: Page) -> Result<SessionPage, QueryError> {
        match self.ask(Request::Sessions(page)).await? {
            Response::Sessions(page) => Ok(page),
            _ => Err(QueryError::Unreachable),
        }
    }

    /// A page of the elections that somebody leads or stands for, in name order.
    ///
    /// # Errors
    /// See [`QueryError`].
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is changed by asking.
    pub async fn elections(&self, page: Page) -> Result<ElectionPage, QueryError> {
        match self.ask(Request::Elections(page)).await? {
            Response::Elections(page) => Ok(page),
            _ => Err(QueryError::Unreachable),
        }
    }

    /// Who leads an election, and who stands.
    ///
    /// # Errors
    /// See [`QueryError`].
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is changed by asking.
    pub async fn election_info(&self, name: impl Into<Arc<str>>) -> Result<wire::Election, QueryError> {
        match self.ask(Request::Election { name: name.into() }).await? {
            Response::Election(election) => Ok(election),
            _ => Err(QueryError::Unreachable),
        }
    }

    /// Whether a token belongs to a grant that is valid, for a writer that cannot remember tokens itself. By the time
    /// the answer is read it may be out of date: what remembers the newest token it saw is safer.
    ///
    /// # Errors
    /// See [`QueryError`].
    ///
    /// # Cancel safety
    /// Cancel safe: nothing is changed by asking.
    pub async fn check(&self, name: impl Into<Arc<str>>, token: Token) -> Result<Checked, QueryError> {
        match self.ask(Request::Check(Check { name: name.into(), token })).await? {
            Response::Checked { valid, newest } => Ok(Checked { valid, newest }),
            _ => Err(QueryError::Unreachable),
        }
    }

    /// Ends every grant of a lock without asking its holders, and gives their tokens. For operators: the holders are
    /// told, but what they are doing goes on unless it is fenced.
    ///
    /// # Errors
    /// See [`QueryError`]; [`QueryError::Ambiguous`] when it may or may not have happened.
    ///
    /// # Cancel safety
    /// Not cancel safe: once polled, the lock may be stolen also if the future is dropped.
    pub async fn steal(&self, name: impl Into<Arc<str>>) -> Result<Vec<Token>, QueryError> {
        match self.ask(Request::Steal { name: name.into() }).await? {
            Response::Stolen { tokens } => Ok(tokens),
            _ => Err(QueryError::Unreachable),
        }
    }

    async fn ask(&self, request: Request) -> Result<Response, QueryError> {
        match &self.coordinator {
            #[cfg(feature = "client")]
            Coordinator::Server(owner) => {
                // Every request that is asked here is a query.
                let Ok(query) = Query::new(request) else { return Err(QueryError::Closed) };
                let submit = |client: &mut Client, now| client.query(now, query).map_err(|refused| refused.reason);
                match owner.0.start(submit)?.await? {
                    Claimed::Answer(response) => Ok(*response),
                    _ => Err(QueryError::Unreachable),
                }
            }
            Coordinator::Local(local) => Ok(local.ask(request).map_err(OpError::Refused)?),
        }
    }
}
