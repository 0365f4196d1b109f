//! The HTTP face: routes, and what stands before them. Each call is one request to the hub, on a connection of its
//! own that ends with it; a client that goes away while it waits has given up its wait (L4).

pub(crate) mod body;
pub(crate) mod elections;
mod gate;
pub(crate) mod locks;
pub(crate) mod meta;
pub(crate) mod problem;
pub(crate) mod sessions;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::response::{IntoResponse, Response as HttpResponse};
use axum::routing::{get, post};
use raceproof_core::id::SessionKey;
use raceproof_core::wire::{Code, Problem, Request, Response};
use tokio::sync::watch;

use crate::auth::Tokens;
use crate::config::Limits;
use crate::metrics::Metrics;
use crate::openapi;
use crate::origin::Origins;
use crate::sequencer::{Link, Phase};
use crate::ws;
use problem::Refusal;

pub(crate) use problem::ProblemBody;

/// What every handler may use.
#[derive(Clone, Debug)]
pub(crate) struct App {
    pub(crate) link: Link,
    pub(crate) limits: Arc<Limits>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) phase: watch::Receiver<Phase>,
    pub(crate) auth: Option<Arc<Tokens>>,
    pub(crate) origins: Arc<Origins>,
}

impl App {
    /// Puts one request to the hub.
    async fn call(&self, session: Option<SessionKey>, request: Request) -> Result<Response, Refusal> {
        let answer = self.link.call(session, request).await.map_err(Refusal::from)?;
        Ok(*answer)
    }
}

/// Every call there is. What is not in here is answered 404, and with the wrong method 405.
pub(crate) fn router(app: App) -> Router {
    Router::new()
        .route("/v1/sessions", get(sessions::list).post(sessions::open))
        .route("/v1/sessions/{session}", axum::routing::delete(sessions::end))
        .route("/v1/sessions/{session}/keepalive", post(sessions::keepalive))
        .route("/v1/acquire", post(locks::acquire_several))
        .route("/v1/cancel", post(locks::cancel))
        .route("/v1/locks", get(locks::list))
        .route("/v1/locks/{name}", get(locks::show))
        .route("/v1/locks/{name}/acquire", post(locks::acquire))
        .route("/v1/locks/{name}/release", post(locks::release))
        .route("/v1/locks/{name}/check", post(locks::check))
        .route("/v1/locks/{name}/steal", post(locks::steal))
        .route("/v1/locks/{name}/why", get(locks::why_get).post(locks::why))
        .route("/v1/elections", get(elections::list))
        .route("/v1/elections/{name}", get(elections::show))
        .route("/v1/elections/{name}/campaign", post(elections::campaign))
        .route("/v1/elections/{name}/resign", post(elections::resign))
        .route("/v1/ws", get(ws::upgrade))
        .route("/metrics", get(meta::metrics))
        .layer(middleware::from_fn_with_state(app.clone(), gate::credentials))
        .route("/", get(meta::dashboard))
        .route("/healthz", get(meta::healthz))
        .route("/readyz", get(meta::readyz))
        .route("/openapi.json", get(openapi::serve))
        .fallback(|| async { Refusal::new(Code::NotFound, "there is no such call; see /openapi.json") })
        .method_not_allowed_fallback(|| async {
            Refusal::new(Code::MethodNotAllowed, "this call takes another method; see the Allow header")
        })
        .layer(middleware::from_fn_with_state(app.clone(), gate::origins))
        .with_state(app)
}

/// What a call is answered with, given the one kind of response that its request has.
macro_rules! answer {
    ($response:expr, $kind:pat => $answer:expr) => {
        Ok(match $response {
            $kind => axum::response::IntoResponse::into_response($answer),
            other => crate::http::unexpected(&other),
        })
    };
}
use answer;

/// An answer of another kind than the request's: the hub and this table disagree.
fn unexpected(response: &Response) -> HttpResponse {
    tracing::error!(?response, "the hub answered with something else than was asked for");
    Refusal::from(Box::new(Problem::new(Code::Unavailable, "the server gave an answer it cannot express")))
        .into_response()
}
