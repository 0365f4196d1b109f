//! One request from its caller's side.

use std::time::Duration;

use raceproof_core::worker::{OfferError, RequestId, Terms};
use tokio::sync::oneshot;
use tracing::Instrument as _;

use super::error::CallError;
use super::shared::{Fault, Job, Shared};

/// Takes the request back when its caller goes (T3).
struct Asked<'a, Q, R> {
    shared: &'a Shared<Q, R>,
    id: Option<RequestId>,
}

impl<Q, R> Drop for Asked<'_, Q, R> {
    fn drop(&mut self) {
        drop(self.take_back());
    }
}

impl<Q, R> Asked<'_, Q, R> {
    fn take_back(&mut self) -> Option<Job<Q, R>> {
        self.shared.take_back(self.id.take()?)
    }
}

pub(super) async fn call<Q, R>(
    shared: &Shared<Q, R>,
    request: Q,
    within: Option<Duration>,
    patient: bool,
) -> Result<R, CallError<Q>> {
    let (reply, answer) = oneshot::channel();
    let span = tracing::debug_span!("raceproof.worker.wait", worker = &*shared.name);
    let answer = answer.instrument(span);
    let mut terms = Terms::new();
    terms.deadline = within.map(|within| shared.clock.now() + within);
    terms.patient = patient;
    let offered = shared.offer(Job { request, reply }, terms);
    let id = offered.map_err(|error| match error {
        OfferError::Full(job) => CallError::Full(job.request),
        OfferError::TooManyWaiting(job) => CallError::TooManyWaiting(job.request),
        OfferError::Stopped(job) => CallError::Stopped(job.request),
    })?;
    let mut asked = Asked { shared, id: Some(id) };
    let answer = match within {
        None => answer.await,
        Some(within) => match shared.clock.timeout(within, answer).await {
            Some(answer) => answer,
            None => {
                let back = asked.take_back();
                return Err(back.map_or(CallError::TimedOut, |job| CallError::NotStarted(job.request)));
            }
        },
    };
    // Whoever answered had it.
    asked.id = None;
    match answer {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(Fault::Panicked(message))) => Err(CallError::Panicked(message)),
        Ok(Err(Fault::Stopped(request))) => Err(CallError::Stopped(request)),
        Ok(Err(Fault::Expired(request))) => Err(CallError::NotStarted(request)),
        Err(_) => Err(CallError::Dropped),
    }
}
