//! Raceproof through its library: one connection and one session per client.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use ::raceproof::{Class, Guard, Leadership, OnDisconnect, Raceproof};
use anyhow::{Context, Result};
use async_trait::async_trait;

use super::{Client, Observer, Options, Publisher};

pub(super) struct Library {
    rp: Raceproof,
    class: Class,
    connected: Instant,
    held: HashMap<String, Guard>,
}

impl Library {
    pub(super) async fn connect(addr: SocketAddr, reclaim: bool, options: &Options) -> Result<Self> {
        let connected = Instant::now();
        let on_disconnect = if options.end_on_disconnect { OnDisconnect::End } else { OnDisconnect::Keep };
        let rp = Raceproof::builder(url(addr)).ttl(options.ttl).on_disconnect(on_disconnect).connect().await?;
        let class = if reclaim { Class::Reclaim } else { Class::Durable };
        Ok(Self { rp, class, connected, held: HashMap::new() })
    }
}

#[async_trait]
impl Client for Library {
    async fn acquire(&mut self, name: &str) -> Result<u64> {
        let guard = self.rp.lock(name).class(self.class).acquire().await?;
        let token = guard.token().as_u64();
        self.held.insert(name.to_owned(), guard);
        Ok(token)
    }

    async fn release(&mut self, name: &str) -> Result<()> {
        Ok(self.held.remove(name).context("not held")?.release().await?)
    }

    fn lease_started(&self) -> Instant {
        self.connected
    }

    async fn close(self: Box<Self>) -> Result<()> {
        Ok(self.rp.close().await?)
    }
}

const ELECTION: &str = "observed";

pub(super) struct Follower {
    observer: ::raceproof::Observer,
    _rp: Raceproof,
}

impl Follower {
    pub(super) async fn connect(addr: SocketAddr) -> Result<Self> {
        let rp = Raceproof::builder(url(addr)).observer().connect().await?;
        let mut observer = rp.election(ELECTION).observe()?;
        // The first answer says that the server knows of this observer.
        observer.next().await?;
        Ok(Self { observer, _rp: rp })
    }
}

#[async_trait]
impl Observer for Follower {
    async fn change(&mut self) -> Result<u64> {
        loop {
            if let Some(leader) = self.observer.next().await?.leader {
                return Ok(leader.value.parse()?);
            }
        }
    }
}

/// Leads for one term per change, so that every change is an election.
pub(super) struct Candidate {
    rp: Raceproof,
    leads: Option<Leadership>,
}

impl Candidate {
    pub(super) async fn connect(addr: SocketAddr) -> Result<Self> {
        Ok(Self { rp: Raceproof::connect(&url(addr)).await?, leads: None })
    }
}

#[async_trait]
impl Publisher for Candidate {
    async fn prepare(&mut self) -> Result<()> {
        if let Some(leads) = self.leads.take() {
            leads.resign().await?;
        }
        Ok(())
    }

    async fn publish(&mut self, number: u64) -> Result<()> {
        self.leads = Some(self.rp.election(ELECTION).campaign(number.to_string()).await?);
        Ok(())
    }
}

fn url(addr: SocketAddr) -> String {
    format!("http://{addr}")
}
