//! Raceproof by bare frames on a WebSocket: a holder that takes a lease and falls silent, and a measure of what the
//! library costs.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use async_trait::async_trait;
use futures_util::{SinkExt, StreamExt};
use raceproof_core::id::Token;
use raceproof_core::wire::{
    Acquire, Class, ClientFrame, OnDisconnect, Open, Release, Request, Response, ServerFrame, WAIT_MS_FOREVER,
};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::{Client, Options, millis};

pub(super) struct Raw {
    socket: Socket,
    class: Class,
    lease_started: Instant,
    held: HashMap<String, Token>,
}

impl Raw {
    pub(super) async fn connect(addr: SocketAddr, reclaim: bool, options: &Options) -> Result<Self> {
        let mut socket = Socket::connect(addr).await?;
        let lease_started = Instant::now();
        socket.open(options).await?;
        let class = if reclaim { Class::Reclaim } else { Class::Durable };
        Ok(Self { socket, class, lease_started, held: HashMap::new() })
    }
}

#[async_trait]
impl Client for Raw {
    async fn acquire(&mut self, name: &str) -> Result<u64> {
        let request = Acquire { wait_ms: WAIT_MS_FOREVER, class: self.class, ..Acquire::one(name) };
        match self.socket.call(Request::Acquire(request)).await? {
            Response::Granted(grant) => {
                self.held.insert(name.to_owned(), grant.token);
                Ok(grant.token.as_u64())
            }
            other => bail!("acquire was answered with {other:?}"),
        }
    }

    async fn release(&mut self, name: &str) -> Result<()> {
        let token = self.held.remove(name).context("not held")?;
        self.socket.call(Request::Release(Release { name: name.into(), token })).await?;
        Ok(())
    }

    fn lease_started(&self) -> Instant {
        self.lease_started
    }

    async fn close(mut self: Box<Self>) -> Result<()> {
        self.socket.call(Request::End {}).await?;
        Ok(())
    }
}

/// A WebSocket on which one request at a time is asked.
struct Socket {
    stream: WebSocketStream<MaybeTlsStream<TcpStream>>,
    seq: u64,
}

impl Socket {
    async fn connect(addr: SocketAddr) -> Result<Self> {
        let mut request = format!("ws://{addr}/v1/ws").into_client_request()?;
        request.headers_mut().insert("sec-websocket-protocol", "raceproof.v1".parse()?);
        let (stream, _) = tokio_tungstenite::connect_async_with_config(request, None, true).await?;
        Ok(Self { stream, seq: 0 })
    }

    async fn open(&mut self, options: &Options) -> Result<()> {
        let on_disconnect = if options.end_on_disconnect { OnDisconnect::End } else { OnDisconnect::Keep };
        let open = Open { name: "bench".into(), ttl_ms: millis(options.ttl), on_disconnect };
        self.call(Request::Open(open)).await?;
        Ok(())
    }

    async fn call(&mut self, request: Request) -> Result<Response> {
        self.seq += 1;
        let frame = ClientFrame { seq: self.seq, request };
        self.stream.send(Message::text(frame.to_json())).await?;
        loop {
            match self.frame().await? {
                ServerFrame::Answer { re, result, .. } if re == self.seq => {
                    return result.map(|response| *response).map_err(|problem| anyhow::anyhow!("{problem:?}"));
                }
                _ => {}
            }
        }
    }

    async fn frame(&mut self) -> Result<ServerFrame> {
        loop {
            match self.stream.next().await.context("the connection ended")?? {
                Message::Text(text) => return Ok(ServerFrame::from_json(&text)?),
                Message::Close(reason) => bail!("the connection was closed: {reason:?}"),
                _ => {}
            }
        }
    }
}
