//! A fence in the database: an epoch row per resource, advanced in the transaction of the write it guards.
//!
//! Owns: the statements, for PostgreSQL and SQLite, and reading their answer. Refuses: a stale token (L9), numbers that
//! no hub grants, and taking a token back, whatever statement tries it.
//!
//! ```
//! use raceproof::fence::{Token, sql::{self, Dialect}};
//! use rusqlite::{Connection, Transaction, TransactionBehavior::Immediate};
//!
//! fn set_price(tx: &Transaction, token: Token, cents: i64) -> Result<(), Box<dyn std::error::Error>> {
//!     let newest = tx.query_row(Dialect::Sqlite.guard(), ("prices", sql::bind(token)), |row| row.get(0))?;
//!     sql::verdict(newest, token)?; // leaving without a commit rolls back
//!     tx.execute("UPDATE prices SET cents = ?1", [cents])?;
//!     Ok(())
//! }
//!
//! let mut db = Connection::open_in_memory()?;
//! db.execute_batch(Dialect::Sqlite.schema())?;
//! db.execute_batch("CREATE TABLE prices (cents INTEGER); INSERT INTO prices VALUES (100)")?;
//!
//! let tx = db.transaction_with_behavior(Immediate)?;
//! set_price(&tx, Token::new(8), 120)?;
//! tx.commit()?;
//!
//! let tx = db.transaction_with_behavior(Immediate)?;
//! let stale = set_price(&tx, Token::new(7), 90).unwrap_err();
//! assert_eq!(stale.to_string(), "fencing token 7 is stale: 8 is the newest");
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

use super::{Fence, Stale, Token};

/// The SQL that a database speaks.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
#[non_exhaustive]
pub enum Dialect {
    /// PostgreSQL 14 or later.
    Postgres,
    /// SQLite 3.35 or later.
    Sqlite,
}

impl Dialect {
    /// Statements that make the table `raceproof_fence(resource, token)` with what guards it; harmless when repeated.
    /// They are a batch: run them with the driver's call for several statements.
    ///
    /// The table refuses to lower a token by any statement, so that a mistake elsewhere cannot open the fence.
    #[must_use]
    pub const fn schema(self) -> &'static str {
        match self {
            Self::Postgres => include_str!("sql/postgres.sql"),
            Self::Sqlite => include_str!("sql/sqlite.sql"),
        }
    }

    /// The guard: takes the resource and [the token](bind), advances the row unless it is ahead, and answers with one
    /// row of one column, the newest token, for [`verdict`].
    ///
    /// Run it first in the transaction of the write. It locks the row, so that until the commit nobody newer passes;
    /// what is read after it is what the holders before have left. In SQLite, begin with `BEGIN IMMEDIATE`, so that
    /// the lock is waited for and not refused.
    #[must_use]
    pub const fn guard(self) -> &'static str {
        match self {
            Self::Postgres => {
                "INSERT INTO raceproof_fence AS fence (resource, token) VALUES ($1, $2) \
                 ON CONFLICT (resource) DO UPDATE SET token = greatest(fence.token, excluded.token) \
                 RETURNING fence.token"
            }
            Self::Sqlite => {
                "INSERT INTO raceproof_fence (resource, token) VALUES (?1, ?2) \
                 ON CONFLICT (resource) DO UPDATE SET token = max(token, excluded.token) \
                 RETURNING token"
            }
        }
    }

    /// The guard for scripts and for programs that do not look at answers: takes the same, and fails the transaction
    /// if the token is stale.
    ///
    /// The error's message begins `stale fencing token`; in PostgreSQL its SQLSTATE is [`STALE_SQLSTATE`].
    #[must_use]
    pub const fn guard_or_fail(self) -> &'static str {
        match self {
            Self::Postgres => "SELECT raceproof_fence($1, $2)",
            Self::Sqlite => {
                "INSERT INTO raceproof_fence (resource, token) VALUES (?1, ?2) \
                 ON CONFLICT (resource) DO UPDATE SET token = excluded.token"
            }
        }
    }
}

/// The SQLSTATE of a write that PostgreSQL refused because its token is stale.
pub const STALE_SQLSTATE: &str = "RF001";

/// A token as the statements take it. What no hub grants becomes a number that the table refuses.
#[must_use]
pub const fn bind(token: Token) -> i64 {
    // The range is checked by the table; here it only has to stay out of it.
    if token.as_u64() > Token::MAX.as_u64() { -1 } else { token.as_u64().cast_signed() }
}

/// Reads the answer of [`Dialect::guard`].
///
/// # Errors
/// [`Stale`] if a newer token was admitted. Roll back: the write must not happen.
pub fn verdict(newest: i64, token: Token) -> Result<(), Stale> {
    let newest = Token::new(u64::try_from(newest).unwrap_or(0));
    Fence::restore(newest, Token::new(0)).check(token)
}
