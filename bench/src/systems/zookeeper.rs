//! ZooKeeper by its recipe: an ephemeral sequential node per contender, each watching the one before it. One session
//! per client.
//!
//! The token is the transaction that created the node, which grows with every grant of a name.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use async_trait::async_trait;
use zookeeper_client::{Acls, CreateMode, Error, OneshotWatcher};

use super::{Client, Observer, Options, Publisher};

pub(super) struct Zookeeper {
    client: zookeeper_client::Client,
    lease_started: Instant,
    held: HashMap<String, String>,
}

impl Zookeeper {
    pub(super) async fn connect(addr: SocketAddr, options: &Options) -> Result<Self> {
        let lease_started = Instant::now();
        let client = open(addr, options.ttl).await?;
        Ok(Self { client, lease_started, held: HashMap::new() })
    }

    async fn create_contender(&self, dir: &str) -> Result<(u64, String)> {
        let prefix = format!("{dir}/lock-");
        let options = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
        let created = match self.client.create(&prefix, b"", &options).await {
            Err(Error::NoNode) => {
                let parent = CreateMode::Persistent.with_acls(Acls::anyone_all());
                self.client.mkdir(dir, &parent).await?;
                self.client.create(&prefix, b"", &options).await
            }
            created => created,
        };
        let (stat, sequence) = created?;
        Ok((u64::try_from(stat.czxid)?, format!("lock-{sequence}")))
    }
}

#[async_trait]
impl Client for Zookeeper {
    async fn acquire(&mut self, name: &str) -> Result<u64> {
        let dir = format!("/locks/{name}");
        let (token, mine) = self.create_contender(&dir).await?;
        self.held.insert(name.to_owned(), format!("{dir}/{mine}"));
        loop {
            let children = self.client.list_children(&dir).await?;
            let Some(before) = children.into_iter().filter(|child| *child < mine).max() else { return Ok(token) };
            match self.client.get_and_watch_data(&format!("{dir}/{before}")).await {
                Ok((_, _, watcher)) => drop(watcher.changed().await),
                // It went between the two calls.
                Err(Error::NoNode) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn release(&mut self, name: &str) -> Result<()> {
        let path = self.held.remove(name).context("not held")?;
        Ok(self.client.delete(&path, None).await?)
    }

    fn lease_started(&self) -> Instant {
        self.lease_started
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

const PATH: &str = "/observed";

pub(super) struct Watcher {
    client: zookeeper_client::Client,
    watcher: Option<OneshotWatcher>,
}

impl Watcher {
    pub(super) async fn connect(addr: SocketAddr) -> Result<Self> {
        let client = open(addr, Duration::from_secs(10)).await?;
        let (_, _, watcher) = client.get_and_watch_data(PATH).await?;
        Ok(Self { client, watcher: Some(watcher) })
    }
}

#[async_trait]
impl Observer for Watcher {
    async fn change(&mut self) -> Result<u64> {
        self.watcher.take().context("watched")?.changed().await;
        let (data, _, watcher) = self.client.get_and_watch_data(PATH).await?;
        self.watcher = Some(watcher);
        Ok(std::str::from_utf8(&data)?.parse()?)
    }
}

pub(super) struct Writer(zookeeper_client::Client);

impl Writer {
    pub(super) async fn connect(addr: SocketAddr) -> Result<Self> {
        let client = open(addr, Duration::from_secs(10)).await?;
        client.mkdir(PATH, &CreateMode::Persistent.with_acls(Acls::anyone_all())).await?;
        Ok(Self(client))
    }
}

#[async_trait]
impl Publisher for Writer {
    async fn publish(&mut self, number: u64) -> Result<()> {
        self.0.set_data(PATH, number.to_string().as_bytes(), None).await?;
        Ok(())
    }
}

async fn open(addr: SocketAddr, ttl: Duration) -> Result<zookeeper_client::Client> {
    let mut connector = zookeeper_client::Client::connector();
    connector.session_timeout(ttl);
    Ok(connector.connect(&addr.to_string()).await?)
}
