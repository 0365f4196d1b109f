//! The description of the HTTP calls that programs read, at `/openapi.json`.

use std::sync::LazyLock;

use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use utoipa::openapi::OpenApi as Document;
use utoipa::openapi::security::{HttpAuthScheme, HttpBuilder, SecurityScheme};
use utoipa::{Modify, OpenApi};

use crate::http::{elections, locks, meta, sessions};
use crate::ws;

/// Every call.
#[derive(OpenApi)]
#[openapi(
    info(
        title = "Raceproof",
        description = "Locks with fencing tokens, and elections. Refusals are problem details with a stable `code`.",
        license(name = "MIT OR Apache-2.0", identifier = "MIT OR Apache-2.0")
    ),
    // Either, because only the server knows whether it has a token file.
    security((), ("token" = [])),
    modifiers(&Credentials),
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
        ws::upgrade,
        meta::healthz,
        meta::readyz,
        meta::metrics,
        meta::dashboard,
        serve,
    )
)]
struct Calls;

/// How a call shows its token.
struct Credentials;

impl Modify for Credentials {
    fn modify(&self, document: &mut Document) {
        let bearer = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some("A token of the server's token file, where it has one"))
            .build();
        let components = document.components.get_or_insert_default();
        components.add_security_scheme("token", SecurityScheme::Http(bearer));
    }
}

static DOCUMENT: LazyLock<String> =
    LazyLock::new(|| Calls::openapi().to_json().expect("the description has string keys and finite numbers"));

/// This description.
#[utoipa::path(get, path = "/openapi.json", operation_id = "openapi", tag = "server", security(()), responses(
    (status = 200, description = "It", body = serde_json::Value, content_type = "application/json"),
))]
pub(crate) async fn serve() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], DOCUMENT.as_str()).into_response()
}
