use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{CallError, Handler, SpawnError, Worker};

/// Longer than any test needs, so that a test that hangs fails.
const SOON: Duration = Duration::from_secs(20);

/// A worker whose requests are done when the gate lets them, and what it has begun.
struct Gated {
    worker: Worker<u32, u32>,
    gate: Arc<Semaphore>,
    begun: Arc<Mutex<Vec<u32>>>,
}

fn gated(builder: super::Builder) -> Gated {
    let (gate, begun) = (Arc::new(Semaphore::new(0)), Arc::new(Mutex::new(Vec::new())));
    let (inner, log) = (Arc::clone(&gate), Arc::clone(&begun));
    let worker = builder.spawn(move || {
        let (gate, log) = (Arc::clone(&inner), Arc::clone(&log));
        move |n: u32| {
            let (gate, log) = (Arc::clone(&gate), Arc::clone(&log));
            async move {
                log.lock().unwrap().push(n);
                gate.acquire().await.unwrap().forget();
                n * 10
            }
        }
    });
    Gated { worker: worker.unwrap(), gate, begun }
}

impl Gated {
    /// Waits until a worker has so many requests in its hands.
    async fn in_hand(&self, requests: usize) {
        let reached = async {
            while self.worker.stats().in_hand != requests {
                tokio::task::yield_now().await;
            }
        };
        timeout(SOON, reached).await.expect("in hand in time");
    }
}

/// Polls once.
async fn is_pending<F: Future>(future: &mut Pin<&mut F>) -> bool {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_request_has_its_own_answer() {
    let worker = Worker::builder("squares").workers(3).mailbox(64).spawn(|| |n: u64| async move { n * n }).unwrap();
    let mut callers = JoinSet::new();
    for caller in 0..8u64 {
        let worker = worker.clone();
        callers.spawn(async move {
            for n in 0..1_000 {
                let n = caller * 1_000 + n;
                assert_eq!(worker.call(n).await, Ok(n * n));
            }
        });
    }
    timeout(SOON, callers.join_all()).await.expect("answered in time");
    let stats = worker.stats();
    assert_eq!((stats.accepted, stats.answered, stats.waiting, stats.in_hand), (8_000, 8_000, 0, 0));
}

/// Writes that are spawned one by one may land in any order, and then an older value lands last.
#[tokio::test(start_paused = true)]
async fn a_request_that_was_made_later_does_not_overtake_a_slow_one() {
    let file = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::clone(&file);
    let worker = Worker::builder("file").spawn(move || {
        let file = Arc::clone(&written);
        move |n: u64| {
            let file = Arc::clone(&file);
            async move {
                sleep(Duration::from_millis(10 - n)).await;
                file.lock().unwrap().push(n);
            }
        }
    });
    let worker = worker.unwrap();
    let mut writes = JoinSet::new();
    for n in 0..10 {
        let worker = worker.clone();
        writes.spawn(async move { worker.call(n).await });
        tokio::task::yield_now().await;
    }
    assert!(writes.join_all().await.iter().all(Result::is_ok));
    assert!(file.lock().unwrap().iter().copied().eq(0..10));
}

#[tokio::test]
async fn a_full_mailbox_gives_the_request_back() {
    let gated = gated(Worker::builder("full").mailbox(1));
    let mut first = pin!(gated.worker.call(1));
    assert!(is_pending(&mut first).await);
    gated.in_hand(1).await;
    let mut second = pin!(gated.worker.call(2));
    assert!(is_pending(&mut second).await);
    let refused = gated.worker.call(3).await.unwrap_err();
    assert_eq!(refused, CallError::Full(3));
    assert_eq!(refused.into_request(), Some(3));
    gated.gate.add_permits(2);
    assert_eq!((first.await, second.await), (Ok(10), Ok(20)));
    assert_eq!(gated.worker.stats().refused, 1);
}

#[tokio::test]
async fn a_patient_caller_waits_for_room_and_is_not_overtaken() {
    let gated = gated(Worker::builder("patient").mailbox(1).patient_max(1));
    let mut first = pin!(gated.worker.call(1));
    assert!(is_pending(&mut first).await);
    gated.in_hand(1).await;
    let mut second = pin!(gated.worker.call(2));
    assert!(is_pending(&mut second).await);
    let mut third = pin!(gated.worker.call_patiently(3));
    assert!(is_pending(&mut third).await);
    assert_eq!(gated.worker.call_patiently(4).await, Err(CallError::TooManyWaiting(4)));
    let stats = gated.worker.stats();
    assert_eq!((stats.waiting, stats.patient, stats.refused), (1, 1, 1));
    gated.gate.add_permits(1);
    assert_eq!(first.await, Ok(10));
    gated.in_hand(1).await;
    assert_eq!(gated.worker.call(5).await, Err(CallError::Full(5)), "the patient one came first");
    gated.gate.add_permits(2);
    assert_eq!((second.await, third.await), (Ok(20), Ok(30)));
    assert_eq!(*gated.begun.lock().unwrap(), [1, 2, 3]);
}

/// Callers that are not polled hear no clock.
#[tokio::test(start_paused = true)]
async fn t3_a_request_whose_time_is_over_holds_no_place() {
    let gated = gated(Worker::builder("late").mailbox(1));
    let mut first = pin!(gated.worker.call(1));
    assert!(is_pending(&mut first).await);
    gated.in_hand(1).await;
    let mut late = pin!(gated.worker.call_within(2, Duration::from_secs(1)));
    assert!(is_pending(&mut late).await);
    assert_eq!(gated.worker.call(3).await, Err(CallError::Full(3)));
    sleep(Duration::from_secs(2)).await;
    let mut fourth = pin!(gated.worker.call(4));
    assert!(is_pending(&mut fourth).await);
    assert_eq!(late.await, Err(CallError::NotStarted(2)));
    gated.gate.add_permits(2);
    assert_eq!((first.await, fourth.await), (Ok(10), Ok(40)));
}

#[tokio::test]
async fn t3_an_abandoned_request_is_not_executed_and_holds_no_place() {
    let gated = gated(Worker::builder("abandoned").mailbox(1));
    let mut first = pin!(gated.worker.call(1));
    assert!(is_pending(&mut first).await);
    gated.in_hand(1).await;
    {
        let mut gone = pin!(gated.worker.call(2));
        assert!(is_pending(&mut gone).await);
    }
    let mut third = pin!(gated.worker.call(3));
    assert!(is_pending(&mut third).await);
    gated.gate.add_permits(2);
    assert_eq!((first.await, third.await), (Ok(10), Ok(30)));
    assert_eq!(*gated.begun.lock().unwrap(), [1, 3]);
    assert_eq!(gated.worker.stats().abandoned, 1);
}

#[tokio::test]
async fn t3_a_request_in_hand_is_finished_unless_it_is_to_be_dropped() {
    for (drops, builder) in [(false, Worker::builder("finishes")), (true, Worker::builder("drops").drop_abandoned())] {
        let gated = gated(builder);
        {
            let mut gone = pin!(gated.worker.call(1));
            assert!(is_pending(&mut gone).await);
            gated.in_hand(1).await;
        }
        if drops {
            gated.in_hand(0).await;
            gated.gate.add_permits(1);
        } else {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
            assert_eq!(gated.worker.stats().in_hand, 1, "it is finished");
            gated.gate.add_permits(2);
        }
        assert_eq!(timeout(SOON, gated.worker.call(2)).await.expect("answered in time"), Ok(20));
        let stats = gated.worker.stats();
        assert_eq!((stats.answered, stats.abandoned), if drops { (1, 1) } else { (2, 0) });
    }
}

#[tokio::test(start_paused = true)]
async fn a_timeout_says_whether_the_request_was_started() {
    let gated = gated(Worker::builder("slow").timeout(Duration::from_secs(30)));
    let (first, second) = tokio::join!(gated.worker.call(1), gated.worker.call_within(2, Duration::from_secs(1)),);
    assert_eq!((first, second), (Err(CallError::TimedOut), Err(CallError::NotStarted(2))));
    assert_eq!(*gated.begun.lock().unwrap(), [1]);
    gated.gate.add_permits(2);
    assert_eq!(gated.worker.call(3).await, Ok(30));
    assert_eq!(*gated.begun.lock().unwrap(), [1, 3]);
}

/// The caller's clock has not rung yet, because it was not polled; the worker's has.
#[tokio::test(start_paused = true)]
async fn t3_a_request_whose_time_is_over_is_not_executed() {
    let gated = gated(Worker::builder("late"));
    let mut first = pin!(gated.worker.call(1));
    assert!(is_pending(&mut first).await);
    gated.in_hand(1).await;
    let mut late = pin!(gated.worker.call_within(2, Duration::from_secs(1)));
    assert!(is_pending(&mut late).await);
    sleep(Duration::from_secs(2)).await;
    gated.gate.add_permits(5);
    assert_eq!(first.await, Ok(10));
    assert_eq!(gated.worker.call(3).await, Ok(30));
    assert_eq!(late.await, Err(CallError::NotStarted(2)));
    assert_eq!(*gated.begun.lock().unwrap(), [1, 3]);
    assert_eq!(gated.worker.stats().expired, 1);
}

#[tokio::test]
async fn t1_a_panic_fails_the_request_in_hand_and_keeps_the_others() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&made);
    let worker = Worker::builder("panics")
        .spawn(move || {
            count.fetch_add(1, Ordering::SeqCst);
            let mut seen = 0;
            move |n: u32| {
                seen += 1;
                let seen = seen;
                async move {
                    tokio::task::yield_now().await;
                    assert_ne!(n, 2, "two");
                    (n, seen)
                }
            }
        })
        .unwrap();
    let (one, two, three, four) = tokio::join!(worker.call(1), worker.call(2), worker.call(3), worker.call(4));
    assert_eq!(one, Ok((1, 1)));
    let Err(CallError::Panicked(message)) = two else { panic!("{two:?}") };
    assert!(message.contains("two"), "{message}");
    assert_eq!((three, four), (Ok((3, 1)), Ok((4, 2))), "a handler that was made anew");
    assert_eq!((made.load(Ordering::SeqCst), worker.stats().panicked), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn t1_panics_in_a_row_pause_for_longer_and_the_last_gives_back_what_waits() {
    let worker = Worker::builder("poisoned")
        .backoff(Duration::from_secs(1), Duration::from_secs(2))
        .restarts_max(3)
        .spawn(|| |n: u32| -> std::future::Ready<u32> { panic!("{n}") })
        .unwrap();
    let before = Instant::now();
    let calls = (0..6).map(|n| {
        let worker = worker.clone();
        async move { worker.call(n).await.unwrap_err() }
    });
    let mut set: JoinSet<CallError<u32>> = calls.collect();
    let (mut panicked, mut stopped) = (0, 0);
    while let Some(error) = timeout(SOON * 10, set.join_next()).await.expect("answered in time") {
        match error.unwrap() {
            CallError::Panicked(_) => panicked += 1,
            CallError::Stopped(_) => stopped += 1,
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((panicked, stopped), (4, 2));
    // None, then half to all of one second, then of two.
    let took = before.elapsed();
    assert!(took >= Duration::from_millis(1_500) && took <= Duration::from_millis(3_010), "{took:?}");
    assert_eq!(worker.call(9).await, Err(CallError::Stopped(9)));
    assert_eq!(worker.stats().workers, 0);
}

#[tokio::test(start_paused = true)]
async fn t1_a_handler_that_cannot_be_made_at_first_is_made_later() {
    let made = AtomicUsize::new(0);
    let worker = Worker::builder("late").spawn(move || {
        assert!(made.fetch_add(1, Ordering::SeqCst) >= 3, "not yet");
        |n: u32| std::future::ready(n)
    });
    let worker = worker.unwrap();
    assert_eq!(worker.call(1).await, Ok(1));
    assert_eq!(worker.stats().panicked, 3);
}

/// Panics when it is dropped, if it is told to.
#[derive(Debug)]
struct Bomb {
    armed: bool,
}

impl Drop for Bomb {
    fn drop(&mut self) {
        assert!(!self.armed || std::thread::panicking(), "as the test wants");
    }
}

/// Ends at once, with what it was made of still in it.
struct Keeps {
    _bomb: Bomb,
}

impl Future for Keeps {
    type Output = Bomb;

    fn poll(self: Pin<&mut Self>, _: &mut std::task::Context<'_>) -> Poll<Bomb> {
        Poll::Ready(Bomb { armed: false })
    }
}

#[tokio::test]
async fn t1_a_request_that_panics_when_it_is_dropped_ends_no_worker() {
    async fn hangs(bomb: Bomb) {
        if bomb.armed {
            pending::<()>().await;
        }
    }
    let bomb = |armed| Bomb { armed };
    // In a handler that is dropped because its caller has gone.
    let worker = Worker::builder("abandons").drop_abandoned().spawn(|| hangs).unwrap();
    let mut abandoned = Box::pin(worker.call(bomb(true)));
    assert!(is_pending(&mut abandoned.as_mut()).await);
    while worker.stats().in_hand == 0 {
        tokio::task::yield_now().await;
    }
    drop(abandoned);
    assert!(timeout(SOON, worker.call(bomb(false))).await.expect("answered in time").is_ok());
    let stats = worker.stats();
    assert_eq!((stats.workers, stats.in_hand, stats.panicked), (1, 0, 1));

    // In a handler's future that is over.
    let worker = Worker::builder("keeps").spawn(|| |bomb| Keeps { _bomb: bomb }).unwrap();
    for armed in [true, false] {
        assert!(timeout(SOON, worker.call(bomb(armed))).await.expect("answered in time").is_ok());
    }
    assert_eq!(worker.stats().answered, 2);
}

#[tokio::test]
async fn t1_an_answer_that_panics_when_it_is_dropped_ends_no_worker() {
    let gate = Arc::new(Semaphore::new(0));
    let opens = Arc::clone(&gate);
    let make = move || {
        let gate = Arc::clone(&opens);
        move |armed: bool| {
            let gate = Arc::clone(&gate);
            async move {
                gate.acquire().await.unwrap().forget();
                Bomb { armed }
            }
        }
    };
    let worker = Worker::builder("answers").spawn(make).unwrap();
    let mut gone = Box::pin(worker.call(true));
    assert!(is_pending(&mut gone.as_mut()).await);
    while worker.stats().in_hand == 0 {
        tokio::task::yield_now().await;
    }
    drop(gone);
    gate.add_permits(2);
    assert!(timeout(SOON, worker.call(false)).await.expect("answered in time").is_ok());
    let stats = worker.stats();
    assert_eq!((stats.workers, stats.answered, stats.panicked), (1, 2, 0));
}

#[tokio::test]
async fn several_workers_answer_at_the_same_time() {
    let gated = gated(Worker::builder("three").workers(3));
    let mut calls = JoinSet::new();
    for n in 0..4 {
        let worker = gated.worker.clone();
        calls.spawn(async move { worker.call(n).await.unwrap() });
    }
    gated.in_hand(3).await;
    assert_eq!(gated.worker.stats().waiting, 1);
    gated.gate.add_permits(4);
    let mut answers = timeout(SOON, calls.join_all()).await.expect("answered in time");
    answers.sort_unstable();
    assert_eq!(answers, [0, 10, 20, 30]);
}

#[tokio::test]
async fn stopping_answers_what_was_taken_and_refuses_the_rest() {
    let gated = gated(Worker::builder("stops").workers(2));
    let mut calls = JoinSet::new();
    for n in 0..5 {
        let worker = gated.worker.clone();
        calls.spawn(async move { worker.call(n).await });
    }
    gated.in_hand(2).await;
    {
        let mut stop = pin!(gated.worker.stop());
        assert!(is_pending(&mut stop).await);
        assert_eq!(gated.worker.call(9).await, Err(CallError::Stopped(9)));
        gated.gate.add_permits(5);
        timeout(SOON, stop).await.expect("stopped in time");
    }
    assert!(calls.join_all().await.iter().all(Result::is_ok));
    let stats = gated.worker.stats();
    assert_eq!((stats.answered, stats.workers, stats.stopped), (5, 0, true));
}

#[tokio::test(start_paused = true)]
async fn t2_stopping_by_a_deadline_says_what_was_not_finished() {
    let gated = gated(Worker::builder("stuck"));
    let mut calls = JoinSet::new();
    for n in 0..3 {
        let worker = gated.worker.clone();
        calls.spawn(async move { worker.call(n).await });
        tokio::task::yield_now().await;
    }
    gated.in_hand(1).await;
    let error = gated.worker.stop_within(Duration::from_secs(1)).await.unwrap_err();
    assert_eq!((error.in_hand, error.waiting), (1, 2));
    assert_eq!(error.to_string(), "`stuck` did not stop in time: 1 requests in hand, 2 waiting");
    let mut answers = calls.join_all().await;
    answers.sort_by_key(|answer| answer.clone().unwrap_err().into_request());
    assert_eq!(answers, [Err(CallError::Dropped), Err(CallError::Stopped(1)), Err(CallError::Stopped(2))]);
}

#[tokio::test]
async fn t2_the_workers_end_with_their_last_handle() {
    struct Ends(Arc<AtomicUsize>);
    impl Drop for Ends {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::SeqCst);
        }
    }
    impl Handler<()> for Ends {
        type Reply = ();

        async fn handle(&mut self, (): ()) {
            pending::<()>().await;
        }
    }
    let ended = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&ended);
    let worker = Worker::builder("ends").workers(2).spawn(move || Ends(Arc::clone(&count))).unwrap();
    let clone = worker.clone();
    let call = tokio::spawn(async move { worker.call(()).await });
    while clone.stats().in_hand == 0 {
        tokio::task::yield_now().await;
    }
    drop(clone);
    assert_eq!(ended.load(Ordering::SeqCst), 0, "the caller has a handle");
    call.abort();
    let all = async {
        while ended.load(Ordering::SeqCst) < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, all).await.expect("ended in time");
}

#[test]
fn a_worker_without_a_runtime_is_refused() {
    let worker = Worker::builder("nowhere").spawn(|| |n: u32| std::future::ready(n));
    assert_eq!(worker.unwrap_err(), SpawnError::NoRuntime);
}
