//! With paused time: who waits for what, and what survives whom.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::*;

const SHORT: Duration = Duration::from_millis(10);
const INIT: Duration = Duration::from_millis(200);

/// A service whose initialisation takes 200 ms and gives the number of the attempt.
fn slow() -> (Service<usize, String>, Arc<AtomicUsize>) {
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let service = Service::new(move || {
        let attempts = Arc::clone(&counted);
        async move {
            let attempt = attempts.fetch_add(1, Ordering::SeqCst) + 1;
            sleep(INIT).await;
            Ok(attempt)
        }
    });
    (service, attempts)
}

#[tokio::test(start_paused = true)]
async fn v1_two_hundred_concurrent_requests_make_one_database() {
    let (service, attempts) = slow();
    let mut requests = JoinSet::new();
    for _ in 0..200 {
        let service = service.clone();
        requests.spawn(async move { service.get().await.unwrap() });
    }
    let values = requests.join_all().await;
    assert_eq!(values.len(), 200);
    assert!(values.iter().all(|value| Arc::ptr_eq(value, &values[0])));
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
    assert_eq!(service.stats().coalesced, 199);
}

/// Document 003: the initialisation ran inside its first caller's future and was dropped with it.
#[tokio::test(start_paused = true)]
async fn v2_the_initialisation_survives_its_first_caller() {
    let (service, attempts) = slow();
    let began = Instant::now();
    assert!(timeout(INIT - SHORT, service.get()).await.is_err());
    assert_eq!(*service.get().await.unwrap(), 1);
    assert_eq!(began.elapsed().as_millis(), INIT.as_millis());
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
    assert_eq!(service.stats().waiters, 0);
}

/// Document 002: what had ended was kept in a set, and a duplicate that came after that was swept ended it again.
#[tokio::test(start_paused = true)]
async fn v1_an_end_is_told_once_after_its_beginning_however_late_a_duplicate_comes() {
    let told = Arc::new(std::sync::Mutex::new(Vec::new()));
    let tell = |what: &'static str| {
        let told = Arc::clone(&told);
        move || {
            let told = Arc::clone(&told);
            async move {
                sleep(INIT).await;
                told.lock().unwrap().push(what);
            }
        }
    };
    let (started, ended) = (tell("started"), tell("ended"));
    let begin = move || {
        let started = started();
        async move {
            started.await;
            Ok::<_, String>(())
        }
    };
    let stream = Service::builder(begin).clean_up(move |_| ended()).build();
    let late = stream.clone();
    assert!(timeout(SHORT, stream.get()).await.is_err(), "it ends while its beginning is being told");
    let mut ends = JoinSet::new();
    for _ in 0..20 {
        let stream = stream.clone();
        ends.spawn(async move { stream.close().await });
    }
    assert!(ends.join_all().await.into_iter().all(|end| end.is_ok()));
    drop(stream);
    sleep(Duration::from_secs(24 * 60 * 60)).await;
    late.close().await.unwrap();
    assert!(matches!(late.get().await, Err(GetError::Closed)));
    assert_eq!(*told.lock().unwrap(), ["started", "ended"]);
}

/// Document 004: `if (lock) return` told the second caller that it was initialised while it was not.
#[tokio::test(start_paused = true)]
async fn v1_the_second_caller_returns_only_with_the_value() {
    let (service, _) = slow();
    let first = tokio::spawn({
        let service = service.clone();
        async move { service.get().await.map(|value| *value) }
    });
    sleep(SHORT).await;
    let began = Instant::now();
    assert_eq!(*service.get().await.unwrap(), 1);
    assert_eq!(began.elapsed(), INIT - SHORT);
    assert_eq!(first.await.unwrap().unwrap(), 1);
}

/// A service that fails until the third attempt: once by an error, once by a panic.
fn flaky() -> Service<usize, String> {
    let attempts = AtomicUsize::new(0);
    Service::new(move || {
        let attempt = attempts.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            sleep(INIT).await;
            match attempt {
                1 => Err("no route to host".to_owned()),
                2 => panic!("no route to panic"),
                _ => Ok(attempt),
            }
        }
    })
}

/// Document 004: a throw left the flag set, and nobody ever initialised again.
#[tokio::test(start_paused = true)]
async fn v2_a_failure_is_told_to_all_who_waited_and_not_kept() {
    let service = flaky();
    let (a, b) = tokio::join!(service.get(), service.get());
    for result in [a, b] {
        assert!(matches!(result, Err(GetError::Init(Failure::Failed(error))) if *error == "no route to host"));
    }
    let (a, b) = tokio::join!(service.get(), service.get());
    for result in [a, b] {
        assert!(matches!(result, Err(GetError::Init(Failure::Panicked(why))) if &*why == "no route to panic"));
    }
    assert_eq!(*service.get().await.unwrap(), 3);
    assert_eq!(service.stats().failed, 2);
}

#[tokio::test(start_paused = true)]
async fn v2_a_panic_before_the_first_await_is_an_error_too() {
    let service: Service<(), String> = Service::new(|| -> std::future::Ready<_> { panic!("at once") });
    assert!(matches!(service.get().await, Err(GetError::Init(Failure::Panicked(why))) if &*why == "at once"));
}

#[tokio::test(start_paused = true)]
async fn a_time_limit_drops_the_initialisation_and_the_next_caller_tries_again() {
    let attempts = AtomicUsize::new(0);
    let service = Service::<_, String>::builder(move || {
        let attempt = attempts.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            if attempt == 1 {
                std::future::pending::<()>().await;
            }
            Ok(attempt)
        }
    })
    .timeout(INIT)
    .build();
    assert!(matches!(service.get().await, Err(GetError::Init(Failure::TimedOut(INIT)))));
    assert_eq!(*service.get().await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn v2_a_backoff_refuses_with_the_last_failure() {
    let service = Service::<(), _>::builder(|| async { Err("refused".to_owned()) }).backoff(INIT, INIT * 2).build();
    assert!(service.get().await.is_err());
    sleep(SHORT).await;
    match service.get().await {
        Err(GetError::BackingOff { retry_in, last: Failure::Failed(error) }) => {
            assert_eq!((retry_in, error.as_str()), (INIT - SHORT, "refused"));
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(service.stats().started, 1);
    sleep(INIT).await;
    assert!(matches!(service.get().await, Err(GetError::Init(_))));
}

#[tokio::test(start_paused = true)]
async fn as_many_wait_as_may_and_a_caller_that_goes_makes_room() {
    let service = Service::<usize, String>::builder(|| async {
        sleep(INIT).await;
        Ok(1)
    })
    .waiters_max(1)
    .build();
    let first = tokio::spawn({
        let service = service.clone();
        async move { service.get().await.map(|value| *value) }
    });
    tokio::task::yield_now().await;
    assert!(matches!(service.get().await, Err(GetError::Full { limit: 1 })));
    first.abort();
    assert!(first.await.unwrap_err().is_cancelled());
    assert_eq!(*service.get().await.unwrap(), 1);
}

/// A service that counts its clean-ups.
fn cleaned() -> (Service<usize, String>, Arc<AtomicUsize>) {
    let clean_ups = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&clean_ups);
    let attempts = AtomicUsize::new(0);
    let service = Service::builder(move || {
        let attempt = attempts.fetch_add(1, Ordering::SeqCst) + 1;
        async move {
            sleep(INIT).await;
            Ok(attempt)
        }
    })
    .clean_up(move |_| {
        let clean_ups = Arc::clone(&counted);
        async move {
            sleep(SHORT).await;
            clean_ups.fetch_add(1, Ordering::SeqCst);
        }
    })
    .build();
    (service, clean_ups)
}

#[tokio::test(start_paused = true)]
async fn a_reset_cleans_up_before_the_next_is_made() {
    let (service, clean_ups) = cleaned();
    assert_eq!(*service.get().await.unwrap(), 1);
    let began = Instant::now();
    drop(service.reset());
    assert!(service.try_get().is_none());
    assert_eq!(*service.get().await.unwrap(), 2);
    assert_eq!(began.elapsed(), SHORT + INIT);
    assert_eq!(clean_ups.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn v1_a_reset_during_the_initialisation_gives_those_who_wait_the_next_value() {
    let (service, clean_ups) = cleaned();
    let waiting = tokio::spawn({
        let service = service.clone();
        async move { service.get().await.map(|value| *value) }
    });
    sleep(SHORT).await;
    service.reset().await.unwrap();
    assert_eq!(clean_ups.load(Ordering::SeqCst), 1);
    assert_eq!(waiting.await.unwrap().unwrap(), 2);
    assert_eq!(service.stats().discarded, 1);
}

#[tokio::test(start_paused = true)]
async fn a_close_cleans_up_once_and_tells_everybody() {
    let (service, clean_ups) = cleaned();
    let mut reader = service.reader();
    assert_eq!(*reader.get().await.unwrap(), 1);
    let (a, b) = tokio::join!(service.close(), service.close());
    assert_eq!((a, b), (Ok(()), Ok(())));
    assert_eq!(clean_ups.load(Ordering::SeqCst), 1);
    assert!(matches!(service.get().await, Err(GetError::Closed)));
    assert!(matches!(reader.get().await, Err(GetError::Closed)));
    assert_eq!(service.close().await, Ok(()));
    assert_eq!(service.stats().phase, Phase::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_close_during_the_initialisation_cleans_its_value_up_once() {
    let (service, clean_ups) = cleaned();
    let waiting = tokio::spawn({
        let service = service.clone();
        async move { service.get().await.map(|value| *value) }
    });
    sleep(SHORT).await;
    let began = Instant::now();
    let closed = service.close();
    assert!(matches!(waiting.await.unwrap(), Err(GetError::Closed)));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(closed.await, Ok(()));
    assert_eq!(began.elapsed(), INIT);
    assert_eq!(clean_ups.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn a_clean_up_that_panics_is_reported_and_the_service_goes_on() {
    let service = Service::<_, String>::builder(|| async { Ok(1) })
        .clean_up(|_| async { panic!("cannot unlink the socket") })
        .build();
    service.get().await.unwrap();
    assert_eq!(service.reset().await, Err(CleanUpError::Panicked("cannot unlink the socket".into())));
    assert_eq!(*service.get().await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn v3_every_value_is_read_however_often_the_service_was_reset() {
    let (service, attempts) = slow();
    let mut reader = service.reader();
    for value in 1..=40 {
        assert_eq!(*service.get().await.unwrap(), value);
        assert_eq!(*reader.get().await.unwrap(), value);
        assert_eq!(service.try_get().as_deref(), Some(&value));
        service.reset().await.unwrap();
    }
    assert_eq!(attempts.load(Ordering::SeqCst), 40);
}

/// While a thread has the lock, the value is read all the same: the first one, and any after it.
#[tokio::test(start_paused = true)]
async fn v3_the_ready_path_takes_no_lock() {
    let (service, _) = slow();
    let mut reader = service.reader();
    for number in 1..=20 {
        assert_eq!(*reader.get().await.unwrap(), number);
        let held = service.shared.lock();
        assert_eq!(*poll_once(service.get()).unwrap(), number);
        assert_eq!(*poll_once(reader.get()).unwrap(), number);
        assert_eq!(service.try_get().as_deref(), Some(&number));
        drop(held);
        service.reset().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_value_that_was_given_up_is_dropped() {
    let service = Service::<_, String>::new(|| async { Ok("a socket".to_owned()) });
    for _ in 0..3 {
        let weak = Arc::downgrade(&service.get().await.unwrap());
        assert!(weak.upgrade().is_some());
        service.reset().await.unwrap();
        assert!(weak.upgrade().is_none());
    }
}

#[test]
fn the_end_of_the_runtime_is_told_and_the_next_runtime_tries_again() {
    let (service, attempts) = slow();
    let first = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let waits = service.clone();
    first.block_on(async { assert!(timeout(SHORT, waits.get()).await.is_err()) });
    drop(first);
    assert_eq!(service.stats().failed, 1);
    assert!(matches!(poll_once(service.get()), Err(GetError::NoRuntime)));
    let second = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    assert_eq!(*second.block_on(service.get()).unwrap(), 2);
    assert_eq!(attempts.load(Ordering::SeqCst), 2);
}

/// Polls once, outside of any runtime.
fn poll_once<F: Future>(future: F) -> F::Output {
    let mut future = std::pin::pin!(future);
    match future.as_mut().poll(&mut std::task::Context::from_waker(std::task::Waker::noop())) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("it waits"),
    }
}
