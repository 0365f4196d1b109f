//! etcd through its Lock RPC: one connection and one lease per client, as `clientv3/concurrency` has it.
//!
//! The token is the revision of the answer, which grows with every grant of a name.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result};
use async_trait::async_trait;
use etcd_client::{LockOptions, PutOptions, WatchStream};
use tokio::task::JoinHandle;

use super::{Client, Observer, Options, Publisher};

pub(super) struct Etcd {
    client: etcd_client::Client,
    lease: i64,
    lease_started: Instant,
    keeper: Option<JoinHandle<()>>,
    held: HashMap<String, Vec<u8>>,
}

impl Etcd {
    pub(super) async fn connect(addr: SocketAddr, options: &Options) -> Result<Self> {
        let mut client = open(addr).await?;
        let lease_started = Instant::now();
        let ttl_s = i64::try_from(options.ttl.as_secs().max(1))?;
        let lease = client.lease_grant(ttl_s, None).await?.id();
        let keeper = if options.renew {
            let (mut keeper, mut answers) = client.lease_keep_alive(lease).await?;
            let every = options.ttl / 3;
            Some(tokio::spawn(async move {
                loop {
                    tokio::time::sleep(every).await;
                    if keeper.keep_alive().await.is_err() || !matches!(answers.message().await, Ok(Some(_))) {
                        return;
                    }
                }
            }))
        } else {
            None
        };
        Ok(Self { client, lease, lease_started, keeper, held: HashMap::new() })
    }
}

#[async_trait]
impl Client for Etcd {
    async fn acquire(&mut self, name: &str) -> Result<u64> {
        let options = LockOptions::new().with_lease(self.lease);
        let answer = self.client.lock(name, Some(options)).await?;
        let revision = answer.header().context("an answer has a header")?.revision();
        self.held.insert(name.to_owned(), answer.key().to_vec());
        Ok(u64::try_from(revision)?)
    }

    async fn release(&mut self, name: &str) -> Result<()> {
        let key = self.held.remove(name).context("not held")?;
        self.client.unlock(key).await?;
        Ok(())
    }

    fn lease_started(&self) -> Instant {
        self.lease_started
    }

    async fn close(mut self: Box<Self>) -> Result<()> {
        self.client.lease_revoke(self.lease).await?;
        Ok(())
    }
}

impl Drop for Etcd {
    fn drop(&mut self) {
        if let Some(keeper) = &self.keeper {
            keeper.abort();
        }
    }
}

const KEY: &str = "observed";

pub(super) struct Watcher {
    stream: WatchStream,
    _client: etcd_client::Client,
}

impl Watcher {
    pub(super) async fn connect(addr: SocketAddr) -> Result<Self> {
        let mut client = open(addr).await?;
        let mut stream = client.watch(KEY, None).await?;
        // The first answer says that the watch is set.
        stream.message().await?.context("the watch ended")?;
        Ok(Self { stream, _client: client })
    }
}

#[async_trait]
impl Observer for Watcher {
    async fn change(&mut self) -> Result<u64> {
        loop {
            let answer = self.stream.message().await?.context("the watch ended")?;
            if let Some(kv) = answer.events().last().and_then(|event| event.kv()) {
                return Ok(kv.value_str()?.parse()?);
            }
        }
    }
}

pub(super) struct Writer(etcd_client::Client);

impl Writer {
    pub(super) async fn connect(addr: SocketAddr) -> Result<Self> {
        Ok(Self(open(addr).await?))
    }
}

#[async_trait]
impl Publisher for Writer {
    async fn publish(&mut self, number: u64) -> Result<()> {
        self.0.put(KEY, number.to_string(), None::<PutOptions>).await?;
        Ok(())
    }
}

async fn open(addr: SocketAddr) -> Result<etcd_client::Client> {
    Ok(etcd_client::Client::connect([format!("http://{addr}")], None).await?)
}
