//! The epoch row in PostgreSQL, with transactions that overlap.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use raceproof::fence::kit::{self, BoxError, Resource, Verdict};
use raceproof::fence::sql::{self, Dialect, STALE_SQLSTATE};
use raceproof::fence::{Stale, Token};
use tokio_postgres::error::SqlState;
use tokio_postgres::{Client, NoTls};

const GUARD: &str = Dialect::Postgres.guard();
const GUARD_OR_FAIL: &str = Dialect::Postgres.guard_or_fail();
/// Held while tables are made: PostgreSQL does not let two sessions replace a function at once.
const SCHEMA_LOCK: &str = "SELECT pg_advisory_lock(7117)";

async fn connect() -> Option<Client> {
    let address = crate::server("RACEPROOF_TEST_POSTGRES")?;
    let client = reconnect(&address).await.unwrap();
    client.batch_execute(SCHEMA_LOCK).await.unwrap();
    client.batch_execute(Dialect::Postgres.schema()).await.unwrap();
    client.batch_execute("CREATE TABLE IF NOT EXISTS cells (name text PRIMARY KEY, value text)").await.unwrap();
    client.batch_execute("SELECT pg_advisory_unlock(7117)").await.unwrap();
    Some(client)
}

async fn reconnect(address: &str) -> Result<Client, tokio_postgres::Error> {
    let (client, connection) = tokio_postgres::connect(address, NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}

struct Cell {
    name: &'static str,
    idle: Mutex<Vec<Client>>,
}

impl Cell {
    async fn client(&self) -> Result<Client, BoxError> {
        let idle = self.idle.lock().unwrap().pop();
        match idle {
            Some(client) => Ok(client),
            None => Ok(reconnect(&crate::server("RACEPROOF_TEST_POSTGRES").unwrap()).await?),
        }
    }
}

impl Resource for Cell {
    async fn write(&self, token: Token, value: &str) -> Result<Verdict, BoxError> {
        let mut client = self.client().await?;
        let tx = client.transaction().await?;
        let newest = tx.query_one(GUARD, &[&self.name, &sql::bind(token)]).await?.get(0);
        let verdict = if sql::verdict(newest, token).is_ok() {
            let write = "INSERT INTO cells VALUES ($1, $2) ON CONFLICT (name) DO UPDATE SET value = excluded.value";
            tx.execute(write, &[&self.name, &value]).await?;
            tx.commit().await?;
            Verdict::Accepted
        } else {
            tx.rollback().await?;
            Verdict::Refused
        };
        self.idle.lock().unwrap().push(client);
        Ok(verdict)
    }

    async fn read(&self) -> Result<Option<String>, BoxError> {
        let client = self.client().await?;
        let row = client.query_opt("SELECT value FROM cells WHERE name = $1", &[&self.name]).await?;
        Ok(row.map(|row| row.get(0)))
    }

    async fn reopen(&mut self) -> Result<(), BoxError> {
        self.idle.lock().unwrap().clear();
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l9_postgres_passes_the_kit() {
    let Some(client) = connect().await else { return };
    let cell = Cell { name: "kit", idle: Mutex::new(vec![client]) };
    kit::replay(cell, Token::new(1)).await.into_result().unwrap();
}

/// Waits until the backend waits for a lock.
async fn until_blocked(observer: &Client, pid: i32) {
    let until = Instant::now() + Duration::from_secs(30);
    let waits = "SELECT count(*) FROM pg_locks WHERE pid = $1 AND NOT granted";
    while observer.query_one(waits, &[&pid]).await.unwrap().get::<_, i64>(0) == 0 {
        assert!(Instant::now() < until, "the older holder did not wait for the newer one's transaction");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// A holder of token 5 that comes while the transaction of token 6 is open, and what it is answered after that ended.
async fn overtaken(name: &'static str, isolation: &str, commit: bool) -> Option<Result<i64, tokio_postgres::Error>> {
    let mut newer = connect().await?;
    let older = connect().await?;
    let observer = connect().await?;
    older.execute(GUARD, &[&name, &sql::bind(Token::new(4))]).await.unwrap();
    let pid: i32 = older.query_one("SELECT pg_backend_pid()", &[]).await.unwrap().get(0);

    let tx = newer.transaction().await.unwrap();
    tx.execute(GUARD, &[&name, &sql::bind(Token::new(6))]).await.unwrap();
    older.batch_execute(&format!("BEGIN ISOLATION LEVEL {isolation}; SELECT 1")).await.unwrap();
    let late = tokio::spawn(async move {
        let row = older.query_one(GUARD, &[&name, &sql::bind(Token::new(5))]).await;
        row.map(|row| row.get::<_, i64>(0))
    });
    until_blocked(&observer, pid).await;
    if commit {
        tx.commit().await.unwrap();
    } else {
        tx.rollback().await.unwrap();
    }
    Some(late.await.unwrap())
}

#[tokio::test]
async fn l9_a_holder_overtaken_while_it_waits_for_the_row_sees_the_newer_token() {
    let Some(newest) = overtaken("overtaken", "READ COMMITTED", true).await else { return };
    let stale = sql::verdict(newest.unwrap(), Token::new(5)).unwrap_err();
    assert_eq!(stale, Stale { token: Token::new(5), newest: Token::new(6) });
}

#[tokio::test]
async fn a_newer_holder_that_rolls_back_has_not_been_there() {
    let Some(newest) = overtaken("rolled back", "READ COMMITTED", false).await else { return };
    assert_eq!(sql::verdict(newest.unwrap(), Token::new(5)), Ok(()));
}

#[tokio::test]
async fn l9_under_repeatable_read_the_overtaken_holder_fails() {
    let Some(outcome) = overtaken("repeatable", "REPEATABLE READ", true).await else { return };
    assert_eq!(outcome.unwrap_err().code(), Some(&SqlState::T_R_SERIALIZATION_FAILURE));
}

#[tokio::test]
async fn l9_the_failing_guard_ends_the_transaction_with_a_state_of_its_own() {
    let Some(mut client) = connect().await else { return };
    let name = "failing";
    client.execute(GUARD_OR_FAIL, &[&name, &sql::bind(Token::new(6))]).await.unwrap();
    client.execute(GUARD_OR_FAIL, &[&name, &sql::bind(Token::new(6))]).await.unwrap();
    let tx = client.transaction().await.unwrap();
    let error = tx.execute(GUARD_OR_FAIL, &[&name, &sql::bind(Token::new(5))]).await.unwrap_err();
    let error = error.as_db_error().unwrap();
    assert_eq!(error.code().code(), STALE_SQLSTATE);
    assert_eq!(error.message(), "stale fencing token 5 for failing: 6 is the newest");
    assert!(tx.execute("SELECT 1", &[]).await.is_err());
}

#[tokio::test]
async fn the_table_refuses_numbers_that_no_hub_grants_and_lowering_by_hand() {
    let Some(client) = connect().await else { return };
    for token in [Token::new(0), Token::MAX.next(), Token::new(u64::MAX)] {
        let error = client.execute(GUARD, &[&"range", &sql::bind(token)]).await.unwrap_err();
        assert_eq!(error.code(), Some(&SqlState::CHECK_VIOLATION));
    }
    client.execute(GUARD, &[&"range", &sql::bind(Token::MAX)]).await.unwrap();
    let lower = "UPDATE raceproof_fence SET token = 1 WHERE resource = 'range'";
    assert_eq!(client.execute(lower, &[]).await.unwrap_err().code().unwrap().code(), STALE_SQLSTATE);
}
