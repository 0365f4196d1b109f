use std::cell::Cell;
use std::io::{Error, ErrorKind};

use tokio::time::{Instant, timeout};

use super::*;

fn down() -> Error {
    Error::from(ErrorKind::ConnectionRefused)
}

/// A service that counts its calls and fails.
#[derive(Default)]
struct Service {
    calls: Cell<u32>,
}

impl Service {
    async fn call(&self) -> Result<(), Error> {
        self.calls.set(self.calls.get() + 1);
        tokio::task::yield_now().await;
        Err(down())
    }
}

fn generous() -> Budget {
    Budget::new(1_000, 0)
}

#[tokio::test(start_paused = true)]
async fn p2_attempts_and_time_are_bounded() {
    let service = Service::default();
    let retry = Retry::builder().attempts_max(5).build();
    let began = Instant::now();
    let error = retry.run(|| service.call()).await.unwrap_err();
    assert_eq!((error.attempts, error.gave_up, service.calls.get()), (5, GaveUp::Attempts, 5));
    assert!(began.elapsed() <= Duration::from_millis(100 + 200 + 400 + 800 + 10));
    assert_eq!(error.to_string(), "connection refused (5 attempts, no attempt left)");
    let stats = retry.stats();
    assert_eq!((stats.calls, stats.retries, stats.failed), (1, 4, 1));

    let retry = Retry::builder().attempts_max(u32::MAX).budget(generous()).build();
    let began = Instant::now();
    let error = retry.run(|| service.call()).await.unwrap_err();
    assert_eq!(error.gave_up, GaveUp::Time);
    assert!(began.elapsed() <= Duration::from_secs(30));
}

/// Two hundred callers of a service that is down, as in the documents' `execute_with_retry`: without jitter they return
/// together, without a budget they make three times the calls.
#[tokio::test(start_paused = true)]
async fn p2_callers_that_failed_together_return_apart_and_within_the_budget() {
    let retry = Retry::builder().budget(Budget::new(100, 10)).build();
    let (sent, mut arrivals) = tokio::sync::mpsc::unbounded_channel();
    let began = Instant::now();
    for _ in 0..200 {
        let (retry, sent) = (retry.clone(), sent.clone());
        tokio::spawn(async move {
            let attempt = || {
                sent.send(began.elapsed()).unwrap();
                async { Err::<(), _>(down()) }
            };
            retry.run(attempt).await.unwrap_err();
        });
    }
    drop(sent);
    let mut retries = Vec::new();
    while let Some(at) = arrivals.recv().await {
        retries.push(at);
    }
    let retries = retries.split_off(200);
    assert!(retries.len() <= 120, "100 and a tenth of 200, not {}", retries.len());
    assert!(retries.len() >= 90);
    let mut apart = retries.clone();
    apart.sort();
    apart.dedup();
    assert!(apart.len() > 30, "{} of {} retries come at times of their own", apart.len(), retries.len());
    assert!(retry.stats().over_budget > 0);
}

#[tokio::test(start_paused = true)]
async fn p2_three_layers_of_three_attempts_make_three_calls() {
    let service = Service::default();
    let [outer, middle, inner] = [(); 3].map(|()| Retry::builder().attempts_max(3).budget(generous()).build());
    let result = outer
        .run_if(|_| Fault::Transient, || middle.run_if(|_| Fault::Transient, || inner.run(|| service.call())))
        .await;
    result.unwrap_err();
    assert_eq!(service.calls.get(), 3, "not 27");
}

#[tokio::test(start_paused = true)]
async fn p2_layers_in_one_task_beside_each_other_share_too() {
    let service = Service::default();
    let outer = Retry::builder().attempts_max(4).budget(generous()).build();
    let inner = Retry::builder().attempts_max(4).budget(generous()).build();
    let both = || async {
        let (one, two) = tokio::join!(inner.run(|| service.call()), inner.run(|| service.call()));
        one.and(two)
    };
    outer.run(both).await.unwrap_err();
    // Two calls at once, and three retries for all of them.
    assert!(service.calls.get() <= 2 * (1 + 3), "{} calls", service.calls.get());
    assert_eq!(outer.stats().retries + inner.stats().retries, 3);
}

#[tokio::test(start_paused = true)]
async fn p2_an_independent_layer_keeps_its_attempts_and_a_finished_one_leaves_no_trace() {
    let service = Service::default();
    let outer = Retry::builder().attempts_max(2).budget(generous()).build();
    let inner = Retry::builder().attempts_max(3).budget(generous()).independent().build();
    outer.run_if(|_| Fault::Transient, || inner.run(|| service.call())).await.unwrap_err();
    assert_eq!(service.calls.take(), 6);

    let alone = Retry::builder().attempts_max(3).budget(generous()).build();
    alone.run(|| service.call()).await.unwrap_err();
    assert_eq!(service.calls.get(), 3, "what ran before in this thread is over");
}

#[tokio::test(start_paused = true)]
async fn p2_a_permanent_error_is_not_tried_again() {
    let retry = Retry::new();
    let calls = Cell::new(0);
    let attempt = || {
        calls.set(calls.get() + 1);
        async { Err::<(), _>(Error::from(ErrorKind::PermissionDenied)) }
    };
    let error = retry.run(attempt).await.unwrap_err();
    assert_eq!((error.attempts, error.gave_up, calls.get()), (1, GaveUp::Permanent, 1));
}

#[tokio::test(start_paused = true)]
async fn p2_the_service_says_how_long_to_stay_away() {
    let retry = Retry::builder().attempts_max(2).build();
    let began = Instant::now();
    let asked = Duration::from_secs(5);
    retry.run_if(|()| Fault::After(asked), || async { Err::<(), _>(()) }).await.unwrap_err();
    assert!(began.elapsed() >= asked && began.elapsed() < asked + Duration::from_millis(150));
}

#[tokio::test(start_paused = true)]
async fn a_cancelled_wait_makes_no_further_attempt() {
    let service = Service::default();
    let retry = Retry::builder().delay(Duration::from_secs(1_000)).delay_max(Duration::MAX).time_max(None).build();
    let run = retry.run_if(|_| Fault::After(Duration::from_secs(60)), || service.call());
    assert!(timeout(Duration::from_secs(30), run).await.is_err());
    tokio::time::sleep(Duration::from_secs(10_000)).await;
    assert_eq!(service.calls.get(), 1);
}

#[test]
fn a_panicking_attempt_leaves_no_scope_behind() {
    let mut outer = Scope::new(3, false);
    let panicked =
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| outer.enter(|| panic!("as the test wants"))));
    panicked.unwrap_err();
    assert_eq!(Scope::new(9, false).left(), 8);
}
