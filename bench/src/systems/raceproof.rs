//! Raceproof's elections, by bare frames.

use std::net::SocketAddr;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use raceproof_core::id::Token;
use raceproof_core::wire::{Campaign, Event, Request, Resign, Response, WAIT_MS_FOREVER};

use super::raw::{Raw, Socket};
use super::{Observer, Options, Publisher};

pub(super) type Library = Raw;

const ELECTION: &str = "observed";

pub(super) struct Follower(Socket);

impl Follower {
    pub(super) async fn connect(addr: SocketAddr) -> Result<Self> {
        let mut socket = Socket::connect(addr).await?;
        socket.open(&Options::default()).await?;
        socket.call(Request::Observe { election: ELECTION.into() }).await?;
        Ok(Self(socket))
    }
}

#[async_trait]
impl Observer for Follower {
    async fn change(&mut self) -> Result<u64> {
        loop {
            if let Event::Leader(election) = self.0.event().await?
                && let Some(leader) = election.leader
            {
                return Ok(leader.value.parse()?);
            }
        }
    }
}

/// Leads for one term per change, so that every change is an election.
pub(super) struct Candidate {
    socket: Socket,
    term: Option<Token>,
}

impl Candidate {
    pub(super) async fn connect(addr: SocketAddr) -> Result<Self> {
        let mut socket = Socket::connect(addr).await?;
        socket.open(&Options::default()).await?;
        Ok(Self { socket, term: None })
    }
}

#[async_trait]
impl Publisher for Candidate {
    async fn prepare(&mut self) -> Result<()> {
        if let Some(term) = self.term.take() {
            self.socket.call(Request::Resign(Resign { election: ELECTION.into(), term, to: None })).await?;
        }
        Ok(())
    }

    async fn publish(&mut self, number: u64) -> Result<()> {
        let campaign = Campaign {
            election: ELECTION.into(),
            request: None,
            value: number.to_string().into(),
            wait_ms: WAIT_MS_FOREVER,
        };
        match self.socket.call(Request::Campaign(campaign)).await? {
            Response::Elected(leader) => self.term = Some(leader.term),
            other => bail!("campaign was answered with {other:?}"),
        }
        self.term.map(drop).context("elected")
    }
}
