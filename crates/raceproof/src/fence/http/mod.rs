//! A fence before an HTTP service: a tower layer that checks the `Raceproof-Fence` header of each request.
//!
//! Owns: reading the header, asking a [`FenceStore`], keeping a newer holder out until the requests of an older one
//! have ended, and the answer to who is refused. Refuses: a stale token (L9), and a write without a token.
//!
//! | the request's token is | answer | code |
//! |---|---|---|
//! | missing | 428 Precondition Required | `fence_missing` |
//! | no token, or there are several | 400 Bad Request | `fence_malformed` |
//! | older than the newest | 412 Precondition Failed | `fence_stale`, with `token` and `newest` |
//! | not to be compared, because the store failed | 503 Service Unavailable | `fence_unavailable` |
//!
//! Answers are problem details (RFC 9457). The service behind finds [`Fenced`] in the request's extensions.
//!
//! A token is no credential: put this layer inside of the one that authenticates, or a stranger's great number locks
//! everybody out.

mod gate;
mod problem;
mod service;

use std::sync::Arc;

use http::header::{HeaderMap, HeaderName, HeaderValue};
use http::request::Parts;
use raceproof_core::id::Token;
use tower_layer::Layer;

use self::gate::Gates;
pub use self::service::FenceService;
use super::FenceStore;

/// The header that carries a token, in decimal.
pub const HEADER: HeaderName = HeaderName::from_static("raceproof-fence");

/// Puts a token into a request's headers, in place of any other.
///
/// ```
/// use raceproof::fence::{Token, http::set_fence};
/// let mut headers = http::HeaderMap::new();
/// set_fence(&mut headers, Token::new(17));
/// assert_eq!(headers["raceproof-fence"], "17");
/// ```
pub fn set_fence(headers: &mut HeaderMap, token: Token) {
    headers.insert(HEADER, HeaderValue::from(token.as_u64()));
}

/// What a request was admitted under: an extension of the request. A service that writes to a database passes the token
/// on to it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Fenced {
    /// The resource.
    pub resource: Arc<str>,
    /// The token.
    pub token: Token,
}

/// The layer. It may stand before any service whose requests name the resource that they write.
///
/// While a request is under way behind it, a newer token for the same resource waits until the request has been
/// answered, and older ones are refused. So a slow request cannot write after its successor's, as long as all requests
/// pass this one layer and work ends with its answer. Where several servers write to the same thing, they share the
/// store, and hand the token on to the thing itself.
///
/// ```
/// use axum::{Router, routing::put};
/// use raceproof::fence::{MemoryFences, http::FenceLayer};
///
/// let app: Router = Router::new()
///     .route("/prices/{item}", put(|| async { "written" }))
///     .layer(FenceLayer::by_path(MemoryFences::default()));
/// ```
#[derive(Debug)]
pub struct FenceLayer<T, N = fn(&Parts) -> Option<String>> {
    fence: Arc<Guarded<T, N>>,
}

/// What the services of one layer share.
#[derive(Debug)]
struct Guarded<T, N> {
    store: T,
    name: N,
    gates: Arc<Gates>,
}

impl<T: FenceStore> FenceLayer<T> {
    /// Fences each path by itself. Requests that by their method change nothing (GET, HEAD, OPTIONS, TRACE) pass.
    #[must_use]
    pub fn by_path(store: T) -> Self {
        Self::new(store, |parts| (!parts.method.is_safe()).then(|| parts.uri.path().to_owned()))
    }
}

impl<T: FenceStore, N: Fn(&Parts) -> Option<String>> FenceLayer<T, N> {
    /// Fences the resources that `name` makes out of requests. A request of which it makes `None` passes unchecked.
    #[must_use]
    pub fn new(store: T, name: N) -> Self {
        Self { fence: Arc::new(Guarded { store, name, gates: Arc::default() }) }
    }
}

impl<T, N> Clone for FenceLayer<T, N> {
    fn clone(&self) -> Self {
        Self { fence: Arc::clone(&self.fence) }
    }
}

impl<S, T, N> Layer<S> for FenceLayer<T, N> {
    type Service = FenceService<S, T, N>;

    fn layer(&self, inner: S) -> Self::Service {
        FenceService::new(inner, Arc::clone(&self.fence))
    }
}
