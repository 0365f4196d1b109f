//! Bodies, queries and path parts as they come in, with a problem for each that is not as it should be.
//!
//! A body is read whatever its content type says: `curl -d` claims a form. Pages of foreign origins, for which the
//! content type is the usual guard, were refused before.

use std::time::Duration;

use axum::body::to_bytes;
use axum::extract::rejection::QueryRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use axum::http::{StatusCode, header};
use raceproof_core::id::SessionKey;
use raceproof_core::wire::Code;
use serde::de::DeserializeOwned;

use super::App;
use super::problem::Refusal;

/// A JSON body. An empty one stands for `{}`.
#[derive(Debug)]
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<App> for Body<T> {
    type Rejection = Refusal;

    async fn from_request(request: Request, app: &App) -> Result<Self, Refusal> {
        let bytes = read(request, app.limits.body_bytes, app.limits.header_timeout).await?;
        let json: &[u8] = if bytes.is_empty() { b"{}" } else { &bytes };
        serde_json::from_slice(json)
            .map(Self)
            .map_err(|error| Refusal::new(Code::BadRequest, format!("the body is not what this call takes: {error}")))
    }
}

async fn read(request: Request, limit: usize, patience: Duration) -> Result<axum::body::Bytes, Refusal> {
    let too_large = || Refusal::new(Code::BodyTooLarge, format!("a body may have {limit} bytes"));
    let announced = request.headers().get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if announced.is_some_and(|length: u64| length > limit as u64) {
        return Err(too_large());
    }
    match tokio::time::timeout(patience, to_bytes(request.into_body(), limit)).await {
        Ok(Ok(bytes)) => Ok(bytes),
        Ok(Err(error)) if is_length_limit(&error) => Err(too_large()),
        Ok(Err(_)) => Err(Refusal::new(Code::BadRequest, "the body did not arrive whole")),
        Err(_) => Err(Refusal::new(Code::BadRequest, "the body did not arrive in time")),
    }
}

fn is_length_limit(error: &axum::Error) -> bool {
    std::error::Error::source(error).is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

/// The only part of a path that varies, percent-decoded.
#[derive(Debug)]
pub(crate) struct Name(pub(crate) std::sync::Arc<str>);

impl FromRequestParts<App> for Name {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        match Path::<String>::from_request_parts(parts, app).await {
            Ok(Path(name)) => Ok(Self(name.into())),
            Err(rejection) if rejection.status() == StatusCode::BAD_REQUEST => {
                Err(Refusal::new(Code::NameInvalid, "the name in the path is not percent-encoded UTF-8"))
            }
            Err(_) => Err(Refusal::new(Code::NotFound, "there is no such call")),
        }
    }
}

/// The session key in a path.
#[derive(Debug)]
pub(crate) struct Session(pub(crate) SessionKey);

impl FromRequestParts<App> for Session {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        let Name(text) = Name::from_request_parts(parts, app).await?;
        text.parse().map(Self).map_err(|_| Refusal::new(Code::SessionUnknown, "this is not a session's key"))
    }
}

/// The query string.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequestParts<App> for Params<T> {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Refusal> {
        Query::<T>::from_request_parts(parts, app)
            .await
            .map(|Query(params)| Self(params))
            .map_err(|rejection: QueryRejection| Refusal::new(Code::BadRequest, rejection.body_text()))
    }
}
