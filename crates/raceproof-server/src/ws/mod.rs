//! The WebSocket face: the upgrade, and one task for each connection. A connection reads frames, hands their requests
//! to the sequencer, and writes what its outbox holds, several frames at a time. It knows no session and no lock.
//!
//! Small on purpose: most connections are idle, and there may be tens of thousands.

mod close;
mod conn;
mod frames;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use raceproof_core::wire::{Code, SUBPROTOCOL};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use crate::heard::Heard;
use crate::http::problem::Refusal;
use crate::http::{App, ProblemBody};
use crate::sequencer::Phase;
use crate::server::Place;

/// Open a WebSocket of the subprotocol `raceproof.v1`: the same requests as frames, and events.
#[utoipa::path(get, path = "/v1/ws", operation_id = "open_socket", tag = "server", responses(
    (status = 101, description = "Frames follow"),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn upgrade(State(app): State<App>, mut request: Request) -> Result<Response, Refusal> {
    let accept = handshake(request.headers())?;
    if *app.phase.borrow() != Phase::Ready {
        return Err(Refusal::new(Code::Unavailable, "the server is stopping"));
    }
    let place = request.extensions().get::<Place>().cloned();
    let place = place.ok_or_else(|| Refusal::new(Code::Unavailable, "this connection cannot be upgraded"))?;
    let upgrade = hyper::upgrade::on(&mut request);
    let connections = place.connections.clone();
    connections.spawn(async move {
        let cut = place.cut.clone();
        tokio::select! {
            () = serve(app, upgrade, place) => {}
            () = cut.cancelled() => {}
        }
    });
    Response::builder()
        .status(StatusCode::SWITCHING_PROTOCOLS)
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_ACCEPT, accept)
        .header(header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL)
        .body(Body::empty())
        .map_err(|_| Refusal::new(Code::BadRequest, "the key cannot be answered"))
}

/// Checks a handshake (RFC 6455, section 4.2.1) and gives the value that accepts it.
fn handshake(headers: &HeaderMap) -> Result<String, Refusal> {
    let bad = |detail: &str| Refusal::new(Code::BadRequest, detail);
    if !has_token(headers, header::CONNECTION, "upgrade") || !has_token(headers, header::UPGRADE, "websocket") {
        return Err(bad("this is for WebSockets: send `Connection: upgrade` and `Upgrade: websocket`"));
    }
    if headers.get(header::SEC_WEBSOCKET_VERSION).map(HeaderValue::as_bytes) != Some(b"13") {
        return Err(bad("the WebSocket version must be 13"));
    }
    let key = headers.get(header::SEC_WEBSOCKET_KEY).filter(|key| key.len() == 24);
    let key = key.ok_or_else(|| bad("Sec-WebSocket-Key must be 16 bytes in base64"))?;
    if !has_token(headers, header::SEC_WEBSOCKET_PROTOCOL, SUBPROTOCOL) {
        return Err(bad("the subprotocol raceproof.v1 must be offered: `Sec-WebSocket-Protocol: raceproof.v1`"));
    }
    Ok(derive_accept_key(key.as_bytes()))
}

fn has_token(headers: &HeaderMap, name: HeaderName, wanted: &str) -> bool {
    let values = headers.get_all(name);
    values
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|token| token.trim().eq_ignore_ascii_case(wanted))
}

/// Waits for the upgrade, and leaves the connection to a task that carries nothing but it.
async fn serve(app: App, upgrade: OnUpgrade, place: Place) {
    let upgraded = match upgrade.await {
        Ok(upgraded) => upgraded,
        Err(error) => return tracing::debug!(%error, "a connection ended in its upgrade"),
    };
    // The server hands every connection to hyper in these wrappers.
    let Ok(parts) = upgraded.downcast::<TokioIo<Heard>>() else { return };
    let (stream, read) = (parts.io.into_inner().into_inner(), parts.read_buf.to_vec());
    // It is all of what HTTP had room to read.
    drop(parts.read_buf);
    let App { link, limits, .. } = app;
    let connections = place.connections.clone();
    connections.spawn(conn::run(stream, read, link, limits, place));
}
