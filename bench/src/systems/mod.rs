//! Every system behind one trait, so that one driver runs the same closed loop against all of them.

mod etcd;
mod postgres;
mod raceproof;
mod raw;
mod redis;
mod zookeeper;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use async_trait::async_trait;

use crate::kind::{Family, Kind};

/// How a client wants to be connected.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    /// The lease of what it holds.
    pub(crate) ttl: Duration,
    /// Whether the lease is kept alive. Without it the client takes its lease and falls silent.
    pub(crate) renew: bool,
    /// Whether others will wait for the same names: where waiting has to be prepared by the one who releases, it is.
    pub(crate) contended: bool,
    /// Whether the end of the connection ends what it held, where that can be chosen.
    pub(crate) end_on_disconnect: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { ttl: Duration::from_secs(10), renew: true, contended: false, end_on_disconnect: false }
    }
}

/// A client with a connection and a session of its own.
#[async_trait]
pub(crate) trait Client: Send {
    /// Waits until it holds the lock. Answers with the fencing token, 0 if the system has none.
    async fn acquire(&mut self, name: &str) -> Result<u64>;

    /// Gives the lock back and waits for the answer.
    async fn release(&mut self, name: &str) -> Result<()>;

    /// The moment just before the request was sent with which the lease of the last acquired lock began.
    fn lease_started(&self) -> Instant;

    /// Renews the lease of everything it holds, for systems whose library does not.
    async fn renew(&mut self) -> Result<()> {
        Ok(())
    }

    /// Ends the session in good order.
    async fn close(self: Box<Self>) -> Result<()>;
}

/// Who is told of changes.
#[async_trait]
pub(crate) trait Observer: Send {
    /// Waits for a change and answers with its number.
    async fn change(&mut self) -> Result<u64>;
}

/// Who makes changes.
#[async_trait]
pub(crate) trait Publisher: Send {
    /// What has to be done between two changes.
    async fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    /// Makes a change of this number.
    async fn publish(&mut self, number: u64) -> Result<()>;
}

/// Connects a client.
pub(crate) async fn connect(kind: Kind, addr: SocketAddr, options: &Options) -> Result<Box<dyn Client>> {
    let options = options.clone();
    Ok(match kind {
        Kind::Durable | Kind::Reclaim if !options.renew => {
            Box::new(raw::Raw::connect(addr, kind == Kind::Reclaim, &options).await?)
        }
        Kind::Durable | Kind::Reclaim => {
            Box::new(raceproof::Library::connect(addr, kind == Kind::Reclaim, &options).await?)
        }
        Kind::RawDurable | Kind::RawReclaim => {
            Box::new(raw::Raw::connect(addr, kind == Kind::RawReclaim, &options).await?)
        }
        Kind::Etcd => Box::new(etcd::Etcd::connect(addr, &options).await?),
        Kind::Redis => Box::new(redis::Redis::connect(addr, &options).await?),
        Kind::PgLease => Box::new(postgres::LeaseRow::connect(addr, &options).await?),
        Kind::PgAdvisory => Box::new(postgres::Advisory::connect(addr).await?),
        Kind::Zookeeper => Box::new(zookeeper::Zookeeper::connect(addr, &options).await?),
    })
}

/// Connects an observer of the one thing that `publisher` changes.
pub(crate) async fn observer(family: Family, addr: SocketAddr) -> Result<Box<dyn Observer>> {
    Ok(match family {
        Family::Raceproof => Box::new(raceproof::Follower::connect(addr).await?),
        Family::Etcd => Box::new(etcd::Watcher::connect(addr).await?),
        Family::Redis => Box::new(redis::Subscriber::connect(addr).await?),
        Family::Postgres => Box::new(postgres::Listener::connect(addr).await?),
        Family::Zookeeper => Box::new(zookeeper::Watcher::connect(addr).await?),
    })
}

/// Connects the one who changes what observers observe.
pub(crate) async fn publisher(family: Family, addr: SocketAddr) -> Result<Box<dyn Publisher>> {
    Ok(match family {
        Family::Raceproof => Box::new(raceproof::Candidate::connect(addr).await?),
        Family::Etcd => Box::new(etcd::Writer::connect(addr).await?),
        Family::Redis => Box::new(redis::Writer::connect(addr).await?),
        Family::Postgres => Box::new(postgres::Notifier::connect(addr).await?),
        Family::Zookeeper => Box::new(zookeeper::Writer::connect(addr).await?),
    })
}

/// A lease as the systems with whole milliseconds take it.
fn millis(ttl: Duration) -> u64 {
    u64::try_from(ttl.as_millis()).unwrap_or(u64::MAX)
}
