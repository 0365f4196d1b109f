use std::future::pending;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{Accepted, CancelToken, Event, EventKind, Outcome, Overlap, Restart, SpawnError, Supervisor, TaskHandle};
use crate::background_task;
use crate::events::Subscriber;

/// Longer than any test needs, so that a test that hangs fails.
const SOON: Duration = Duration::from_secs(20);

async fn outcome(task: &TaskHandle) -> Outcome {
    timeout(SOON, task.outcome()).await.expect("the task is over in time")
}

fn kinds(events: &mut Subscriber<Event>) -> Vec<(String, EventKind)> {
    let next = || events.try_recv().ok().flatten().and_then(crate::events::Received::event);
    std::iter::from_fn(next).map(|event| (event.name.to_string(), event.kind.clone())).collect()
}

/// Counts those that live.
struct Inside(Arc<AtomicUsize>);

impl Inside {
    fn enter(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Panics when it is dropped.
struct Bomb;

impl Drop for Bomb {
    fn drop(&mut self) {
        panic!("when it is dropped");
    }
}

#[tokio::test]
async fn t1_what_panics_when_it_is_dropped_stops_nobody_else() {
    let supervisor = Supervisor::new();
    let gate = Arc::new(Semaphore::new(0));
    let opened = Arc::clone(&gate);
    let first = background_task!(supervisor, "one", async move { opened.acquire().await.unwrap().forget() }).unwrap();
    let bomb = Bomb;
    let waits = supervisor.task("one").overlap(Overlap::QueueAll).spawn(move |_| {
        let _bomb = &bomb;
        async {}
    });
    let waits = waits.unwrap();
    waits.cancel();
    assert_eq!(outcome(&waits).await, Outcome::Cancelled { started: false });
    gate.add_permits(1);
    assert_eq!(outcome(&first).await, Outcome::Completed);
    assert_eq!(outcome(&background_task!(supervisor, "one", async {}).unwrap()).await, Outcome::Completed);
}

/// A flag in a macro is per call site, and stays set after a panic; a name is neither.
#[tokio::test]
async fn t1_a_panic_frees_the_name_and_is_an_event() {
    let supervisor = Supervisor::new();
    let mut events = supervisor.events().unwrap();
    let start = |panics: bool| {
        background_task!(supervisor, "sync", async move {
            tokio::task::yield_now().await;
            assert!(!panics, "boom");
        })
    };
    let first = start(true).unwrap();
    assert!(matches!(start(false), Err(SpawnError::Running { name, .. }) if name == "sync"));
    let Outcome::Panicked(message) = outcome(&first).await else { panic!("it panicked") };
    assert_eq!(message, "boom");
    assert_eq!(outcome(&start(false).unwrap()).await, Outcome::Completed);

    let seen = kinds(&mut events);
    assert!(seen.contains(&("sync".into(), EventKind::Panicked("boom".into()))), "{seen:?}");
    let stats = supervisor.stats();
    assert_eq!((stats.started, stats.panicked, stats.refused, stats.running.len()), (2, 1, 1, 0));
}

#[tokio::test]
async fn t1_a_name_is_the_supervisors_and_not_the_call_sites() {
    let (one, two) = (Supervisor::new(), Supervisor::new());
    let start = |supervisor: &Supervisor, name: &str| {
        background_task!(supervisor, name, |cancel| async move {
            cancel.cancelled().await;
        })
    };
    start(&one, "a").unwrap();
    start(&one, "b").unwrap();
    start(&two, "a").unwrap();
    assert!(background_task!(one, "a", async {}).is_err(), "another call site, the same name");
}

#[tokio::test]
async fn t1_a_panic_before_the_first_await_is_one_like_any_other() {
    let supervisor = Supervisor::new();
    let task = supervisor.task("early").spawn(|_| -> std::future::Ready<()> { panic!("{}", "early") }).unwrap();
    assert_eq!(outcome(&task).await, Outcome::Panicked("early".into()));
    assert!(supervisor.stats().running.is_empty());
}

#[tokio::test(start_paused = true)]
async fn t1_a_task_that_fails_is_started_again_with_longer_pauses_until_it_gives_up() {
    let supervisor = Supervisor::new();
    let starts = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&starts);
    let feed = supervisor.task("feed").backoff(Duration::from_millis(100), Duration::from_millis(300)).restarts_max(4);
    let task = feed.supervise(Restart::OnFailure, move |_| {
        let log = Arc::clone(&log);
        async move {
            log.lock().unwrap().push(Instant::now());
            let starts = log.lock().unwrap().len();
            assert!(starts % 2 == 0, "feed broke");
            Err::<(), _>(format!("no feed at start {starts}"))
        }
    });
    let outcome = outcome(&task.unwrap()).await;
    let Outcome::GaveUp { restarts: 4, last } = outcome else { panic!("{outcome:?}") };
    assert!(last.contains("feed broke"), "{last}");
    let starts = starts.lock().unwrap().clone();
    for (pair, longest) in starts.windows(2).zip([100, 200, 300, 300].map(Duration::from_millis)) {
        let pause = pair[1] - pair[0];
        // The runtime's clock counts whole milliseconds.
        assert!(pause >= longest / 2 && pause <= longest + Duration::from_millis(1), "{pause:?} of {longest:?}");
    }
    let stats = supervisor.stats();
    assert_eq!((stats.started, stats.panicked, stats.failed), (5, 3, 2));
}

#[tokio::test(start_paused = true)]
async fn t1_a_task_restarts_as_its_supervisor_says_unless_it_says_otherwise() {
    let mut config = crate::config::TaskConfig::default();
    (config.restarts_max, config.healthy_after) = (2, Duration::from_secs(1));
    (config.backoff, config.backoff_max) = (Duration::from_secs(40), Duration::from_secs(40));
    let supervisor = config.supervisor();
    let fails = |after| {
        move |_: CancelToken| async move {
            sleep(after).await;
            Err::<(), _>("down")
        }
    };
    let began = Instant::now();
    let task = supervisor.task("feed").supervise(Restart::OnFailure, fails(Duration::ZERO)).unwrap();
    let gave_up = timeout(Duration::from_secs(100), task.outcome()).await.unwrap();
    assert!(matches!(gave_up, Outcome::GaveUp { restarts: 2, .. }), "{gave_up:?}");
    assert!(began.elapsed() >= Duration::from_secs(40), "two pauses, each at least half of 40 s");
    let own = supervisor.task("own").restarts_max(0).supervise(Restart::OnFailure, fails(Duration::ZERO)).unwrap();
    assert!(matches!(outcome(&own).await, Outcome::GaveUp { restarts: 0, .. }));
    let well = supervisor.task("well").supervise(Restart::OnFailure, fails(Duration::from_secs(2))).unwrap();
    assert!(timeout(Duration::from_secs(400), well.outcome()).await.is_err(), "it was well before each failure");
}

#[tokio::test(start_paused = true)]
async fn t1_the_name_is_taken_while_a_task_pauses_and_cancelling_ends_the_pause() {
    let supervisor = Supervisor::new();
    let task = supervisor
        .task("feed")
        .backoff(Duration::from_secs(60), Duration::from_secs(60))
        .supervise(Restart::Always, |_| std::future::ready(()))
        .unwrap();
    while supervisor.stats().pausing == 0 {
        tokio::task::yield_now().await;
    }
    assert!(matches!(supervisor.task("feed").spawn(|_| async {}), Err(SpawnError::Running { .. })));
    let before = Instant::now();
    task.cancel();
    assert_eq!(outcome(&task).await, Outcome::Cancelled { started: true });
    assert_eq!(before.elapsed(), Duration::ZERO);
    assert_eq!(supervisor.stats().started, 1);
}

#[tokio::test(start_paused = true)]
async fn t2_shutting_down_stops_by_force_at_the_deadline_and_says_whom() {
    let supervisor = Supervisor::new();
    let inside = Arc::new(AtomicUsize::new(0));
    let guard = |inside: &Arc<AtomicUsize>| Inside::enter(inside);
    let polite = {
        let inside = guard(&inside);
        background_task!(supervisor, "polite", |cancel| async move {
            let _inside = inside;
            cancel.cancelled().await;
            sleep(Duration::from_secs(1)).await;
        })
    };
    let deaf = {
        let inside = guard(&inside);
        background_task!(supervisor, "deaf", async move {
            let _inside = inside;
            pending::<()>().await;
        })
    };
    let queued = background_task!(supervisor, "deaf", overlap = Overlap::QueueAll, async {});
    let before = Instant::now();
    let report = supervisor.shutdown(Duration::from_secs(3)).await;
    assert_eq!(before.elapsed(), Duration::from_secs(3));
    assert_eq!((report.aborted.as_slice(), report.stuck.as_slice()), (&["deaf".to_owned()][..], &[][..]));
    assert!(!report.is_clean());
    assert_eq!(inside.load(Ordering::SeqCst), 0, "nothing is left");
    assert_eq!(outcome(&polite.unwrap()).await, Outcome::Cancelled { started: true });
    assert_eq!(outcome(&deaf.unwrap()).await, Outcome::Aborted);
    assert_eq!(outcome(&queued.unwrap()).await, Outcome::Cancelled { started: false });
    assert_eq!(background_task!(supervisor, "late", async {}).unwrap_err(), SpawnError::ShuttingDown);
}

#[tokio::test(start_paused = true)]
async fn t2_a_shutdown_that_everybody_obeys_is_over_at_once_and_clean() {
    let supervisor = Supervisor::new();
    for name in ["a", "b"] {
        background_task!(supervisor, name, |cancel| async move { cancel.cancelled().await }).unwrap();
    }
    let before = Instant::now();
    assert!(supervisor.shutdown(Duration::from_secs(60)).await.is_clean());
    assert_eq!(before.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn t2_a_shutdown_may_have_all_the_time_there_is() {
    let supervisor = Supervisor::builder().grace(Duration::MAX).build();
    let polite = background_task!(supervisor, "polite", |cancel| async move {
        cancel.cancelled().await;
        sleep(Duration::from_secs(3_600)).await;
    });
    tokio::task::yield_now().await;
    assert_eq!(supervisor.cancel("polite"), 1);
    assert!(supervisor.shutdown(Duration::MAX).await.is_clean());
    assert_eq!(polite.unwrap().try_outcome(), Some(Outcome::Cancelled { started: true }));
}

#[tokio::test(start_paused = true)]
async fn t2_a_shutdown_whose_caller_goes_away_still_ends_everything() {
    let supervisor = Supervisor::new();
    let task = background_task!(supervisor, "deaf", pending::<()>()).unwrap();
    let shutdown = timeout(Duration::from_secs(1), supervisor.shutdown(Duration::from_secs(2)));
    assert!(shutdown.await.is_err());
    assert_eq!(outcome(&task).await, Outcome::Aborted);
    assert_eq!(supervisor.shutdown(Duration::ZERO).await.aborted, ["deaf"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t2_a_task_that_blocks_its_thread_is_named() {
    let supervisor = Supervisor::new();
    let (release, blocked) = mpsc::channel::<()>();
    let (inside, entered) = oneshot::channel();
    let task = background_task!(supervisor, "blocks", async move {
        let _ = inside.send(());
        let _ = blocked.recv_timeout(SOON);
    })
    .unwrap();
    timeout(SOON, entered).await.expect("it runs in time").unwrap();
    let report = supervisor.shutdown(Duration::from_millis(10)).await;
    assert_eq!(report.stuck, ["blocks"]);
    assert!(supervisor.stats().running.first().is_some_and(|running| running.stopping));
    release.send(()).unwrap();
    assert_eq!(outcome(&task).await, Outcome::Cancelled { started: true });
}

#[tokio::test]
async fn t2_nothing_outlives_a_supervisor_that_is_dropped() {
    let inside = Arc::new(AtomicUsize::new(0));
    let supervisor = Supervisor::new();
    let mut tasks = Vec::new();
    for name in ["a", "b"] {
        let inside = Inside::enter(&inside);
        let task = supervisor.task(name).supervise(Restart::Always, move |_| {
            let _both = &inside;
            pending::<()>()
        });
        tasks.push(task.unwrap());
    }
    let waits = background_task!(supervisor, "a", overlap = Overlap::QueueOne, async { panic!("it must not start") });
    tokio::task::yield_now().await;
    let clone = supervisor.clone();
    drop(supervisor);
    assert_eq!(clone.stats().running.len(), 2, "a clone keeps them");
    drop(clone);
    for task in &tasks {
        assert_eq!(outcome(task).await, Outcome::Aborted);
    }
    assert_eq!(outcome(&waits.unwrap()).await, Outcome::Cancelled { started: false });
    assert_eq!(inside.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn t2_a_name_is_free_only_after_everything_of_its_body_is_dropped() {
    struct Slow(Arc<Mutex<Vec<&'static str>>>);
    impl Drop for Slow {
        fn drop(&mut self) {
            self.0.lock().unwrap().push("dropped");
        }
    }
    let supervisor = Supervisor::builder().grace(Duration::ZERO).build();
    let log = Arc::new(Mutex::new(Vec::new()));
    let slow = Slow(Arc::clone(&log));
    background_task!(supervisor, "one", async move {
        let _slow = slow;
        pending::<()>().await;
    })
    .unwrap();
    tokio::task::yield_now().await;
    let second = Arc::clone(&log);
    let task = background_task!(supervisor, "one", overlap = Overlap::Replace, async move {
        second.lock().unwrap().push("started");
    });
    assert_eq!(outcome(&task.unwrap()).await, Outcome::Completed);
    assert_eq!(*log.lock().unwrap(), ["dropped", "started"]);
}

/// What it is started with belongs to a body that may be started again, too.
#[tokio::test]
async fn t2_a_name_is_free_only_after_everything_of_a_body_that_may_come_back_is_dropped() {
    /// Looks how many have been started when it is dropped.
    struct Last(Supervisor, Arc<AtomicUsize>);
    impl Drop for Last {
        fn drop(&mut self) {
            self.1.store(usize::try_from(self.0.stats().started).unwrap(), Ordering::SeqCst);
        }
    }
    let supervisor = Supervisor::builder().grace(Duration::ZERO).build();
    let started = Arc::new(AtomicUsize::new(0));
    let last = Last(supervisor.clone(), Arc::clone(&started));
    let first = supervisor.task("one").supervise(Restart::Always, move |_| {
        let _last = &last;
        pending::<()>()
    });
    tokio::task::yield_now().await;
    let second = background_task!(supervisor, "one", overlap = Overlap::Replace, async {});
    assert_eq!(outcome(&first.unwrap()).await, Outcome::Aborted);
    assert_eq!(outcome(&second.unwrap()).await, Outcome::Completed);
    assert_eq!(started.load(Ordering::SeqCst), 1, "the next one was started before it");
}

#[tokio::test(start_paused = true)]
async fn replace_gives_the_running_one_its_grace() {
    let supervisor = Supervisor::builder().grace(Duration::from_secs(5)).build();
    let first = background_task!(supervisor, "one", |cancel| async move {
        cancel.cancelled().await;
        sleep(Duration::from_secs(2)).await;
    })
    .unwrap();
    tokio::task::yield_now().await;
    let before = Instant::now();
    let second = background_task!(supervisor, "one", overlap = Overlap::Replace, pending::<()>()).unwrap();
    assert_eq!(outcome(&first).await, Outcome::Replaced { started: true });
    assert_eq!(before.elapsed(), Duration::from_secs(2));
    tokio::task::yield_now().await;
    let third = background_task!(supervisor, "one", overlap = Overlap::Replace, async {}).unwrap();
    assert_eq!(outcome(&third).await, Outcome::Completed);
    assert_eq!(outcome(&second).await, Outcome::Aborted);
    assert_eq!(before.elapsed(), Duration::from_secs(7));
}

#[tokio::test]
async fn coalesced_tasks_share_one_run_and_its_outcome() {
    let supervisor = Supervisor::new();
    let gate = Arc::new(Semaphore::new(0));
    let runs = Arc::new(Mutex::new(Vec::new()));
    let start = |n: usize| {
        let (gate, runs) = (Arc::clone(&gate), Arc::clone(&runs));
        background_task!(supervisor, "save", overlap = Overlap::QueueOne, async move {
            gate.acquire().await.unwrap().forget();
            runs.lock().unwrap().push(n);
            Err::<(), _>("disk full")
        })
        .unwrap()
    };
    let tasks: Vec<TaskHandle> = (0..5).map(start).collect();
    let how: Vec<Accepted> = tasks.iter().map(TaskHandle::accepted).collect();
    assert_eq!(how[..3], [Accepted::Started, Accepted::Queued, Accepted::Coalesced]);
    gate.add_permits(5);
    for task in &tasks {
        assert_eq!(outcome(task).await, Outcome::Failed("disk full".into()));
    }
    assert_eq!(*runs.lock().unwrap(), [0, 1], "the bodies of the others are not used");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_one_name_one_runs_at_a_time_and_every_task_is_settled() {
    let supervisor = Supervisor::builder().queue_max(8).grace(Duration::from_millis(1)).build();
    let inside = Arc::new(AtomicUsize::new(0));
    let mut callers = JoinSet::new();
    for caller in 0..8usize {
        let (supervisor, inside) = (supervisor.clone(), Arc::clone(&inside));
        callers.spawn(async move {
            let mut tasks = Vec::new();
            for n in 0..60 {
                let overlap = [Overlap::Skip, Overlap::QueueOne, Overlap::QueueAll, Overlap::Replace][(caller + n) % 4];
                let inside = Arc::clone(&inside);
                let task = supervisor.task("one").overlap(overlap).spawn(move |_| async move {
                    let _inside = Inside::enter(&inside);
                    assert_eq!(inside.load(Ordering::SeqCst), 1, "two at a time");
                    tokio::task::yield_now().await;
                    assert!(n % 7 != 0, "on purpose");
                });
                tasks.extend(task.ok());
                tokio::task::yield_now().await;
            }
            let mut outcomes = Vec::new();
            for task in tasks {
                outcomes.push(outcome(&task).await);
            }
            outcomes
        });
    }
    let outcomes: Vec<Outcome> = timeout(SOON, callers.join_all()).await.expect("settled in time").concat();
    let overlaps = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Panicked(text) if text.contains("two")));
    assert_eq!(overlaps.count(), 0);
    assert!(outcomes.contains(&Outcome::Completed));
    timeout(SOON, supervisor.idle()).await.expect("idle in time");
    assert_eq!(inside.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn every_limit_has_an_answer() {
    let supervisor = Supervisor::builder().tasks_max(3).queue_max(1).build();
    let start = |name: &str, overlap| supervisor.task(name).overlap(overlap).spawn(|_| pending::<()>());
    start("a", Overlap::Skip).unwrap();
    start("a", Overlap::QueueAll).unwrap();
    let full = SpawnError::QueueFull { name: "a".into(), max: 1 };
    assert_eq!(start("a", Overlap::QueueAll).unwrap_err(), full);
    start("b", Overlap::Skip).unwrap();
    assert_eq!(start("c", Overlap::Skip).unwrap_err(), SpawnError::TooMany { max: 3 });
    assert_eq!(supervisor.stats().refused, 2);
    assert_eq!(supervisor.cancel("a"), 2);
}

#[tokio::test]
async fn a_body_may_loop_for_ever() {
    let supervisor = Supervisor::new();
    let task = background_task!(supervisor, "loop", async {
        loop {
            tokio::task::yield_now().await;
        }
    });
    tokio::task::yield_now().await;
    assert_eq!(supervisor.shutdown(Duration::ZERO).await.aborted, ["loop"]);
    assert_eq!(outcome(&task.unwrap()).await, Outcome::Aborted);
}

#[test]
fn a_task_without_a_runtime_is_refused() {
    let supervisor = Supervisor::new();
    assert_eq!(supervisor.task("nowhere").spawn(|_| async {}).unwrap_err(), SpawnError::NoRuntime);
    assert_eq!(supervisor.stats(), super::Stats::default());
}

#[test]
fn t2_a_runtime_that_goes_away_settles_its_tasks() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let supervisor = Supervisor::new();
    let first = runtime();
    let task = first.block_on(async { background_task!(supervisor, "one", pending::<()>()).unwrap() });
    drop(first);
    assert_eq!(task.try_outcome(), Some(Outcome::Cancelled { started: true }));
    // The name is free in another one, and time goes on there.
    runtime().block_on(async {
        let deaf = background_task!(supervisor, "one", pending::<()>()).unwrap();
        tokio::task::yield_now().await;
        supervisor.shutdown(Duration::from_millis(1)).await;
        assert_eq!(outcome(&deaf).await, Outcome::Aborted);
    });
}

#[tokio::test]
async fn a_token_cancels_its_children_and_not_its_parent() {
    let parent = CancelToken::new();
    let (child, other) = (parent.child(), parent.child());
    let (grandchild, orphan) = (child.child(), parent.child().child());
    child.cancel();
    timeout(SOON, grandchild.cancelled()).await.expect("cancelled in time");
    assert!(!parent.is_cancelled() && !other.is_cancelled());
    let waits = tokio::spawn(async move { other.cancelled().await });
    tokio::task::yield_now().await;
    parent.cancel();
    timeout(SOON, waits).await.expect("woken in time").unwrap();
    assert!(orphan.is_cancelled(), "though nobody holds the token between the two");
    assert!(parent.child().is_cancelled(), "a child of a token that is cancelled already");
}
