//! HTTP to a server, blocking: for listings, for operators' calls, and for a watchdog without an async runtime.

use std::time::Duration;

use raceproof_core::wire::{Code, Problem};
use serde::de::DeserializeOwned;

/// The port of a server that is named without a scheme and without a port.
const PORT: u16 = 7117;

/// A server.
#[derive(Debug)]
pub(crate) struct Client {
    agent: ureq::Agent,
    base: String,
    auth: Option<String>,
}

/// Why a call failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum CallError {
    /// Nobody answers there.
    #[error("{}", plainly(.0))]
    Unreachable(#[source] Box<ureq::Error>),
    /// The server refused.
    #[error("{}", .0.detail)]
    Refused(Box<Problem>),
    /// What came back is not what a server of this kind says.
    #[error("{0}")]
    NotUnderstood(String),
}

impl CallError {
    /// The HTTP status of a refusal.
    pub(crate) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.code.status()),
            _ => None,
        }
    }
}

impl Client {
    /// A client of the server at `server` (`http://`, `ws://` or bare `host:port`) that waits at most `limit`.
    pub(crate) fn new(server: &str, auth_token: Option<&str>, limit: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(limit))
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .build();
        Self { agent: config.into(), base: base(server), auth: auth_token.map(|token| format!("Bearer {token}")) }
    }

    /// `GET path`.
    pub(crate) fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, CallError> {
        parse(&self.text(self.agent.get(self.url(path)))?)
    }

    /// `POST path` with a JSON body.
    pub(crate) fn post<T: DeserializeOwned>(&self, path: &str, body: &str) -> Result<T, CallError> {
        let request = self.authorized(self.agent.post(self.url(path))).header("content-type", "application/json");
        parse(&answered(request.send(body))?)
    }

    /// `DELETE path`.
    pub(crate) fn delete(&self, path: &str) -> Result<String, CallError> {
        self.text(self.agent.delete(self.url(path)))
    }

    /// `GET path`, as it comes.
    pub(crate) fn get_text(&self, path: &str) -> Result<String, CallError> {
        self.text(self.agent.get(self.url(path)))
    }

    fn text(&self, request: ureq::RequestBuilder<ureq::typestate::WithoutBody>) -> Result<String, CallError> {
        answered(self.authorized(request).call())
    }

    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.auth {
            Some(auth) => request.header("authorization", auth),
            None => request,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }
}

/// A path segment of a name: everything but letters, digits and `-._~` escaped.
pub(crate) fn segment(name: &str) -> String {
    let mut escaped = String::with_capacity(name.len());
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}

/// `http://host:port` of whatever way a server was named.
pub(crate) fn base(server: &str) -> String {
    let server = server.trim_end_matches('/');
    match server.split_once("://") {
        Some(("ws", rest)) => format!("http://{rest}"),
        Some(("wss", rest)) => format!("https://{rest}"),
        Some(_) => server.to_owned(),
        None if port(server).is_none() => format!("http://{server}:{PORT}"),
        None => format!("http://{server}"),
    }
}

/// What stands where a port does, in what follows the scheme.
fn port(server: &str) -> Option<&str> {
    let authority = server.split('/').next().unwrap_or(server);
    let behind_host = authority.rsplit(']').next().unwrap_or(authority);
    behind_host.split_once(':').map(|(_, port)| port)
}

/// Whether the port in an address of [`base`] is one, if there is any.
pub(crate) fn has_good_port(base: &str) -> bool {
    let rest = base.split_once("://").map_or(base, |(_, rest)| rest);
    port(rest).is_none_or(|port| port.parse::<u16>().is_ok())
}

/// Whether a token can stand in a header.
pub(crate) fn is_token(token: &str) -> bool {
    !token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic())
}

fn answered(result: Result<ureq::http::Response<ureq::Body>, ureq::Error>) -> Result<String, CallError> {
    let mut response = result.map_err(|error| CallError::Unreachable(Box::new(error)))?;
    let status = response.status();
    let body = response.body_mut().read_to_string().map_err(|error| CallError::Unreachable(Box::new(error)))?;
    if status.is_success() {
        return Ok(body);
    }
    match serde_json::from_str::<Problem>(&body) {
        Ok(problem) if problem.code != Code::Unknown => Err(CallError::Refused(Box::new(problem))),
        _ => Err(CallError::NotUnderstood(format!("an answer with status {status} that is not of a raceproof server"))),
    }
}

/// What went wrong, without the library's own name for its kind.
fn plainly(error: &ureq::Error) -> String {
    match error {
        ureq::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

fn parse<T: DeserializeOwned>(body: &str) -> Result<T, CallError> {
    serde_json::from_str(body)
        .map_err(|error| CallError::NotUnderstood(format!("an answer that is not understood: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_escaped_and_servers_are_found() {
        assert_eq!(segment("a b/ü-1.~_"), "a%20b%2F%C3%BC-1.~_");
        assert_eq!(base("ws://h:1/"), "http://h:1");
        assert_eq!(base("h:1"), "http://h:1");
        assert_eq!(base("h"), "http://h:7117");
        assert_eq!(base("[::1]"), "http://[::1]:7117");
        assert_eq!(base("[::1]:80"), "http://[::1]:80");
        assert_eq!(base("http://h"), "http://h");
        assert_eq!(base("https://h"), "https://h");
        for good in ["http://h", "http://h:1", "http://[::1]", "http://[::1]:65535/under"] {
            assert!(has_good_port(good), "{good}");
        }
        for bad in ["http://h:65536", "http://h:", "http://h:x", "http://[::1]:99999", "http://h:-1/"] {
            assert!(!has_good_port(bad), "{bad}");
        }
        assert!(is_token("0123456789abcdef"));
        for bad in ["", "a b", "a\n", "ä"] {
            assert!(!is_token(bad), "{bad:?}");
        }
    }
}
