//! Sessions over HTTP.

#![expect(unused_qualifications, reason = "what the macros of utoipa expand to")]

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response as HttpResponse;
use raceproof_core::id::SessionKey;
use raceproof_core::wire::{Open, Page, Request, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{Body, Params, Session};
use super::problem::Refusal;
use super::{App, ProblemBody, answer};

/// A session that was opened.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionOpened {
    /// What speaks for the session from here on. A secret.
    #[schema(value_type = String, example = "17-0123456789abcdef0123456789abcdef")]
    session: SessionKey,
    /// The lease as granted, in milliseconds. It runs from the receipt of the request.
    ttl_ms: u64,
}

/// A session's lease.
#[derive(Serialize, ToSchema)]
pub(crate) struct Lease {
    /// Its length in milliseconds, from the receipt of the renewal.
    ttl_ms: u64,
}

/// Which part of a listing.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct Paging {
    /// Only names that start so.
    #[serde(default)]
    #[param(value_type = Option<String>)]
    prefix: Arc<str>,
    /// Only what comes after this: the `next` of the page before.
    #[param(value_type = Option<String>)]
    after: Option<Arc<str>>,
    /// At most this many: 1 to 1,000.
    #[serde(default = "limit_default")]
    #[param(minimum = 1, maximum = 1_000, default = 100)]
    limit: u32,
}

const fn limit_default() -> u32 {
    100
}

impl From<Paging> for Page {
    fn from(Paging { prefix, after, limit }: Paging) -> Self {
        Self { prefix, after, limit }
    }
}

/// Open a session.
#[utoipa::path(post, path = "/v1/sessions", operation_id = "open_session",
    tag = "sessions", request_body = Open, responses(
    (status = 201, description = "The session is open", body = SessionOpened),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn open(State(app): State<App>, Body(open): Body<Open>) -> Result<HttpResponse, Refusal> {
    answer!(
        app.call(None, Request::Open(open)).await?,
        Response::Opened { session, ttl_ms, .. } => (StatusCode::CREATED, Json(SessionOpened { session, ttl_ms }))
    )
}

/// Renew a session's lease.
#[utoipa::path(post, path = "/v1/sessions/{session}/keepalive", operation_id = "renew_session",
    tag = "sessions",
    params(("session" = String, Path, description = "The session's key")),
    responses(
    (status = 200, description = "The lease runs anew", body = Lease),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn keepalive(State(app): State<App>, Session(key): Session) -> Result<HttpResponse, Refusal> {
    answer!(app.call(Some(key), Request::Keepalive {}).await?, Response::Renewed { ttl_ms } => Json(Lease { ttl_ms }))
}

/// End a session, and with it everything it holds and waits for.
#[utoipa::path(delete, path = "/v1/sessions/{session}", operation_id = "end_session",
    tag = "sessions",
    params(("session" = String, Path, description = "The session's key")),
    responses(
    (status = 204, description = "The session is over"),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn end(State(app): State<App>, Session(key): Session) -> Result<HttpResponse, Refusal> {
    answer!(app.call(Some(key), Request::End {}).await?, Response::Ended {} => StatusCode::NO_CONTENT)
}

/// List sessions, in order of opening.
#[utoipa::path(get, path = "/v1/sessions", operation_id = "list_sessions",
    tag = "sessions", params(Paging), responses(
    (status = 200, description = "A page of sessions", body = raceproof_core::wire::SessionPage),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list(State(app): State<App>, Params(page): Params<Paging>) -> Result<HttpResponse, Refusal> {
    answer!(app.call(None, Request::Sessions(page.into())).await?, Response::Sessions(page) => Json(page))
}
