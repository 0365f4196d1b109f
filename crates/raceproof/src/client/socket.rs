//! One WebSocket to a server.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use futures_util::{Sink, Stream};
use raceproof_core::client::Failure;
use raceproof_core::wire::SUBPROTOCOL;
use std::pin::Pin;
use tokio::net::{TcpStream, lookup_host};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::error::ProtocolError;
use tokio_tungstenite::tungstenite::http::header::{AUTHORIZATION, SEC_WEBSOCKET_PROTOCOL};
use tokio_tungstenite::tungstenite::http::{HeaderValue, Request, Response, StatusCode};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{Error as WsError, Message};

use super::url::Address;

/// The largest message that is read: a page of a thousand locks with a hundred waiters each fits.
const MESSAGE_SIZE_MAX: usize = 64 << 20;

/// What is read at a time. The library clears this much before each read, and most answers are a few hundred bytes; a
/// longer message is given room for while it lasts.
const READ_BYTES: usize = 4 << 10;

/// What came.
#[derive(Debug)]
pub(crate) enum Incoming {
    Text(tokio_tungstenite::tungstenite::Utf8Bytes),
    /// A ping or a pong.
    Sign,
    /// Something that the protocol does not have.
    Stray(&'static str),
    Closed,
}

/// A WebSocket that reads and writes in one task, so that neither waits for the other.
#[derive(Debug)]
pub(crate) struct Socket {
    stream: WebSocketStream<TcpStream>,
    outgoing: VecDeque<Message>,
    unflushed: bool,
}

impl Socket {
    pub(crate) async fn connect(address: Address, token: Option<HeaderValue>) -> Result<Self, Failure> {
        let tcp = dial(&address).await?;
        let request = request(&address, token)?;
        let mut config = WebSocketConfig::default().read_buffer_size(READ_BYTES);
        config.max_message_size = Some(MESSAGE_SIZE_MAX);
        config.max_frame_size = Some(MESSAGE_SIZE_MAX);
        let (stream, _) =
            tokio_tungstenite::client_async_with_config(request, tcp, Some(config)).await.map_err(handshake_failure)?;
        Ok(Self { stream, outgoing: VecDeque::new(), unflushed: false })
    }

    pub(crate) fn send(&mut self, text: String) {
        self.outgoing.push_back(Message::text(text));
    }

    pub(crate) fn ping(&mut self) {
        self.outgoing.push_back(Message::Ping(Default::default()));
    }

    /// Writes what it can and reads until something came.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Incoming> {
        if self.poll_write(cx).is_err() {
            return Poll::Ready(Incoming::Closed);
        }
        Pin::new(&mut self.stream).poll_next(cx).map(|message| match message {
            Some(Ok(Message::Text(text))) => Incoming::Text(text),
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => Incoming::Sign,
            Some(Ok(Message::Binary(_) | Message::Frame(_))) => Incoming::Stray("a binary message"),
            Some(Err(WsError::Capacity(_))) => Incoming::Stray("a message that is too large"),
            Some(Err(WsError::Utf8(_))) => Incoming::Stray("a message that is not UTF-8"),
            Some(Ok(Message::Close(_)) | Err(_)) | None => Incoming::Closed,
        })
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Result<(), WsError> {
        while !self.outgoing.is_empty() {
            match Pin::new(&mut self.stream).poll_ready(cx)? {
                Poll::Pending => return Ok(()),
                Poll::Ready(()) => {
                    if let Some(message) = self.outgoing.pop_front() {
                        Pin::new(&mut self.stream).start_send(message)?;
                        self.unflushed = true;
                    }
                }
            }
        }
        if self.unflushed && Pin::new(&mut self.stream).poll_flush(cx)?.is_ready() {
            self.unflushed = false;
        }
        Ok(())
    }

    /// Sends what is still to be sent and says goodbye, without waiting for an answer.
    pub(crate) async fn close(mut self) {
        use futures_util::SinkExt as _;
        while let Some(message) = self.outgoing.pop_front() {
            if self.stream.feed(message).await.is_err() {
                return;
            }
        }
        // Whether it arrives is all the same: the server notices the end of the connection.
        let _ = self.stream.close(None).await;
    }
}

async fn dial(address: &Address) -> Result<TcpStream, Failure> {
    let unreachable = |error: std::io::Error| Failure::Unreachable(format!("{}: {error}", address.authority));
    let found: Vec<SocketAddr> =
        lookup_host((address.host.as_str(), address.port)).await.map_err(unreachable)?.collect();
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for to in found {
        match TcpStream::connect(to).await {
            Ok(tcp) => {
                // Small frames must not wait for each other; without this they are only slower.
                let _ = tcp.set_nodelay(true);
                return Ok(tcp);
            }
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

fn request(address: &Address, token: Option<HeaderValue>) -> Result<Request<()>, Failure> {
    let url = format!("ws://{}{}/v1/ws", address.authority, address.prefix);
    let mut request = url.into_client_request().map_err(|error| Failure::Protocol(error.to_string()))?;
    request.headers_mut().insert(SEC_WEBSOCKET_PROTOCOL, HeaderValue::from_static(SUBPROTOCOL));
    if let Some(token) = token {
        request.headers_mut().insert(AUTHORIZATION, token);
    }
    Ok(request)
}

fn handshake_failure(error: WsError) -> Failure {
    match error {
        WsError::Http(response) => status_failure(&response),
        // The connection broke within the answer, which says nothing about who was answering.
        WsError::Protocol(error @ ProtocolError::HandshakeIncomplete) => Failure::Unreachable(error.to_string()),
        WsError::Protocol(error) => Failure::Protocol(error.to_string()),
        error => Failure::Unreachable(error.to_string()),
    }
}

fn status_failure(response: &Response<Option<Vec<u8>>>) -> Failure {
    let status = response.status();
    let detail = response
        .body()
        .as_deref()
        .and_then(|body| serde_json::from_slice::<raceproof_core::wire::Problem>(body).ok())
        .map_or_else(|| status.to_string(), |problem| problem.detail);
    match status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Failure::Unauthorized(detail),
        status if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS => Failure::Unreachable(detail),
        _ => Failure::Protocol(detail),
    }
}
