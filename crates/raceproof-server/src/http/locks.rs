//! Locks over HTTP.

#![expect(unused_qualifications, reason = "what the macros of utoipa expand to")]

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::Response as HttpResponse;
use raceproof_core::id::{RequestId, SessionKey, Token};
use raceproof_core::wire::{self, Class, Code, Grant, Mode, Request, Response};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::body::{Body, Name, Params};
use super::problem::Refusal;
use super::sessions::Paging;
use super::{App, ProblemBody, answer};

/// An answer that says no more than its status.
#[derive(Serialize, ToSchema)]
pub(crate) struct Empty {}

/// The bodies that take locks: they differ in where the names are.
macro_rules! acquire_body {
    ($(#[$doc:meta])* $body:ident { $($(#[$about:meta])* $names:ident: $kind:ty,)? }) => {
        $(#[$doc])*
        #[derive(Deserialize, ToSchema)]
        #[serde(deny_unknown_fields)]
        pub(crate) struct $body {
            $($(#[$about])* $names: $kind,)?
            /// The session's key.
            #[schema(value_type = String)]
            session: SessionKey,
            #[serde(default)]
            mode: Mode,
            /// Makes each lock a semaphore of this size.
            permits: Option<u32>,
            /// How many of the permits to take.
            #[serde(default = "one")]
            #[schema(default = 1, minimum = 1)]
            take: u32,
            /// How long to wait, in milliseconds; 0 tries once.
            #[serde(default)]
            wait_ms: u64,
            #[serde(default)]
            class: Class,
            /// Makes a retry safe and names the wait. At most 64 bytes.
            #[schema(value_type = Option<String>)]
            request: Option<RequestId>,
            /// Waiters of a higher priority are served first.
            #[serde(default)]
            priority: u8,
            /// How long each lock stays closed after this holder's lease ends by itself, in milliseconds.
            #[serde(default)]
            lock_delay_ms: u64,
            /// Which flow of work within the session this is, for the search for deadlocks. At most 64 bytes.
            #[schema(value_type = Option<String>)]
            owner: Option<Arc<str>>,
        }

        impl $body {
            fn of(self, names: Vec<Arc<str>>) -> (SessionKey, Request) {
                let Self { session, mode, permits, take, wait_ms, class, request, priority, lock_delay_ms, owner, .. } =
                    self;
                let acquire =
                    wire::Acquire { request, names, mode, permits, take, wait_ms, class, priority, lock_delay_ms, owner };
                (session, Request::Acquire(acquire))
            }
        }
    };
}

acquire_body! {
    /// Takes one lock.
    AcquireOne {}
}

acquire_body! {
    /// Takes several locks: all or none.
    AcquireSeveral {
        /// The locks: 1 to 64 different names.
        #[schema(value_type = Vec<String>)]
        names: Vec<Arc<str>>,
    }
}

/// One lock that is held.
#[derive(Serialize, ToSchema)]
pub(crate) struct GrantOfOne {
    /// The lock.
    #[schema(value_type = String)]
    name: Arc<str>,
    /// How it is held.
    mode: Mode,
    /// The fencing token.
    #[schema(value_type = u64, example = 17)]
    token: Token,
    /// The session's lease. It runs from the last renewal's receipt; count it from when that was sent.
    lease_ms: u64,
}

const fn one() -> u32 {
    1
}

/// Gives a grant back.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Release {
    /// The session's key.
    #[schema(value_type = String)]
    session: SessionKey,
    /// The grant's token.
    #[schema(value_type = u64)]
    token: Token,
}

/// Asks about a token.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Check {
    /// The token that a writer showed.
    #[schema(value_type = u64)]
    token: Token,
}

/// What a token is worth.
#[derive(Serialize, ToSchema)]
pub(crate) struct Checked {
    /// Whether the token belongs to a grant of this lock that is valid.
    valid: bool,
    /// The greatest token among the lock's grants; null if it is free.
    #[schema(value_type = Option<u64>)]
    newest: Option<Token>,
}

/// The grants that were ended.
#[derive(Serialize, ToSchema)]
pub(crate) struct Stolen {
    /// Their tokens.
    #[schema(value_type = Vec<u64>)]
    tokens: Vec<Token>,
}

/// Names a request that waits.
#[derive(Deserialize, ToSchema, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct WaitingRequest {
    /// The session's key.
    #[schema(value_type = String)]
    #[param(value_type = String)]
    session: SessionKey,
    /// The id that the waiting request carries.
    #[schema(value_type = String)]
    #[param(value_type = String)]
    request: RequestId,
}

/// Take one lock, at once or after waiting. Closing the connection gives up the wait.
#[utoipa::path(post, path = "/v1/locks/{name}/acquire", operation_id = "acquire_lock",
    tag = "locks", request_body = AcquireOne,
    params(("name" = String, Path, description = "The lock, percent-encoded")),
    responses(
    (status = 200, description = "The lock is held", body = GrantOfOne),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn acquire(
    State(app): State<App>,
    Name(name): Name,
    Body(body): Body<AcquireOne>,
) -> Result<HttpResponse, Refusal> {
    let (session, acquire) = body.of(vec![Arc::clone(&name)]);
    answer!(
        app.call(Some(session), acquire).await?,
        Response::Granted(Grant { token, mode, lease_ms, .. }) => Json(GrantOfOne { name, mode, token, lease_ms })
    )
}

/// Take several locks: all or none. Closing the connection gives up the wait.
#[utoipa::path(post, path = "/v1/acquire", operation_id = "acquire_locks",
    tag = "locks", request_body = AcquireSeveral, responses(
    (status = 200, description = "The locks are held", body = Grant),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn acquire_several(
    State(app): State<App>,
    Body(mut body): Body<AcquireSeveral>,
) -> Result<HttpResponse, Refusal> {
    let names = std::mem::take(&mut body.names);
    let (session, acquire) = body.of(names);
    answer!(app.call(Some(session), acquire).await?, Response::Granted(grant) => Json(grant))
}

/// Give a grant back.
#[utoipa::path(post, path = "/v1/locks/{name}/release", operation_id = "release_lock",
    tag = "locks", request_body = Release,
    params(("name" = String, Path, description = "One of the grant's locks, percent-encoded")),
    responses(
    (status = 200, description = "The grant is given back", body = Empty),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn release(
    State(app): State<App>,
    Name(name): Name,
    Body(Release { session, token }): Body<Release>,
) -> Result<HttpResponse, Refusal> {
    answer!(
        app.call(Some(session), Request::Release(wire::Release { name, token })).await?,
        Response::Released {} => Json(Empty {})
    )
}

/// Ask whether a token is still good.
#[utoipa::path(post, path = "/v1/locks/{name}/check", operation_id = "check_token",
    tag = "locks", request_body = Check,
    params(("name" = String, Path, description = "The lock, percent-encoded")),
    responses(
    (status = 200, description = "What the token is worth", body = Checked),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn check(
    State(app): State<App>,
    Name(name): Name,
    Body(Check { token }): Body<Check>,
) -> Result<HttpResponse, Refusal> {
    answer!(
        app.call(None, Request::Check(wire::Check { name, token })).await?,
        Response::Checked { valid, newest } => Json(Checked { valid, newest })
    )
}

/// End every grant of a lock without asking its holders. For operators.
#[utoipa::path(post, path = "/v1/locks/{name}/steal", operation_id = "steal_lock",
    tag = "locks",
    params(("name" = String, Path, description = "The lock, percent-encoded")),
    responses(
    (status = 200, description = "The grants that were ended", body = Stolen),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn steal(State(app): State<App>, Name(name): Name) -> Result<HttpResponse, Refusal> {
    answer!(app.call(None, Request::Steal { name }).await?, Response::Stolen { tokens } => Json(Stolen { tokens }))
}

/// Ask why a request still waits.
#[utoipa::path(post, path = "/v1/locks/{name}/why", operation_id = "explain_wait",
    tag = "locks", request_body = WaitingRequest,
    params(("name" = String, Path, description = "The lock, percent-encoded")),
    responses(
    (status = 200, description = "What stands in its way", body = wire::Waiting),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn why(
    State(app): State<App>,
    Name(name): Name,
    Body(waiting): Body<WaitingRequest>,
) -> Result<HttpResponse, Refusal> {
    explain(&app, &name, waiting).await
}

/// Ask why a request still waits. Prefer POST: it keeps the session's key out of logs.
#[utoipa::path(get, path = "/v1/locks/{name}/why", operation_id = "explain_wait_by_query",
    tag = "locks",
    params(("name" = String, Path, description = "The lock, percent-encoded"), WaitingRequest),
    responses(
    (status = 200, description = "What stands in its way", body = wire::Waiting),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn why_get(
    State(app): State<App>,
    Name(name): Name,
    Params(waiting): Params<WaitingRequest>,
) -> Result<HttpResponse, Refusal> {
    explain(&app, &name, waiting).await
}

async fn explain(app: &App, name: &str, waiting: WaitingRequest) -> Result<HttpResponse, Refusal> {
    let WaitingRequest { session, request } = waiting;
    let answered = app.call(Some(session), Request::Why { request }).await?;
    if let Response::Waiting(wire::Waiting { blocked_by, .. }) = &answered
        && !blocked_by.is_empty()
        && blocked_by.iter().all(|lock| *lock.name != *name)
    {
        return Err(Refusal::new(Code::NotWaiting, "the request waits, but not for this lock"));
    }
    answer!(answered, Response::Waiting(waiting) => Json(waiting))
}

/// Give up a wait, of a lock or of a campaign, from another connection than the one that waits.
#[utoipa::path(post, path = "/v1/cancel", operation_id = "cancel_wait",
    tag = "locks", request_body = WaitingRequest, responses(
    (status = 200, description = "Nothing waits under this id", body = Empty),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn cancel(
    State(app): State<App>,
    Body(WaitingRequest { session, request }): Body<WaitingRequest>,
) -> Result<HttpResponse, Refusal> {
    answer!(app.call(Some(session), Request::Cancel { request }).await?, Response::Cancelled {} => Json(Empty {}))
}

/// List locks that are held or waited for, in name order.
#[utoipa::path(get, path = "/v1/locks", operation_id = "list_locks",
    tag = "locks", params(Paging), responses(
    (status = 200, description = "A page of locks", body = wire::LockPage),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn list(State(app): State<App>, Params(page): Params<Paging>) -> Result<HttpResponse, Refusal> {
    answer!(app.call(None, Request::Locks(page.into())).await?, Response::Locks(page) => Json(page))
}

/// Show one lock.
#[utoipa::path(get, path = "/v1/locks/{name}", operation_id = "show_lock",
    tag = "locks",
    params(("name" = String, Path, description = "The lock, percent-encoded")),
    responses(
    (status = 200, description = "The lock; without holders if it is free", body = wire::Lock),
    (status = "default", description = "A refusal", body = ProblemBody, content_type = "application/problem+json"),
))]
pub(crate) async fn show(State(app): State<App>, Name(name): Name) -> Result<HttpResponse, Refusal> {
    answer!(app.call(None, Request::Lock { name }).await?, Response::Lock(lock) => Json(lock))
}
