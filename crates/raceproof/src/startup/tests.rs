//! With paused time: the order of starts and stops, as the services themselves see it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout};

use super::*;
use crate::service::Service;

const MS: Duration = Duration::from_millis(1);

/// What happened, in order.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn add(&self, text: impl Into<String>) {
        self.0.lock().unwrap().push(text.into());
    }

    fn take(&self) -> String {
        std::mem::take(&mut *self.0.lock().unwrap()).join(", ")
    }

    /// A service that takes 100 ms to start and 10 ms to stop.
    fn unit(&self, name: &'static str, after: &[&'static str]) -> Unit {
        let (starts, stops) = (self.clone(), self.clone());
        let start = move || {
            let log = starts.clone();
            async move {
                sleep(100 * MS).await;
                log.add(format!("+{name}"));
                Ok::<_, String>(())
            }
        };
        let stop = move || {
            let log = stops.clone();
            async move {
                sleep(10 * MS).await;
                log.add(format!("-{name}"));
                Ok::<_, String>(())
            }
        };
        Unit::new(name, start).stop(stop).after(after.iter().copied())
    }
}

#[tokio::test(start_paused = true)]
async fn v4_starts_in_dependency_order_in_parallel_and_stops_in_reverse() {
    let log = Log::default();
    let began = Instant::now();
    let app = Startup::new()
        .unit(log.unit("http", &["cache", "queue"]))
        .unit(log.unit("cache", &["database"]))
        .unit(log.unit("queue", &["database"]))
        .unit(log.unit("database", &[]))
        .start()
        .await
        .unwrap();
    assert_eq!(began.elapsed(), 300 * MS);
    let started = log.take();
    assert!(
        started == "+database, +cache, +queue, +http" || started == "+database, +queue, +cache, +http",
        "{started}"
    );
    assert!(app.is_ready());
    let report = app.shutdown().await;
    assert!(report.is_clean(), "{report}");
    let stopped = log.take();
    assert!(
        stopped == "-http, -cache, -queue, -database" || stopped == "-http, -queue, -cache, -database",
        "{stopped}"
    );
    assert!(!app.is_ready());
    assert_eq!(app.shutdown().await, report);
}

#[tokio::test(start_paused = true)]
async fn v4_a_failure_stops_what_was_started_in_reverse_and_says_what_it_blocked() {
    let log = Log::default();
    let broken = Unit::new("queue", || async {
        sleep(50 * MS).await;
        Err("connection refused")
    });
    let result = Startup::new()
        .unit(log.unit("http", &["queue"]))
        .unit(broken.after(["cache"]))
        .unit(log.unit("cache", &["database"]))
        .unit(log.unit("database", &[]))
        .start()
        .await;
    let error = result.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the startup failed: failed: queue: connection refused; blocked: http; stopped: cache, database"
    );
    assert_eq!(log.take(), "+database, +cache, -cache, -database");
}

#[tokio::test(start_paused = true)]
async fn v4_a_panic_is_a_failure() {
    let panics = Unit::new("a", || -> std::future::Ready<Result<(), String>> { panic!("at once") });
    let error = Startup::new().unit(panics).start().await.unwrap_err();
    assert_eq!(&*error.report().unwrap().failed[0].error, "it panicked: at once");
}

#[tokio::test(start_paused = true)]
async fn v4_nothing_is_started_of_what_cannot_be_ordered() {
    let log = Log::default();
    let error = Startup::new()
        .unit(log.unit("database", &[]))
        .unit(log.unit("a", &["b", "database"]))
        .unit(log.unit("b", &["a"]))
        .start()
        .await
        .unwrap_err();
    assert_eq!(error.to_string(), "services depend on each other in a circle: a -> b -> a");
    sleep(1_000 * MS).await;
    assert_eq!(log.take(), "");
}

#[tokio::test(start_paused = true)]
async fn v4_a_startup_that_is_dropped_stops_what_it_started() {
    let log = Log::default();
    let startup = Startup::new().unit(log.unit("database", &[])).unit(log.unit("http", &["database"]));
    assert!(timeout(150 * MS, startup.start()).await.is_err());
    sleep(1_000 * MS).await;
    // http was being started: it ends, and is stopped like the rest.
    assert_eq!(log.take(), "+database, +http, -http, -database");
}

#[tokio::test(start_paused = true)]
async fn v4_a_start_is_retried() {
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let flaky = move || {
        let attempt = counted.fetch_add(1, Ordering::SeqCst) + 1;
        async move { if attempt < 3 { Err("not yet") } else { Ok(()) } }
    };
    let began = Instant::now();
    let unit = Unit::new("a", flaky).attempts(3, 100 * MS, 1_000 * MS);
    let app = Startup::new().unit(unit).start().await.unwrap();
    assert_eq!((began.elapsed(), attempts.load(Ordering::SeqCst)), (300 * MS, 3));
    assert_eq!(app.stats().services[0].attempts, 3);
}

#[tokio::test(start_paused = true)]
async fn v4_y4_a_unit_starts_and_stops_as_its_section_says() {
    let mut config = crate::config::StartupConfig::default();
    (config.unit_attempts, config.unit_backoff, config.unit_backoff_max) = (3, 100 * MS, 150 * MS);
    (config.unit_start_timeout, config.unit_stop_timeout) = (Some(50 * MS), 20 * MS);
    let hangs = || Unit::new("a", std::future::pending::<Result<(), String>>).configured(&config);
    let began = Instant::now();
    let error = Startup::new().unit(hangs()).start().await.unwrap_err();
    assert!(matches!(error, StartError::Failed(_)), "{error}");
    assert_eq!(began.elapsed(), (50 + 100 + 50 + 150 + 50) * MS, "three attempts, with pauses that grow to a bound");
    let never_stops = std::future::pending::<Result<(), String>>;
    let unit = Unit::new("b", || async { Ok::<_, String>(()) }).stop(never_stops).configured(&config);
    let app = config.startup().unit(unit).start().await.unwrap();
    let began = Instant::now();
    assert_eq!(app.shutdown().await.to_string(), "stuck: b");
    assert_eq!(began.elapsed(), 20 * MS);
}

#[tokio::test(start_paused = true)]
async fn y4_who_is_stuck_is_named_and_the_rest_is_stopped() {
    let log = Log::default();
    let stuck = Unit::new("socket", || async { Ok::<_, String>(()) })
        .after(["database"])
        .stop(std::future::pending::<Result<(), String>>)
        .stop_timeout(500 * MS);
    let app = Startup::new().unit(log.unit("database", &[])).unit(stuck).start().await.unwrap();
    let began = Instant::now();
    let report = app.shutdown().await;
    assert_eq!(began.elapsed(), 510 * MS);
    assert_eq!(report.to_string(), "stopped: database; stuck: socket");
    assert!(!report.is_clean());
}

/// What does not end in time is not only named: nothing of it goes on.
#[tokio::test(start_paused = true)]
async fn y4_a_start_and_a_stop_that_are_too_late_are_dropped() {
    let held = Arc::new(());
    let hangs = || {
        let held = Arc::clone(&held);
        move || {
            let held = Arc::clone(&held);
            async move {
                std::future::pending::<()>().await;
                drop(held);
                Ok::<_, String>(())
            }
        }
    };
    let app = Startup::new()
        .unit(Unit::new("a", || async { Ok::<_, String>(()) }).stop(hangs()).stop_timeout(100 * MS))
        .unit(Unit::new("b", hangs()).start_timeout(Some(100 * MS)))
        .launch()
        .unwrap();
    let report = app.over().await;
    assert_eq!(report.to_string(), "failed: b: it took longer than 100ms to start; stuck: a");
    tokio::task::yield_now().await;
    assert_eq!(Arc::strong_count(&held), 1);
}

/// It blocks its thread when its time is over, so that it cannot be dropped.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v4_a_start_that_ends_as_its_time_does_is_stopped() {
    let log = Log::default();
    let (let_go, held) = std::sync::mpsc::channel::<()>();
    let held = Arc::new(Mutex::new(held));
    let (starts, stops) = (log.clone(), log.clone());
    let start = move || {
        let (log, held) = (starts.clone(), Arc::clone(&held));
        async move {
            tokio::task::block_in_place(|| held.lock().unwrap().recv().unwrap());
            log.add("+socket");
            Ok::<_, String>(())
        }
    };
    let stop = move || {
        let log = stops.clone();
        async move {
            log.add("-socket");
            Ok::<_, String>(())
        }
    };
    let unit = Unit::new("socket", start).stop(stop).start_timeout(Some(MS)).after(["database"]);
    let mut app = Startup::new().unit(unit).unit(log.unit("database", &[])).launch().unwrap();
    while app.stats().services[0].state != State::Failed {
        app.changed().await;
    }
    let_go.send(()).unwrap();
    let report = app.over().await;
    assert_eq!(log.take(), "+database, +socket, -socket, -database");
    assert_eq!(report.to_string(), "failed: socket: it took longer than 1ms to start; stopped: socket, database");
}

#[tokio::test(start_paused = true)]
async fn y4_all_drain_before_any_stops() {
    let log = Log::default();
    let drains = |name: &'static str| {
        let drained = log.clone();
        log.unit(name, &[]).drain(move || {
            let log = drained.clone();
            async move {
                sleep(50 * MS).await;
                log.add(format!("~{name}"));
                Ok::<_, String>(())
            }
        })
    };
    let app = Startup::new().unit(drains("a")).unit(log.unit("b", &[])).start().await.unwrap();
    log.take();
    app.shutdown().await;
    assert!(log.take().starts_with("~a, -"));
}

#[tokio::test(start_paused = true)]
async fn y4_giving_up_ends_the_wait() {
    let stuck = Unit::new("a", || async { Ok::<_, String>(()) }).stop(std::future::pending::<Result<(), String>>);
    let app = Startup::new().unit(stuck).start().await.unwrap();
    let began = Instant::now();
    let (report, ()) = tokio::join!(app.shutdown(), async {
        sleep(MS).await;
        app.give_up();
    });
    assert!(began.elapsed() < 10 * MS);
    assert_eq!(report.to_string(), "stuck: a");
}

#[tokio::test(start_paused = true)]
async fn v4_a_service_is_made_and_closed_also_when_its_start_was_given_up() {
    let closed = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&closed);
    let database = Service::builder(|| async {
        sleep(1_000 * MS).await;
        Ok::<_, String>("a pool")
    })
    .clean_up(move |_| {
        let closed = Arc::clone(&counted);
        async move {
            closed.fetch_add(1, Ordering::SeqCst);
        }
    })
    .build();
    let unit = Unit::service("database", &database).start_timeout(Some(100 * MS));
    let error = Startup::new().unit(unit).start().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the startup failed: failed: database: it took longer than 100ms to start; stopped: database"
    );
    assert_eq!(closed.load(Ordering::SeqCst), 1);
    assert!(database.get().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn v4_readiness_follows_the_checks() {
    let well = Arc::new(std::sync::atomic::AtomicBool::new(true));
    let asked = Arc::clone(&well);
    let check = move || {
        let well = asked.load(Ordering::SeqCst);
        async move { if well { Ok(()) } else { Err("503") } }
    };
    let unit = Unit::new("a", || async { Ok::<_, String>(()) }).check(100 * MS, 100 * MS, 2, check);
    let app = Startup::new().unit(unit).start().await.unwrap();
    let mut ready = app.ready();
    assert!(*ready.borrow_and_update());
    well.store(false, Ordering::SeqCst);
    let began = Instant::now();
    ready.changed().await.unwrap();
    assert!(!*ready.borrow_and_update());
    assert_eq!(began.elapsed(), 200 * MS);
    let status = app.stats().services.remove(0);
    assert_eq!((status.state, status.error.as_deref()), (State::Unhealthy, Some("503")));
    well.store(true, Ordering::SeqCst);
    ready.changed().await.unwrap();
    assert!(*ready.borrow_and_update());
    app.shutdown().await;
    assert!(!*ready.borrow_and_update());
}

#[test]
fn the_end_of_the_runtime_ends_every_wait() {
    let runtime = || tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let first = runtime();
    let log = Log::default();
    let app = {
        let _entered = first.enter();
        Startup::new().unit(log.unit("a", &[])).launch().unwrap()
    };
    drop(first);
    assert!(matches!(runtime().block_on(app.started()), Err(StartError::Aborted)));
    assert_eq!(runtime().block_on(app.shutdown()), Report::default());
    assert!(matches!(Startup::new().launch(), Err(StartError::NoRuntime)));
}
