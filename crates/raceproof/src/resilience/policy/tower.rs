//! A policy around a `tower` service.

use std::fmt;
use std::future::Future;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use tower_layer::Layer;
use tower_service::Service;

use super::{Policy, PolicyError};
use crate::resilience::retry::{Fault, GaveUp};

/// Puts a [`Policy`] around services: see [`Policy::layer`].
#[derive(Clone)]
pub struct PolicyLayer<C> {
    policy: Policy,
    classify: C,
}

/// A service behind a [`Policy`].
///
/// Each attempt calls a clone of the service with a clone of the request. The service is asked whether it is ready
/// before every attempt; waiting for that counts as part of the attempt.
#[derive(Clone)]
pub struct PolicyService<S, C> {
    service: S,
    policy: Policy,
    classify: C,
}

impl Policy {
    /// This policy as a `tower` layer. `classify` says what an error is; for errors that know, `E::fault`.
    ///
    /// A policy that has only a breaker is a breaker's layer, and so on.
    #[must_use]
    pub fn layer<C>(&self, classify: C) -> PolicyLayer<C> {
        PolicyLayer { policy: self.clone(), classify }
    }
}

impl<S, C: Clone> Layer<S> for PolicyLayer<C> {
    type Service = PolicyService<S, C>;

    fn layer(&self, service: S) -> Self::Service {
        PolicyService { service, policy: self.policy.clone(), classify: self.classify.clone() }
    }
}

impl<S, C, R> Service<R> for PolicyService<S, C>
where
    S: Service<R> + Clone + Send + 'static,
    S::Future: Send,
    S::Response: Send,
    S::Error: Send,
    R: Clone + Send + 'static,
    C: Fn(&S::Error) -> Fault + Clone + Send + Sync + 'static,
{
    type Response = S::Response;
    type Error = PolicyError<S::Error>;
    type Future = Pin<Box<dyn Future<Output = Result<S::Response, PolicyError<S::Error>>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(cx).map_err(|error| PolicyError::Failed {
            error,
            attempts: 0,
            gave_up: GaveUp::Attempts,
        })
    }

    fn call(&mut self, request: R) -> Self::Future {
        let fresh = self.service.clone();
        // The one that was found ready makes the first attempt.
        let mut ready = Some(std::mem::replace(&mut self.service, fresh.clone()));
        let (policy, classify) = (self.policy.clone(), self.classify.clone());
        Box::pin(async move {
            let attempt = move || {
                let (ready, mut service, request) = (ready.take(), fresh.clone(), request.clone());
                async move {
                    if let Some(mut ready) = ready {
                        return ready.call(request).await;
                    }
                    poll_fn(|cx| service.poll_ready(cx)).await?;
                    service.call(request).await
                }
            };
            policy.run_if(classify, attempt).await
        })
    }
}

impl<C> fmt::Debug for PolicyLayer<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PolicyLayer").field("policy", &self.policy).finish_non_exhaustive()
    }
}

impl<S: fmt::Debug, C> fmt::Debug for PolicyService<S, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (service, policy) = (&self.service, &self.policy);
        f.debug_struct("PolicyService").field("service", service).field("policy", policy).finish_non_exhaustive()
    }
}
