//! What each breaker makes of stampedes and of results that come late, and what layers of retries add up to.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Result, ensure};
use failsafe::futures::CircuitBreaker as _;
use failsafe::{backoff, failure_policy};
use raceproof::resilience::breaker::{Breaker, CallError};
use raceproof::resilience::retry::{Budget, Fault, Retry};
use tokio::sync::oneshot;
use tokio::time::sleep;
use tower::{Layer, Service};
use tower_resilience_circuitbreaker::CircuitBreakerLayer;

use crate::frame::Race;

const FAILURES: u32 = 3;
const OPEN_FOR: Duration = Duration::from_millis(100);

type Operation = Pin<Box<dyn Future<Output = std::result::Result<(), ()>> + Send>>;

/// A call of a service.
struct Request {
    operation: Operation,
    /// Whether it was made.
    begun: Arc<AtomicUsize>,
}

/// The service: a request is what it does.
#[derive(Clone)]
struct Runner;

impl Service<Request> for Runner {
    type Response = ();
    type Error = ();
    type Future = Operation;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<std::result::Result<(), ()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request) -> Operation {
        request.begun.fetch_add(1, Ordering::Relaxed);
        request.operation
    }
}

/// Any breaker: makes a call, and says whether it did.
type Call = Arc<dyn Fn(Operation) -> Pin<Box<dyn Future<Output = bool> + Send>> + Send + Sync>;

pub(super) fn all() -> Vec<Race> {
    let race = |name, wanted| Race::new(name, "raceproof", wanted);
    vec![
        race("stampede", "1 of 100 admitted")
            .system("raceproof", async || stampede(ours()).await)
            .system("failsafe", async || stampede(failsafe()).await)
            .system("tower-resilience", async || stampede(tower_resilience()).await),
        race("late-success", "ignored")
            .system("raceproof", async || late_success(ours()).await)
            .system("failsafe", async || late_success(failsafe()).await)
            .system("tower-resilience", async || late_success(tower_resilience()).await),
        race("late-failure", "ignored")
            .system("raceproof", async || late_failure(ours()).await)
            .system("failsafe", async || late_failure(failsafe()).await)
            .system("tower-resilience", async || late_failure(tower_resilience()).await),
        race("three-layers-of-three-attempts", "3 calls")
            .system("raceproof", layers_ours)
            .system("a loop with back-off", layers_by_hand),
    ]
}

fn ours() -> Call {
    let breaker = Breaker::builder("race").consecutive(FAILURES).open_for(OPEN_FOR).build();
    Arc::new(move |operation| {
        let breaker = breaker.clone();
        Box::pin(async move { !matches!(breaker.call(operation).await, Err(CallError::Open(_))) })
    })
}

fn failsafe() -> Call {
    let policy = failure_policy::consecutive_failures(FAILURES, backoff::constant(OPEN_FOR));
    let breaker = failsafe::Config::new().failure_policy(policy).build();
    Arc::new(move |operation| {
        let breaker = breaker.clone();
        Box::pin(async move { !matches!(breaker.call(operation).await, Err(failsafe::Error::Rejected)) })
    })
}

fn tower_resilience() -> Call {
    let layer = CircuitBreakerLayer::builder()
        .consecutive_failures(FAILURES as usize)
        .wait_duration_in_open(OPEN_FOR)
        .permitted_calls_in_half_open(1)
        .build();
    let service = layer.layer(Runner);
    Arc::new(move |operation| {
        let (mut service, begun) = (service.clone(), Arc::new(AtomicUsize::new(0)));
        let called = service.call(Request { operation, begun: Arc::clone(&begun) });
        Box::pin(async move {
            drop(called.await);
            begun.load(Ordering::Relaxed) > 0
        })
    })
}

async fn trip(call: &Call) -> Result<()> {
    for _ in 0..FAILURES {
        ensure!(call(Box::pin(async { Err(()) })).await, "refused while closed");
    }
    ensure!(!call(Box::pin(async { Ok(()) })).await, "it did not open");
    Ok(())
}

/// A hundred callers right after the end of the open period.
async fn stampede(call: Call) -> Result<String> {
    trip(&call).await?;
    sleep(OPEN_FOR * 2).await;
    let admitted = Arc::new(AtomicUsize::new(0));
    let callers: Vec<_> = (0..100)
        .map(|_| {
            let (call, admitted) = (Arc::clone(&call), Arc::clone(&admitted));
            tokio::spawn(async move {
                let probe: Operation = Box::pin(async move {
                    admitted.fetch_add(1, Ordering::Relaxed);
                    sleep(OPEN_FOR).await;
                    Ok(())
                });
                call(probe).await
            })
        })
        .collect();
    for caller in callers {
        caller.await?;
    }
    Ok(format!("{} of 100 admitted", admitted.load(Ordering::Relaxed)))
}

/// A call that ends when it is told how.
fn held(call: &Call) -> (oneshot::Sender<bool>, tokio::task::JoinHandle<bool>) {
    let (end, ended) = oneshot::channel();
    let operation: Operation = Box::pin(async move { if ended.await == Ok(true) { Ok(()) } else { Err(()) } });
    let call = Arc::clone(call);
    (end, tokio::spawn(async move { call(operation).await }))
}

/// A call begun before the trip ends while a probe is under way; then the probe ends the other way. Whether another
/// call is admitted after that.
async fn late(call: &Call, success: bool) -> Result<bool> {
    let (end_late, late) = held(call);
    sleep(Duration::from_millis(20)).await;
    trip(call).await?;
    sleep(OPEN_FOR * 2).await;
    let (end_probe, probe) = held(call);
    sleep(Duration::from_millis(20)).await;
    ensure!(end_late.send(success).is_ok() && late.await?, "the late call was not made");
    ensure!(end_probe.send(!success).is_ok() && probe.await?, "the probe was not made");
    Ok(call(Box::pin(async { Ok(()) })).await)
}

/// The probe fails, so the breaker has to be open.
async fn late_success(call: Call) -> Result<String> {
    Ok(if late(&call, true).await? { "closed a breaker whose probe failed" } else { "ignored" }.to_owned())
}

/// The probe succeeds, so the breaker has to be closed.
async fn late_failure(call: Call) -> Result<String> {
    Ok(if late(&call, false).await? { "ignored" } else { "opened a breaker whose probe succeeded" }.to_owned())
}

async fn layers_ours() -> Result<String> {
    let calls = AtomicUsize::new(0);
    let retry = || Retry::builder().delay(Duration::from_millis(1)).budget(Budget::new(1_000, 0)).build();
    let (outer, middle, inner) = (retry(), retry(), retry());
    let operation = async || {
        calls.fetch_add(1, Ordering::Relaxed);
        Err::<Infallible, ()>(())
    };
    let failed = outer
        .run_if(
            |_| Fault::Transient,
            async || {
                middle.run_if(|_| Fault::Transient, async || inner.run_if(|()| Fault::Transient, operation).await).await
            },
        )
        .await;
    ensure!(failed.is_err(), "it cannot succeed");
    Ok(format!("{} calls", calls.load(Ordering::Relaxed)))
}

/// The usual loop: so many attempts, a delay that doubles.
async fn with_retries<F: Future<Output = std::result::Result<(), ()>>>(
    mut attempt: impl FnMut() -> F,
) -> std::result::Result<(), ()> {
    let mut delay = Duration::from_millis(1);
    for _ in 0..2 {
        if attempt().await.is_ok() {
            return Ok(());
        }
        sleep(delay).await;
        delay *= 2;
    }
    attempt().await
}

async fn layers_by_hand() -> Result<String> {
    let calls = AtomicUsize::new(0);
    let operation = || async {
        calls.fetch_add(1, Ordering::Relaxed);
        Err(())
    };
    ensure!(with_retries(|| with_retries(|| with_retries(operation))).await.is_err(), "it cannot succeed");
    Ok(format!("{} calls", calls.load(Ordering::Relaxed)))
}
