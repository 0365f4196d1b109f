//! The description of the HTTP calls that programs read, at `/openapi.json`.

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use utoipa::OpenApi;

use crate::http::{elections, locks, sessions};

/// The calls of `/v1`.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Raceproof",
        description = "Locks with fencing tokens, and elections. Refusals are problem details with a stable `code`.",
        license(name = "MIT OR Apache-2.0")
    ),
    paths(
        sessions::open,
        sessions::keepalive,
        sessions::end,
        sessions::list,
        locks::acquire,
        locks::acquire_several,
        locks::cancel,
        locks::release,
        locks::check,
        locks::steal,
        locks::why,
        locks::why_get,
        locks::list,
        locks::show,
        elections::campaign,
        elections::resign,
        elections::list,
        elections::show,
    )
)]
struct Calls;

static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| Calls::openapi().to_json().expect("the description has string keys and finite numbers"));

pub(crate) async fn serve() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], DOCUMENT.as_str()).into_response()
}
