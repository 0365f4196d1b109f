//! Calls about the server itself.

use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response as HttpResponse};
use raceproof_core::wire::Code;

use super::problem::Refusal;
use super::{App, ProblemBody};
use crate::sequencer::Phase;

/// Ask whether the process is alive.
#[utoipa::path(get, path = "/healthz", operation_id = "healthz", tag = "server", security(()), responses(
    (status = 200, description = "It is", body = String, content_type = "text/plain"),
))]
pub(crate) async fn healthz() -> &'static str {
    "ok\n"
}

/// Ask whether the hub takes requests: the store is well and the server is not stopping.
#[utoipa::path(get, path = "/readyz", operation_id = "readyz", tag = "server", security(()), responses(
    (status = 200, description = "It does", body = String, content_type = "text/plain"),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn readyz(State(app): State<App>) -> Result<&'static str, Refusal> {
    let phase = *app.phase.borrow();
    match phase {
        Phase::Ready => Ok("ready\n"),
        Phase::Draining => Err(Refusal::new(Code::Unavailable, "the server is stopping")),
        Phase::StoreFailed => Err(Refusal::new(Code::StoreFailed, "the store failed; see the server's log")),
    }
}

/// Figures for Prometheus, as OpenMetrics text.
#[utoipa::path(get, path = "/metrics", operation_id = "metrics", tag = "server", responses(
    (status = 200, description = "The figures", body = String, content_type = "application/openmetrics-text"),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn metrics(State(app): State<App>) -> Result<HttpResponse, Refusal> {
    let stats = app.link.stats().await;
    let stats = stats.ok_or_else(|| Refusal::new(Code::Unavailable, "the server is stopping"))?;
    let content_type = HeaderValue::from_static("application/openmetrics-text; version=1.0.0; charset=utf-8");
    Ok(([(header::CONTENT_TYPE, content_type)], app.metrics.encode(&stats)).into_response())
}

const DASHBOARD: &str = include_str!("dashboard.html");

/// A page that shows what there is, for people. It holds no data itself: it asks for it as any client does.
#[utoipa::path(get, path = "/", operation_id = "dashboard", tag = "server", security(()), responses(
    (status = 200, description = "The page", body = String, content_type = "text/html"),
))]
pub(crate) async fn dashboard() -> HttpResponse {
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
