//! Elections over HTTP.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response as HttpResponse;
use raceproof_core::id::{RequestId, SessionId, SessionKey, Token};
use raceproof_core::wire::{self, Request, Response};
use serde::Deserialize;
use utoipa::ToSchema;

use super::body::{Body, Name, Params};
use super::locks::Empty;
use super::problem::Refusal;
use super::sessions::Paging;
use super::{App, ProblemBody, answer};

/// Stands for election.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Campaign {
    /// The session's key.
    #[schema(value_type = String)]
    session: SessionKey,
    /// What observers are told about this candidate once it leads. At most 4,096 bytes.
    #[serde(default)]
    #[schema(value_type = String)]
    value: Arc<str>,
    /// How long to stand, in milliseconds; 0 tries once.
    #[serde(default)]
    wait_ms: u64,
    /// Makes a retry safe and names the wait. At most 64 bytes.
    #[schema(value_type = Option<String>)]
    request: Option<RequestId>,
}

/// Steps down, or hands over.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Resign {
    /// The session's key.
    #[schema(value_type = String)]
    session: SessionKey,
    /// The term to give up.
    #[schema(value_type = u64)]
    term: Token,
    /// The candidate that follows, by its session's public id.
    #[schema(value_type = Option<u64>)]
    to: Option<SessionId>,
}

/// Stand for election, and wait until elected.
#[utoipa::path(post, path = "/v1/elections/{name}/campaign", operation_id = "campaign",
    tag = "elections", request_body = Campaign,
    params(("name" = String, Path, description = "The election, percent-encoded")),
    responses(
    (status = 200, description = "The session leads", body = wire::Leader),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn campaign(
    State(app): State<App>,
    Name(election): Name,
    Body(body): Body<Campaign>,
) -> Result<HttpResponse, Refusal> {
    let Campaign { session, value, wait_ms, request } = body;
    let campaign = wire::Campaign { election, request, value, wait_ms };
    answer!(app.call(Some(session), Request::Campaign(campaign)).await?, Response::Elected(leader) => Json(leader))
}

/// Step down, or hand over to a candidate.
#[utoipa::path(post, path = "/v1/elections/{name}/resign", operation_id = "resign",
    tag = "elections", request_body = Resign,
    params(("name" = String, Path, description = "The election, percent-encoded")),
    responses(
    (status = 200, description = "The term is over", body = Empty),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn resign(
    State(app): State<App>,
    Name(election): Name,
    Body(Resign { session, term, to }): Body<Resign>,
) -> Result<HttpResponse, Refusal> {
    answer!(
        app.call(Some(session), Request::Resign(wire::Resign { election, term, to })).await?,
        Response::Released {} => Json(Empty {})
    )
}

/// List elections that somebody leads or stands for, in name order.
#[utoipa::path(get, path = "/v1/elections", tag = "elections", params(Paging), responses(
    (status = 200, description = "A page of elections", body = wire::ElectionPage),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list(State(app): State<App>, Params(page): Params<Paging>) -> Result<HttpResponse, Refusal> {
    answer!(app.call(None, Request::Elections(page.into())).await?, Response::Elections(page) => Json(page))
}

/// Who leads, and who stands.
#[utoipa::path(get, path = "/v1/elections/{name}", operation_id = "show_election",
    tag = "elections",
    params(("name" = String, Path, description = "The election, percent-encoded")),
    responses(
    (status = 200, description = "The election", body = wire::Election),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn show(State(app): State<App>, Name(name): Name) -> Result<HttpResponse, Refusal> {
    answer!(app.call(None, Request::Election { name }).await?, Response::Election(election) => Json(election))
}
