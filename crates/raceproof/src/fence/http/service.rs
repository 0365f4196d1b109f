//! The service that [`FenceLayer`](super::FenceLayer) makes.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::header::HeaderMap;
use http::request::Parts;
use http::{Request, Response};
use raceproof_core::id::Token;
use tower_service::Service;

use super::gate::{Entered, Gates};
use super::problem::Refusal;
use super::{Fenced, Guarded, HEADER};
use crate::fence::{CheckError, FenceStore, parse};

/// A service behind a fence.
#[derive(Debug)]
pub struct FenceService<S, T, N> {
    inner: S,
    fence: Arc<Guarded<T, N>>,
}

impl<S, T, N> FenceService<S, T, N> {
    pub(super) const fn new(inner: S, fence: Arc<Guarded<T, N>>) -> Self {
        Self { inner, fence }
    }
}

impl<S: Clone, T, N> Clone for FenceService<S, T, N> {
    fn clone(&self) -> Self {
        Self { inner: self.inner.clone(), fence: Arc::clone(&self.fence) }
    }
}

impl<S, T, N, B, R> Service<Request<B>> for FenceService<S, T, N>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    T: FenceStore + 'static,
    N: Fn(&Parts) -> Option<String> + Send + Sync + 'static,
    B: Send + 'static,
    R: From<String>,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The one that was polled ready takes the call; its clone is for the next.
        let clone = self.inner.clone();
        let mut inner = mem::replace(&mut self.inner, clone);
        let (mut parts, body) = request.into_parts();
        let Some(resource) = (self.fence.name)(&parts) else {
            return Box::pin(inner.call(Request::from_parts(parts, body)));
        };
        let fence = Arc::clone(&self.fence);
        Box::pin(async move {
            let resource = Arc::from(resource);
            let (token, _entered) = match admit(&fence, &resource, &parts.headers).await {
                Ok(admitted) => admitted,
                Err(refusal) => return Ok(refusal.into_response()),
            };
            parts.extensions.insert(Fenced { resource, token });
            inner.call(Request::from_parts(parts, body)).await
        })
    }
}

async fn admit<T: FenceStore, N>(
    fence: &Guarded<T, N>,
    resource: &Arc<str>,
    headers: &HeaderMap,
) -> Result<(Token, Entered), Refusal> {
    let token = shown_token(headers)?;
    match Gates::enter(&fence.gates, &fence.store, resource, token).await {
        Ok(entered) => Ok((token, entered)),
        Err(CheckError::Stale(stale)) => Err(Refusal::Stale { resource: Arc::clone(resource), stale }),
        Err(CheckError::Store(error)) => {
            tracing::error!(name: "raceproof.fence.unavailable", resource = &**resource, error = %error);
            Err(Refusal::Unavailable)
        }
    }
}

fn shown_token(headers: &HeaderMap) -> Result<Token, Refusal> {
    let mut values = headers.get_all(HEADER).iter();
    let value = values.next().ok_or(Refusal::Missing)?;
    if values.next().is_some() {
        return Err(Refusal::Malformed);
    }
    value.to_str().ok().and_then(parse).ok_or(Refusal::Malformed)
}
