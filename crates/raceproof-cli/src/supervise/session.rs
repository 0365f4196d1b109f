//! Ending a session over HTTP, without an async runtime: what a watchdog does when its wrapper is gone.

use std::time::Duration;

use super::link::SessionAccess;
use crate::http::Client;

/// How long one attempt may take.
const ATTEMPT: Duration = Duration::from_secs(2);

/// Ends the session. True also if it is gone already.
pub(crate) fn end(access: &SessionAccess) -> bool {
    let client = Client::new(&access.server, access.auth_token.as_deref(), ATTEMPT);
    match client.delete(&format!("/v1/sessions/{}", access.key)) {
        Ok(_) => true,
        Err(error) => error.status() == Some(404),
    }
}
