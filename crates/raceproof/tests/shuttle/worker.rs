//! Workers: T1, T2, T3, with callers that give up at any await.

use std::sync::Arc;
use std::time::Duration;

use raceproof::worker::{Builder, CallError, Worker};
use shuttle::future::{block_on, spawn, yield_now};
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicU32, Ordering};

use super::{check, finish, given_up_after, polls};

/// What the handlers have seen.
#[derive(Default)]
struct Seen {
    begun: Mutex<Vec<u32>>,
    inside: AtomicU32,
    handlers: AtomicU32,
}

/// Counts the handlers that live.
struct Lives(Arc<Seen>);

impl Lives {
    fn new(seen: &Arc<Seen>) -> Self {
        seen.handlers.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(seen))
    }
}

impl Drop for Lives {
    fn drop(&mut self) {
        self.0.handlers.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Counts the requests in hand, those that are dropped included.
struct Inside(Arc<Seen>);

impl Inside {
    fn enter(seen: &Arc<Seen>, most: u32) -> Self {
        assert!(seen.inside.fetch_add(1, Ordering::SeqCst) < most, "more at a time than workers");
        Self(Arc::clone(seen))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.inside.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Answers with ten times the request, and panics at 7.
fn worker(builder: Builder, at_a_time: u32) -> (Worker<u32, u32>, Arc<Seen>) {
    let seen = Arc::<Seen>::default();
    let log = Arc::clone(&seen);
    let worker = builder.spawn(move || {
        let lives = Lives::new(&log);
        move |n: u32| {
            let seen = Arc::clone(&lives.0);
            async move {
                seen.begun.lock().unwrap().push(n);
                if n == 7 {
                    // Not a panic that prints: there are many.
                    std::panic::resume_unwind(Box::new("seven"));
                }
                let _inside = Inside::enter(&seen, at_a_time);
                yield_now().await;
                n * 10
            }
        }
    });
    (worker.unwrap(), seen)
}

#[test]
fn t3_each_caller_has_its_own_answer_or_has_gone_and_is_not_executed_after_that() {
    for workers in [1, 2] {
        check(move || {
            block_on(async {
                let (worker, seen) = worker(Worker::builder("w").mailbox(8).workers(workers), workers as u32);
                let caller = |n: u32| {
                    let (worker, seen) = (worker.clone(), Arc::clone(&seen));
                    let polls = polls(5);
                    spawn(async move {
                        let answer = match n {
                            0 => Some(worker.call(n).await),
                            _ => given_up_after(polls, worker.call(n)).await,
                        };
                        if let Some(answer) = answer {
                            assert_eq!(answer, Ok(n * 10), "another one's answer");
                            return;
                        }
                        // One that a worker had by then may yet be begun.
                        let in_hand = worker.stats().in_hand;
                        let begun = seen.begun.lock().unwrap().contains(&n);
                        for _ in 0..4 {
                            yield_now().await;
                            let now = seen.begun.lock().unwrap().contains(&n);
                            assert!(in_hand > 0 || now == begun, "T3: begun after its caller had gone");
                        }
                    })
                };
                finish((0..4).map(caller).collect::<Vec<_>>()).await;
                assert_eq!(worker.call(5).await, Ok(50));
                worker.stop().await;
                let (stats, begun) = (worker.stats(), seen.begun.lock().unwrap().clone());
                assert_eq!((stats.waiting, stats.in_hand, stats.workers), (0, 0, 0));
                assert_eq!(stats.answered, begun.len() as u64);
                assert_eq!(stats.answered + stats.abandoned, stats.accepted, "a request was lost");
            });
        });
    }
}

#[test]
fn t3_a_place_is_free_as_soon_as_its_caller_has_gone() {
    check(|| {
        block_on(async {
            let (worker, seen) = worker(Worker::builder("w").mailbox(1), 1);
            let caller = |n: u32| {
                let worker = worker.clone();
                spawn(async move {
                    let _ = given_up_after(polls(3), worker.call(n)).await;
                })
            };
            finish((0..3).map(caller).collect::<Vec<_>>()).await;
            // All have gone, so there is at most one in hand.
            assert_eq!(worker.call(5).await, Ok(50), "T3: somebody who has gone holds a place");
            worker.stop().await;
            drop(seen);
        });
    });
}

#[test]
fn t3_patient_callers_are_all_answered_whoever_gives_up() {
    check(|| {
        block_on(async {
            let (worker, seen) = worker(Worker::builder("w").mailbox(1).patient_max(8), 1);
            let caller = |n: u32| {
                let worker = worker.clone();
                spawn(async move {
                    match n {
                        0 => drop(given_up_after(polls(4), worker.call_patiently(n)).await),
                        1 => assert!(matches!(worker.call(n).await, Ok(10) | Err(CallError::Full(1)))),
                        _ => assert_eq!(worker.call_patiently(n).await, Ok(n * 10)),
                    }
                })
            };
            finish((0..5).map(caller).collect::<Vec<_>>()).await;
            worker.stop().await;
            let stats = worker.stats();
            assert_eq!((stats.waiting, stats.patient), (0, 0));
            assert_eq!(stats.answered, seen.begun.lock().unwrap().len() as u64);
            assert_eq!(stats.answered + stats.abandoned, stats.accepted, "a request was lost");
        });
    });
}

#[test]
fn t3_a_request_in_hand_is_dropped_with_its_caller_if_that_is_wanted() {
    check(|| {
        block_on(async {
            let (worker, seen) = worker(Worker::builder("w").drop_abandoned(), 1);
            let caller = |n: u32| {
                let worker = worker.clone();
                spawn(async move { given_up_after(polls(5), worker.call(n)).await })
            };
            for answer in finish((1..4).map(caller).collect::<Vec<_>>()).await.into_iter().flatten() {
                assert!(answer.is_ok_and(|answer| answer % 10 == 0));
            }
            assert_eq!(worker.call(5).await, Ok(50));
            worker.stop().await;
            let stats = worker.stats();
            assert_eq!(stats.answered + stats.abandoned, stats.accepted);
            drop(seen);
        });
    });
}

#[test]
fn t3_a_time_limit_says_whether_the_request_was_begun() {
    check(|| {
        block_on(async {
            let (worker, seen) = worker(Worker::builder("w").timeout(Duration::from_secs(1)), 1);
            let caller = |n: u32| {
                let (worker, seen) = (worker.clone(), Arc::clone(&seen));
                spawn(async move {
                    let answer = worker.call(n).await;
                    let begun = seen.begun.lock().unwrap().contains(&n);
                    match answer {
                        Ok(answer) => assert!(begun && answer == n * 10),
                        Err(CallError::TimedOut) => {}
                        Err(CallError::NotStarted(back)) => assert!(!begun && back == n, "T3: begun all the same"),
                        Err(other) => panic!("{other}"),
                    }
                })
            };
            finish((0..3).map(caller).collect::<Vec<_>>()).await;
            worker.stop().await;
            let stats = worker.stats();
            assert_eq!(stats.answered, seen.begun.lock().unwrap().len() as u64);
            assert_eq!(stats.answered + stats.abandoned + stats.expired, stats.accepted);
        });
    });
}

#[test]
fn t1_a_panic_costs_the_request_in_hand_and_no_other() {
    for workers in [1, 2] {
        check(move || {
            block_on(async {
                let (worker, _) = worker(Worker::builder("w").workers(workers), workers as u32);
                let caller = |n: u32| {
                    let worker = worker.clone();
                    spawn(async move { worker.call(n).await })
                };
                let answers = finish([1, 7, 2, 7, 3].map(caller)).await;
                let panicked = |answer: &Result<u32, CallError<u32>>| matches!(answer, Err(CallError::Panicked(_)));
                assert_eq!(answers.iter().filter(|answer| panicked(answer)).count(), 2);
                let answered: Vec<u32> = answers.into_iter().flatten().collect();
                assert_eq!(answered, [10, 20, 30], "T1: another request was lost");
                assert_eq!(worker.stats().panicked, 2);
                worker.stop().await;
            });
        });
    }
}

#[test]
fn t1_when_the_last_worker_gives_up_every_caller_is_answered() {
    check(|| {
        block_on(async {
            let (worker, _) = worker(Worker::builder("w").workers(2).restarts_max(0), 2);
            let caller = |_| {
                let worker = worker.clone();
                spawn(async move { worker.call(7).await })
            };
            let answers = finish((0..4).map(caller).collect::<Vec<_>>()).await;
            let panicked = answers.iter().filter(|answer| matches!(answer, Err(CallError::Panicked(_)))).count();
            let stopped = answers.iter().filter(|answer| matches!(answer, Err(CallError::Stopped(7)))).count();
            assert_eq!((panicked, stopped), (2, 2));
            assert_eq!(worker.stats().workers, 0);
        });
    });
}

#[test]
fn t2_stopping_answers_what_was_taken_or_gives_it_back() {
    check(|| {
        block_on(async {
            let (worker, seen) = worker(Worker::builder("w").workers(2), 2);
            let caller = |n: u32| {
                let worker = worker.clone();
                spawn(async move { worker.call(n).await })
            };
            let callers: Vec<_> = (0..3).map(caller).collect();
            yield_now().await;
            // Its time may be over at any moment.
            let stopped = worker.stop_within(Duration::from_secs(1)).await;
            let answers = finish(callers).await;
            for (n, answer) in (0..).zip(&answers) {
                match answer {
                    Ok(answer) => assert_eq!(*answer, n * 10),
                    Err(CallError::Stopped(back)) => assert_eq!(*back, n),
                    Err(CallError::Dropped) => assert!(stopped.is_err()),
                    Err(other) => panic!("{other}"),
                }
            }
            worker.stop().await;
            assert_eq!((seen.handlers.load(Ordering::SeqCst), worker.stats().in_hand), (0, 0), "T2: something is left");
        });
    });
}

#[test]
fn t2_the_workers_end_with_their_last_handle() {
    check(|| {
        block_on(async {
            let (worker, seen) = worker(Worker::builder("w").workers(2), 2);
            let callers: Vec<_> = (0..2)
                .map(|n| {
                    let (worker, polls) = (worker.clone(), polls(4));
                    spawn(async move { drop(given_up_after(polls, worker.call(n)).await) })
                })
                .collect();
            drop(worker);
            finish(callers).await;
            while seen.handlers.load(Ordering::SeqCst) > 0 {
                yield_now().await;
            }
        });
    });
}
