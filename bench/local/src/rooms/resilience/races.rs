//! What each breaker makes of stampedes and of results that come late, and what layers of retries add up to.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Result, ensure};
use failsafe::futures::CircuitBreaker as _;
use failsafe::{backoff, failure_policy};
use raceproof::resilience::breaker::{Breaker, CallError};
use raceproof::resilience::retry::{Budget, Fault, Retry};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tower::{Layer, Service};
use tower_resilience_circuitbreaker::CircuitBreakerLayer;

use crate::frame::Race;
use crate::node;

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

type Make = fn() -> Call;

/// Callers of a stampede.
const CALLERS: usize = 100;

/// Breakers that meet a late result.
const TRIES: usize = 10;

pub(super) fn all() -> Vec<Race> {
    vec![
        breakers("stampede", CALLERS, "admitted", "1 of 100 admitted", stampede),
        breakers(
            "late-success",
            TRIES,
            "closed though the probe failed",
            "0 of 10 closed though the probe failed",
            late_success,
        ),
        breakers(
            "late-failure",
            TRIES,
            "opened though the probe succeeded",
            "0 of 10 opened though the probe succeeded",
            late_failure,
        ),
        Race::new("three-layers-of-three-attempts", "raceproof", "3 calls")
            .system("raceproof", layers_ours)
            .system("a loop with back-off", layers_by_hand),
    ]
}

/// A race of all breakers; `bench/node/peers.mjs` has the same under this name.
fn breakers<F>(
    name: &'static str,
    tries: usize,
    outcome: &'static str,
    wanted: &'static str,
    count: fn(Make) -> F,
) -> Race
where
    F: Future<Output = Result<usize>> + Send + 'static,
{
    let said = move |count: usize| format!("{count} of {tries} {outcome}");
    let here: [(&'static str, Make); 3] =
        [("raceproof", ours), ("failsafe", failsafe), ("tower-resilience", tower_resilience)];
    let race = Race::new(name, "raceproof", wanted);
    let race = here
        .into_iter()
        .fold(race, |race, (system, make)| race.system(system, move || async move { Ok(said(count(make).await?)) }));
    ["cockatiel", "opossum"].into_iter().fold(race, |race, peer| {
        race.system(peer, move || async move { Ok(said(node::race(peer, name, tries).await?)) })
    })
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

/// A hundred callers right after the end of the open period: how many are admitted before the first of them has ended.
async fn stampede(make: Make) -> Result<usize> {
    let call = make();
    trip(&call).await?;
    sleep(OPEN_FOR * 2).await;
    let (admitted, ended) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
    let callers: Vec<_> = (0..CALLERS)
        .map(|_| {
            let (call, admitted, ended) = (Arc::clone(&call), Arc::clone(&admitted), Arc::clone(&ended));
            tokio::spawn(async move {
                let probe: Operation = Box::pin(async move {
                    admitted.fetch_add(usize::from(!ended.load(Ordering::Acquire)), Ordering::Relaxed);
                    sleep(OPEN_FOR).await;
                    ended.store(true, Ordering::Release);
                    Ok(())
                });
                call(probe).await
            })
        })
        .collect();
    for caller in callers {
        caller.await?;
    }
    Ok(admitted.load(Ordering::Relaxed))
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

/// How many of several breakers decide by the late result and not by the probe.
async fn decided_by_late(make: Make, success: bool) -> Result<usize> {
    let mut tries: JoinSet<_> = (0..TRIES).map(|_| async move { late(&make(), success).await }).collect();
    let mut wrong = 0;
    while let Some(admits) = tries.join_next().await {
        wrong += usize::from(admits?? == success);
    }
    Ok(wrong)
}

/// The probe fails, so the breaker has to be open.
async fn late_success(make: Make) -> Result<usize> {
    decided_by_late(make, true).await
}

/// The probe succeeds, so the breaker has to be closed.
async fn late_failure(make: Make) -> Result<usize> {
    decided_by_late(make, false).await
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
