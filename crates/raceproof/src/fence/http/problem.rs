//! The answers to requests that are refused.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{Response, StatusCode};
use serde::Serialize;

use crate::fence::{Stale, Token};

/// Why a request is refused.
#[derive(Clone, Debug)]
pub(super) enum Refusal {
    Missing,
    Malformed,
    Stale { resource: Arc<str>, stale: Stale },
    Unavailable,
}

/// Problem details, as RFC 9457 writes them.
#[derive(Serialize)]
struct Body<'a> {
    title: &'a str,
    status: u16,
    code: &'a str,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<Token>,
    #[serde(skip_serializing_if = "Option::is_none")]
    newest: Option<Token>,
}

impl Refusal {
    pub(super) fn into_response<R: From<String>>(self) -> Response<R> {
        let (status, code, title) = self.kind();
        let stale = match self {
            Self::Stale { stale, .. } => Some(stale),
            _ => None,
        };
        let body = Body {
            title,
            status: status.as_u16(),
            code,
            detail: self.detail(),
            token: stale.map(|stale| stale.token),
            newest: stale.map(|stale| stale.newest),
        };
        // Text and numbers always make JSON.
        let text = serde_json::to_string(&body).unwrap_or_default();
        let mut response = Response::new(R::from(text));
        *response.status_mut() = status;
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response
    }

    const fn kind(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Missing => (StatusCode::PRECONDITION_REQUIRED, "fence_missing", "a fencing token is required"),
            Self::Malformed => (StatusCode::BAD_REQUEST, "fence_malformed", "the fencing token is malformed"),
            Self::Stale { .. } => (StatusCode::PRECONDITION_FAILED, "fence_stale", "the fencing token is stale"),
            Self::Unavailable => {
                (StatusCode::SERVICE_UNAVAILABLE, "fence_unavailable", "the fencing token cannot be checked")
            }
        }
    }

    fn detail(&self) -> String {
        match self {
            Self::Missing => "send the token of your grant in the header Raceproof-Fence".to_owned(),
            Self::Malformed => "the header Raceproof-Fence takes one decimal number from 1 to 2^53 - 1".to_owned(),
            Self::Stale { resource, stale: Stale { token, newest } } => format!(
                "token {token} for {resource:?} was overtaken by {newest}: your lease ended, so take the lock again"
            ),
            Self::Unavailable => "nothing was done; try again later".to_owned(),
        }
    }
}
