//! The epoch row in SQLite, with a connection per write, as separate processes have.

use std::path::PathBuf;
use std::time::Duration;

use raceproof::fence::Token;
use raceproof::fence::kit::{self, BoxError, Resource, Verdict};
use raceproof::fence::sql::{self, Dialect};
use rusqlite::{Connection, ErrorCode, OptionalExtension, TransactionBehavior};
use tempfile::TempDir;

const GUARD: &str = Dialect::Sqlite.guard();
const GUARD_OR_FAIL: &str = Dialect::Sqlite.guard_or_fail();

fn open(path: &PathBuf) -> rusqlite::Result<Connection> {
    let db = Connection::open(path)?;
    db.busy_timeout(Duration::from_secs(30))?;
    // What is refused does not depend on it, and the kit writes a thousand times.
    db.pragma_update(None, "synchronous", "OFF")?;
    Ok(db)
}

fn fresh() -> (TempDir, PathBuf, Connection) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cells.db");
    let db = open(&path).unwrap();
    db.pragma_update(None, "journal_mode", "WAL").unwrap();
    db.execute_batch(Dialect::Sqlite.schema()).unwrap();
    db.execute_batch(Dialect::Sqlite.schema()).unwrap();
    db.execute_batch("CREATE TABLE cell (value TEXT); INSERT INTO cell VALUES (NULL)").unwrap();
    (dir, path, db)
}

struct Cell {
    path: PathBuf,
    /// Kept while the file is in use.
    _dir: TempDir,
}

impl Resource for Cell {
    async fn write(&self, token: Token, value: &str) -> Result<Verdict, BoxError> {
        let mut db = open(&self.path)?;
        let tx = db.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let newest = tx.query_row(GUARD, ("cell", sql::bind(token)), |row| row.get(0))?;
        if sql::verdict(newest, token).is_err() {
            return Ok(Verdict::Refused);
        }
        tx.execute("UPDATE cell SET value = ?1", [value])?;
        tx.commit()?;
        Ok(Verdict::Accepted)
    }

    async fn read(&self) -> Result<Option<String>, BoxError> {
        Ok(open(&self.path)?.query_row("SELECT value FROM cell", [], |row| row.get(0)).optional()?.flatten())
    }

    async fn reopen(&mut self) -> Result<(), BoxError> {
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l9_sqlite_passes_the_kit() {
    let (dir, path, _db) = fresh();
    kit::replay(Cell { path, _dir: dir }, Token::new(1)).await.into_result().unwrap();
}

#[test]
fn l9_the_failing_guard_fails_the_transaction() {
    let (_dir, _path, mut db) = fresh();
    db.execute(GUARD_OR_FAIL, ("cell", 6)).unwrap();
    db.execute(GUARD_OR_FAIL, ("cell", 6)).unwrap();
    let tx = db.transaction_with_behavior(TransactionBehavior::Immediate).unwrap();
    let error = tx.execute(GUARD_OR_FAIL, ("cell", 5)).unwrap_err();
    assert!(error.to_string().starts_with("stale fencing token"), "{error}");
}

#[test]
fn the_table_refuses_numbers_that_no_hub_grants_texts_and_lowering_by_hand() {
    let (_dir, _path, db) = fresh();
    let refused = |error: rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation);
    for token in [Token::new(0), Token::MAX.next(), Token::new(u64::MAX)] {
        assert!(refused(db.execute(GUARD_OR_FAIL, ("range", sql::bind(token))).unwrap_err()));
    }
    assert!(refused(db.execute(GUARD_OR_FAIL, ("range", "seven")).unwrap_err()));
    db.execute(GUARD_OR_FAIL, ("range", sql::bind(Token::MAX))).unwrap();
    assert!(refused(db.execute("UPDATE raceproof_fence SET token = 1", []).unwrap_err()));
}

#[test]
fn a_number_that_no_hub_grants_is_refused_by_a_row_that_is_there_too() {
    let (_dir, _path, db) = fresh();
    let guard = |token| db.query_row(GUARD, ("row", sql::bind(token)), |row| row.get::<_, i64>(0));
    guard(Token::new(6)).unwrap();
    for token in [Token::new(0), Token::MAX.next(), Token::new(u64::MAX)] {
        // Either the table refuses it or the answer does.
        assert!(guard(token).map_or(true, |newest| sql::verdict(newest, token).is_err()), "{token}");
    }
    assert_eq!(guard(Token::new(6)).unwrap(), 6);
}
