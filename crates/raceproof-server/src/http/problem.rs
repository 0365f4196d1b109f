//! Refusals as RFC 9457 problem details.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use raceproof_core::wire::{Code, CycleMember, Holder, Problem};
use serde::Serialize;
use utoipa::ToSchema;

/// The body of every refusal, `application/problem+json`.
#[derive(Serialize, ToSchema)]
#[schema(title = "Problem")]
pub(crate) struct ProblemBody {
    /// Identifies the kind of problem: `urn:raceproof:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// What the code means; the same for every problem of this code.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// What happened, to what, and what to do.
    detail: String,
    /// The stable code. Programs decide by this.
    #[schema(value_type = String, example = "lock_held")]
    code: Code,
    /// Who holds the lock (`lock_held`, `wait_timed_out`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    holders: Vec<Holder>,
    /// The waiters that would wait for each other (`deadlock`).
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    cycle: Vec<CycleMember>,
    /// When to try again, where the hub knows.
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after_ms: Option<u64>,
}

/// A refusal on its way to an HTTP client.
#[derive(Debug)]
pub(crate) struct Refusal(Box<Problem>);

impl Refusal {
    pub(crate) fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Problem::new(code, detail)))
    }
}

impl From<Box<Problem>> for Refusal {
    fn from(problem: Box<Problem>) -> Self {
        Self(problem)
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let Problem { code, detail, holders, cycle, retry_after_ms } = *self.0;
        let status = StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let body = ProblemBody {
            kind: format!("urn:raceproof:problem:{code}"),
            title: code.title(),
            status: status.as_u16(),
            detail,
            code,
            holders,
            cycle,
            retry_after_ms,
        };
        let mut response = (status, Json(body)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            let seconds = retry_after_ms.unwrap_or(1_000).div_ceil(1_000).max(1);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"raceproof\""));
        }
        response
    }
}
