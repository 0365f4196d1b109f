//! Background tasks: T1, T2, with tasks that are cancelled, replaced and given up at any await.

use std::sync::Arc;
use std::time::Duration;

use raceproof::task::{CancelToken, Outcome, Overlap, Restart, Supervisor, TaskHandle};
use shuttle::future::{block_on, spawn, yield_now};
use shuttle::sync::atomic::{AtomicU32, Ordering};

use super::{check, finish, given_up_after, polls};

/// Counts the bodies that live.
struct Inside(Arc<AtomicU32>);

impl Inside {
    fn enter(count: &Arc<AtomicU32>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Not a panic that prints: there are many.
fn panics() {
    std::panic::resume_unwind(Box::new("on purpose"));
}

#[test]
fn t1_of_one_name_one_runs_at_a_time_and_every_task_is_settled() {
    check(|| {
        block_on(async {
            let supervisor = Supervisor::builder().grace(Duration::from_secs(1)).build();
            let (inside, begun) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
            let caller = |n: usize| {
                let (supervisor, inside, begun) = (supervisor.clone(), Arc::clone(&inside), Arc::clone(&begun));
                spawn(async move {
                    let overlaps = [Overlap::Skip, Overlap::QueueOne, Overlap::QueueAll, Overlap::Replace];
                    let body = move |_| async move {
                        begun.fetch_add(1, Ordering::SeqCst);
                        let _inside = Inside::enter(&inside);
                        assert_eq!(inside.load(Ordering::SeqCst), 1, "T1: two at a time");
                        yield_now().await;
                        if n == 2 {
                            panics();
                        }
                    };
                    let task = supervisor.task("one").overlap(overlaps[(n + polls(4)) % 4]).spawn(body).ok()?;
                    // Whoever stops waiting changes nothing.
                    let _ = given_up_after(polls(3), task.outcome()).await;
                    Some(task.outcome().await)
                })
            };
            let outcomes = finish((0..4).map(caller).collect::<Vec<_>>()).await;
            assert!(
                outcomes
                    .iter()
                    .flatten()
                    .all(|outcome| !matches!(outcome, Outcome::Panicked(text) if text.contains("T1")))
            );
            supervisor.idle().await;
            assert_eq!(inside.load(Ordering::SeqCst), 0);
            let stats = supervisor.stats();
            // One that is stopped by force may not have come to its first step.
            assert!(stats.started >= u64::from(begun.load(Ordering::SeqCst)));
            assert_eq!((stats.queued, stats.pausing, stats.running.len()), (0, 0, 0));
        });
    });
}

#[test]
fn t1_a_panic_frees_the_name() {
    check(|| {
        block_on(async {
            let supervisor = Supervisor::new();
            let first = supervisor.task("one").spawn(|_| async {
                yield_now().await;
                panics();
            });
            let second = supervisor.task("one").overlap(Overlap::QueueAll).spawn(|_| async {}).unwrap();
            assert_eq!(first.unwrap().outcome().await, Outcome::Panicked("on purpose".into()));
            assert_eq!(second.outcome().await, Outcome::Completed);
            supervisor.idle().await;
            assert!(supervisor.task("one").spawn(|_| async {}).is_ok());
        });
    });
}

#[test]
fn t1_a_task_that_fails_comes_back_until_it_is_cancelled_or_gives_up() {
    check(|| {
        block_on(async {
            let supervisor = Supervisor::new();
            let (starts, inside) = (Arc::new(AtomicU32::new(0)), Arc::new(AtomicU32::new(0)));
            let (count, alive) = (Arc::clone(&starts), Arc::clone(&inside));
            let task = supervisor.task("feed").restarts_max(2).supervise(Restart::OnFailure, move |_| {
                let (starts, inside) = (Arc::clone(&count), Inside::enter(&alive));
                async move {
                    starts.fetch_add(1, Ordering::SeqCst);
                    yield_now().await;
                    assert_eq!(inside.0.load(Ordering::SeqCst), 1, "T1: two at a time");
                    Err::<(), _>("no feed")
                }
            });
            let task = task.unwrap();
            let cancels = spawn({
                let (task, polls) = (task.clone(), polls(12));
                async move {
                    for _ in 0..polls {
                        yield_now().await;
                    }
                    task.cancel();
                }
            });
            let outcome = task.outcome().await;
            let starts = starts.load(Ordering::SeqCst);
            match outcome {
                Outcome::GaveUp { restarts, .. } => assert_eq!((restarts, starts), (2, 3)),
                Outcome::Cancelled { .. } | Outcome::Aborted => assert!(starts <= 3),
                other => panic!("{other:?}"),
            }
            assert_eq!(inside.load(Ordering::SeqCst), 0);
            cancels.await.unwrap();
        });
    });
}

/// One that ends when it is asked, one that does not, and one that waits for it.
fn three(supervisor: &Supervisor, inside: &Arc<AtomicU32>) -> [TaskHandle; 3] {
    let polite = {
        let inside = Inside::enter(inside);
        supervisor.task("polite").spawn(move |cancel: CancelToken| async move {
            let _inside = inside;
            cancel.cancelled().await;
        })
    };
    let deaf = {
        let inside = Inside::enter(inside);
        supervisor.task("deaf").spawn(move |_| async move {
            let _inside = inside;
            std::future::pending::<()>().await;
        })
    };
    let waits = supervisor.task("deaf").overlap(Overlap::QueueAll).spawn(|_| async { panic!("it must not start") });
    [polite.unwrap(), deaf.unwrap(), waits.unwrap()]
}

#[test]
fn t2_a_shutdown_ends_everything_also_if_its_caller_goes_away() {
    check(|| {
        block_on(async {
            let supervisor = Supervisor::new();
            let inside = Arc::new(AtomicU32::new(0));
            let [polite, deaf, waits] = three(&supervisor, &inside);
            yield_now().await;
            let _ = given_up_after(polls(5), supervisor.shutdown(Duration::from_secs(1))).await;
            let report = supervisor.shutdown(Duration::from_secs(1)).await;
            let named = report.aborted.iter().chain(&report.stuck).any(|name| name == "deaf");
            let deaf = deaf.outcome().await;
            // Its body may not have been polled when it was stopped.
            assert!(named == (deaf == Outcome::Aborted), "T2: {report:?}, {deaf:?}");
            assert!(matches!(polite.outcome().await, Outcome::Cancelled { .. } | Outcome::Aborted));
            assert_eq!(waits.outcome().await, Outcome::Cancelled { started: false });
            supervisor.idle().await;
            assert_eq!(inside.load(Ordering::SeqCst), 0, "T2: something is left");
        });
    });
}

#[test]
fn t2_nothing_outlives_a_supervisor_that_is_dropped() {
    check(|| {
        block_on(async {
            let supervisor = Supervisor::new();
            let inside = Arc::new(AtomicU32::new(0));
            let tasks = three(&supervisor, &inside);
            let other = spawn({
                let supervisor = supervisor.clone();
                async move {
                    yield_now().await;
                    drop(supervisor);
                }
            });
            drop(supervisor);
            other.await.unwrap();
            for task in tasks {
                assert!(matches!(task.outcome().await, Outcome::Cancelled { .. } | Outcome::Aborted));
            }
            assert_eq!(inside.load(Ordering::SeqCst), 0, "T2: something is left");
        });
    });
}

#[test]
fn t2_a_replaced_task_is_gone_before_the_next_begins() {
    check(|| {
        block_on(async {
            let supervisor = Supervisor::builder().grace(Duration::from_secs(1)).build();
            let inside = Arc::new(AtomicU32::new(0));
            let start = |polite: bool| {
                let inside = Arc::clone(&inside);
                let body = move |cancel: CancelToken| async move {
                    let _inside = Inside::enter(&inside);
                    assert_eq!(inside.load(Ordering::SeqCst), 1, "T2: the one before it still lives");
                    if polite { cancel.cancelled().await } else { std::future::pending().await }
                };
                supervisor.task("one").overlap(Overlap::Replace).spawn(body).unwrap()
            };
            let tasks = [start(true), start(false), start(true)];
            tasks[2].cancel();
            for task in &tasks {
                let outcome = task.outcome().await;
                assert!(!matches!(outcome, Outcome::Panicked(_)), "{outcome:?}");
            }
            supervisor.idle().await;
            assert_eq!(inside.load(Ordering::SeqCst), 0);
        });
    });
}

#[test]
fn t2_a_token_that_is_cancelled_reaches_every_child() {
    check(|| {
        block_on(async {
            let parent = CancelToken::new();
            let child = |_| {
                let parent = parent.clone();
                spawn(async move {
                    let grandchild = parent.child().child();
                    let _ = given_up_after(polls(3), grandchild.cancelled()).await;
                    grandchild.cancelled().await;
                })
            };
            let children: Vec<_> = (0..3).map(child).collect();
            let cancels = spawn({
                let parent = parent.clone();
                async move { parent.cancel() }
            });
            // That it ends is the proof: shuttle fails a test whose tasks all wait.
            finish(children).await;
            cancels.await.unwrap();
        });
    });
}
