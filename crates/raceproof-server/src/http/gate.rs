//! What a request passes before it reaches a call: its origin, then its credentials.

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use raceproof_core::wire::Code;

use super::App;
use super::problem::Refusal;
use crate::origin::Verdict;

/// Refuses foreign pages, and tells browsers which listed ones may read the answers.
pub(super) async fn origins(State(app): State<App>, request: Request, next: Next) -> Response {
    let headers = request.headers();
    let origin = headers.get(header::ORIGIN).cloned();
    // A header that is not text is not one of ours.
    let origin_text = origin.as_ref().map(|value| value.to_str().unwrap_or_default());
    match app.origins.judge(host(&request), origin_text) {
        Verdict::Denied(why) => Refusal::new(Code::OriginDenied, why).into_response(),
        Verdict::Own => next.run(request).await,
        Verdict::Listed => {
            let preflight = request.method() == Method::OPTIONS
                && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
            let mut response = if preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
            if let Some(origin) = origin {
                share(response.headers_mut(), origin, preflight);
            }
            response
        }
    }
}

fn host(request: &Request) -> Option<&str> {
    // HTTP/1.1 requires the header; an absolute-form target outranks it.
    if let Some(authority) = request.uri().authority() {
        return Some(authority.as_str());
    }
    let mut hosts = request.headers().get_all(header::HOST).iter();
    match (hosts.next(), hosts.next()) {
        (Some(host), None) => host.to_str().ok(),
        _ => None,
    }
}

fn share(headers: &mut HeaderMap, origin: HeaderValue, preflight: bool) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::VARY, HeaderValue::from_static("Origin"));
    if preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HeaderValue::from_static("authorization, content-type"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
    } else {
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static("retry-after"));
    }
}

/// Asks for a bearer token where the server has any.
pub(super) async fn credentials(State(app): State<App>, request: Request, next: Next) -> Response {
    if let Some(tokens) = &app.auth {
        let authorization = request.headers().get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        if !tokens.admits(authorization) {
            app.metrics.unauthorized();
            let detail = "send `Authorization: Bearer TOKEN` with a token from the server's token file";
            return Refusal::new(Code::Unauthorized, detail).into_response();
        }
    }
    next.run(request).await
}
