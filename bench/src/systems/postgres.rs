//! PostgreSQL, two ways, one connection per client: a row with an expiry, and advisory locks.
//!
//! A lease row's waiters poll every 2.5 to 7.5 ms. An advisory lock queues in the server, is gone with its
//! connection, writes nothing, and has no token.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use async_trait::async_trait;
use tokio::sync::mpsc;
use tokio_postgres::{AsyncMessage, NoTls, Statement};

use super::{Client, Observer, Options, Publisher, millis};

const TABLE: &str = "CREATE TABLE IF NOT EXISTS locks (name text PRIMARY KEY, token bigint NOT NULL,
    expires timestamptz NOT NULL) WITH (fillfactor = 50)";

const ACQUIRE: &str = "INSERT INTO locks AS held (name, token, expires)
    VALUES ($1, 1, clock_timestamp() + $2 * interval '1 ms')
    ON CONFLICT (name) DO UPDATE SET token = held.token + 1, expires = excluded.expires
    WHERE held.expires <= clock_timestamp() RETURNING token";

const RELEASE: &str = "UPDATE locks SET expires = '-infinity' WHERE name = $1 AND token = $2";

const RENEW: &str = "UPDATE locks SET expires = clock_timestamp() + $3 * interval '1 ms'
    FROM unnest($1::text[], $2::bigint[]) AS mine (name, token)
    WHERE locks.name = mine.name AND locks.token = mine.token";

pub(super) struct LeaseRow {
    client: tokio_postgres::Client,
    acquire: Statement,
    release: Statement,
    renew: Statement,
    ttl_ms: f64,
    lease_started: Instant,
    held: HashMap<String, i64>,
}

impl LeaseRow {
    pub(super) async fn connect(addr: SocketAddr, options: &Options) -> Result<Self> {
        let client = open(addr).await?;
        // Two that create the same table at once collide inside the catalogue; the advisory lock orders them.
        client
            .batch_execute(&format!(
                "SET client_min_messages = warning; SELECT pg_advisory_lock(0); {TABLE}; SELECT pg_advisory_unlock(0)"
            ))
            .await?;
        #[expect(clippy::cast_precision_loss, reason = "below a day")]
        let ttl_ms = millis(options.ttl) as f64;
        Ok(Self {
            acquire: client.prepare(ACQUIRE).await?,
            release: client.prepare(RELEASE).await?,
            renew: client.prepare(RENEW).await?,
            client,
            ttl_ms,
            lease_started: Instant::now(),
            held: HashMap::new(),
        })
    }
}

#[async_trait]
impl Client for LeaseRow {
    async fn acquire(&mut self, name: &str) -> Result<u64> {
        loop {
            self.lease_started = Instant::now();
            if let Some(row) = self.client.query_opt(&self.acquire, &[&name, &self.ttl_ms]).await? {
                let token: i64 = row.try_get(0)?;
                self.held.insert(name.to_owned(), token);
                return Ok(u64::try_from(token)?);
            }
            tokio::time::sleep(Duration::from_micros(fastrand::u64(2_500..7_500))).await;
        }
    }

    async fn release(&mut self, name: &str) -> Result<()> {
        let token = self.held.remove(name).context("not held")?;
        let released = self.client.execute(&self.release, &[&name, &token]).await?;
        ensure!(released == 1, "the lock was lost before its release");
        Ok(())
    }

    fn lease_started(&self) -> Instant {
        self.lease_started
    }

    async fn renew(&mut self) -> Result<()> {
        let (names, tokens): (Vec<&str>, Vec<i64>) =
            self.held.iter().map(|(name, token)| (name.as_str(), *token)).unzip();
        let renewed = self.client.execute(&self.renew, &[&names, &tokens, &self.ttl_ms]).await?;
        ensure!(usize::try_from(renewed)? == names.len(), "a lock was lost before its renewal");
        Ok(())
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

pub(super) struct Advisory {
    client: tokio_postgres::Client,
    acquire: Statement,
    release: Statement,
}

impl Advisory {
    pub(super) async fn connect(addr: SocketAddr) -> Result<Self> {
        let client = open(addr).await?;
        Ok(Self {
            acquire: client.prepare("SELECT pg_advisory_lock(hashtextextended($1, 0))").await?,
            release: client.prepare("SELECT pg_advisory_unlock(hashtextextended($1, 0))").await?,
            client,
        })
    }
}

#[async_trait]
impl Client for Advisory {
    async fn acquire(&mut self, name: &str) -> Result<u64> {
        self.client.query_one(&self.acquire, &[&name]).await?;
        Ok(0)
    }

    async fn release(&mut self, name: &str) -> Result<()> {
        let released: bool = self.client.query_one(&self.release, &[&name]).await?.try_get(0)?;
        ensure!(released, "the lock was lost before its release");
        Ok(())
    }

    fn lease_started(&self) -> Instant {
        Instant::now()
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

pub(super) struct Listener {
    changes: mpsc::UnboundedReceiver<u64>,
    _client: tokio_postgres::Client,
}

impl Listener {
    pub(super) async fn connect(addr: SocketAddr) -> Result<Self> {
        let (client, mut connection) = tokio_postgres::connect(&url(addr), NoTls).await?;
        let (tell, changes) = mpsc::unbounded_channel();
        tokio::spawn(async move {
            while let Some(Ok(message)) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                if let AsyncMessage::Notification(notification) = message
                    && let Ok(number) = notification.payload().parse()
                    && tell.send(number).is_err()
                {
                    return;
                }
            }
        });
        client.batch_execute("LISTEN observed").await?;
        Ok(Self { changes, _client: client })
    }
}

#[async_trait]
impl Observer for Listener {
    async fn change(&mut self) -> Result<u64> {
        self.changes.recv().await.context("the connection ended")
    }
}

pub(super) struct Notifier(tokio_postgres::Client);

impl Notifier {
    pub(super) async fn connect(addr: SocketAddr) -> Result<Self> {
        let client = open(addr).await?;
        client.batch_execute("CREATE TABLE IF NOT EXISTS observed (number bigint)").await?;
        Ok(Self(client))
    }
}

#[async_trait]
impl Publisher for Notifier {
    async fn publish(&mut self, number: u64) -> Result<()> {
        // The write makes it a change of something that lasts; the notification tells of it.
        let change = format!("BEGIN; INSERT INTO observed VALUES ({number}); NOTIFY observed, '{number}'; COMMIT");
        Ok(self.0.batch_execute(&change).await?)
    }
}

fn url(addr: SocketAddr) -> String {
    format!("host={} port={} user=bench dbname=postgres", addr.ip(), addr.port())
}

async fn open(addr: SocketAddr) -> Result<tokio_postgres::Client> {
    let (client, connection) = tokio_postgres::connect(&url(addr), NoTls).await?;
    tokio::spawn(connection);
    Ok(client)
}
