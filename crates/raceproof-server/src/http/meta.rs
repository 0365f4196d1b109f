//! Calls about the server itself.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use raceproof_core::wire::Code;

use super::App;
use super::problem::Refusal;
use crate::sequencer::Phase;

/// The process is alive.
pub(super) async fn healthz() -> &'static str {
    "ok\n"
}

/// The hub takes requests: the store is well and the server is not stopping.
pub(super) async fn readyz(State(app): State<App>) -> Result<&'static str, Refusal> {
    let phase = *app.phase.borrow();
    match phase {
        Phase::Ready => Ok("ready\n"),
        Phase::Draining => Err(Refusal::new(Code::Unavailable, "the server is stopping")),
        Phase::StoreFailed => Err(Refusal::new(Code::StoreFailed, "the store failed; see the server's log")),
    }
}

/// Figures for Prometheus.
pub(super) async fn metrics(State(app): State<App>) -> Result<HttpResponse, Refusal> {
    let stats = app.link.stats().await;
    let stats = stats.ok_or_else(|| Refusal::new(Code::Unavailable, "the server is stopping"))?;
    let content_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, content_type)], app.metrics.encode(&stats)).into_response())
}

const DASHBOARD: &str = include_str!("dashboard.html");

/// A page that shows what there is, for people. It holds no data itself: it asks for it as any client does.
pub(super) async fn dashboard() -> HttpResponse {
    let mut nonce = [0; 16];
    if getrandom::fill(&mut nonce).is_err() {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    let nonce = format!("{:032x}", u128::from_ne_bytes(nonce));
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, policy.as_str()),
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
    ];
    (headers, DASHBOARD.replace("NONCE", &nonce)).into_response()
}
