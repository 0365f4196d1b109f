//! Services that start and stop in order: V4, Y4.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use raceproof::startup::{Running, StartError, Startup, State, Unit};
use shuttle::future::{block_on, spawn, yield_now};
use shuttle::sync::atomic::{AtomicBool, Ordering};

use super::{check, given_up_after, polls};

/// Each service with what it depends on.
const SERVICES: [(&str, &[usize]); 4] = [("http", &[1, 2]), ("cache", &[3]), ("queue", &[3]), ("database", &[])];

/// What is up, as the services themselves see it.
#[derive(Default)]
struct World {
    up: [AtomicBool; 4],
    early: AtomicBool,
}

impl World {
    fn is_up(&self, place: usize) -> bool {
        self.up[place].load(Ordering::SeqCst)
    }

    /// Seen at the end: a panic in a service is only its failure.
    fn note(&self, in_order: bool) {
        self.early.fetch_or(!in_order, Ordering::SeqCst);
    }

    async fn start(self: Arc<Self>, place: usize) {
        let needs = SERVICES[place].1;
        self.note(!self.is_up(place) && needs.iter().all(|on| self.is_up(*on)));
        yield_now().await;
        self.note(needs.iter().all(|on| self.is_up(*on)));
        self.up[place].store(true, Ordering::SeqCst);
    }

    async fn stop(self: Arc<Self>, place: usize) {
        let needed = || (0..4).any(|other| SERVICES[other].1.contains(&place) && self.is_up(other));
        self.note(self.is_up(place) && !needed());
        yield_now().await;
        self.note(!needed());
        self.up[place].store(false, Ordering::SeqCst);
    }

    /// All services; the start of one may fail. A limit on time may come at any time.
    fn startup(self: &Arc<Self>, fails: Option<usize>, limit: Option<Duration>) -> Startup {
        let phase = limit.unwrap_or(Duration::MAX);
        let unit = |place: usize| {
            let (starts, stops) = (Arc::clone(self), Arc::clone(self));
            let start = move || {
                let world = Arc::clone(&starts);
                async move {
                    if fails == Some(place) {
                        yield_now().await;
                        return Err("no");
                    }
                    world.start(place).await;
                    Ok(())
                }
            };
            let stop = move || {
                let world = Arc::clone(&stops);
                async move {
                    world.stop(place).await;
                    Ok::<_, Infallible>(())
                }
            };
            let unit = Unit::new(SERVICES[place].0, start).after(SERVICES[place].1.iter().map(|on| SERVICES[*on].0));
            unit.stop(stop).start_timeout(limit).stop_timeout(phase)
        };
        (0..4).map(unit).fold(Startup::new(), Startup::unit).drain_timeout(phase).stop_timeout(phase)
    }

    /// Everything has ended when nobody has a hold of the services any more.
    async fn ends(self: &Arc<Self>) {
        while Arc::strong_count(self) > 1 {
            yield_now().await;
        }
        assert!(!self.early.load(Ordering::SeqCst), "V4: out of order");
    }

    fn is_down(&self) -> bool {
        (0..4).all(|place| !self.is_up(place))
    }
}

async fn shut_down(app: Running) {
    for _ in 0..polls(12) {
        yield_now().await;
    }
    // Given up or not, once it has begun it goes on.
    let _ = given_up_after(1 + polls(4), app.shutdown()).await;
}

#[test]
fn v4_y4_a_shutdown_at_any_time_stops_all_that_was_started_in_order() {
    check(|| {
        block_on(async {
            let world = Arc::new(World::default());
            let app = world.startup(None, None).launch().unwrap();
            let callers = [spawn(shut_down(app.clone())), spawn(shut_down(app.clone()))];
            let _ = given_up_after(polls(6), app.started()).await;
            match app.started().await {
                Ok(()) | Err(StartError::ShutDown(_)) => {}
                Err(error) => panic!("{error}"),
            }
            let report = app.over().await;
            assert!(report.is_clean() && report.failed.is_empty(), "{report}");
            let last = app.stats();
            assert!(!last.ready && !app.is_ready());
            for service in &last.services {
                assert!(matches!(service.state, State::Stopped | State::NotStarted), "{last:?}");
                assert_eq!(service.state == State::Stopped, report.stopped.contains(&service.name));
            }
            for caller in callers {
                caller.await.unwrap();
            }
            drop(app);
            world.ends().await;
            assert!(world.is_down());
        });
    });
}

#[test]
fn v4_a_failure_or_a_start_that_is_given_up_leaves_nothing_up() {
    check(|| {
        block_on(async {
            let world = Arc::new(World::default());
            let fails = polls(5);
            let startup = world.startup((fails < 4).then_some(fails), None);
            match given_up_after(1 + polls(20), startup.start()).await {
                None => {}
                Some(Err(StartError::Failed(report))) => {
                    assert_eq!(&*report.failed[0].name, SERVICES[fails].0);
                    assert!(world.is_down() && report.is_clean(), "{report}");
                }
                Some(Err(error)) => panic!("{error}"),
                Some(Ok(app)) => {
                    assert!(fails == 4 && (0..4).all(|place| world.is_up(place)));
                    app.shutdown().await;
                }
            }
            world.ends().await;
            assert!(world.is_down());
        });
    });
}

#[test]
fn y4_giving_up_ends_it_at_any_time() {
    check(|| {
        block_on(async {
            let world = Arc::new(World::default());
            let app = world.startup(None, None).launch().unwrap();
            let quits = spawn({
                let app = app.clone();
                async move {
                    for _ in 0..polls(20) {
                        yield_now().await;
                    }
                    app.give_up();
                }
            });
            let shuts = spawn(shut_down(app.clone()));
            let report = app.over().await;
            assert!(app.stats().services.iter().all(|service| is_final(service.state)), "{report}");
            quits.await.unwrap();
            shuts.await.unwrap();
            drop(app);
            world.ends().await;
        });
    });
}

const fn is_final(state: State) -> bool {
    use State::{Blocked, Failed, NotStarted, Stopped, Stuck, Unreached};
    matches!(state, Stopped | NotStarted | Blocked | Failed | Stuck | Unreached)
}

#[test]
fn y4_deadlines_end_it_whenever_they_come() {
    check(|| {
        block_on(async {
            let world = Arc::new(World::default());
            let app = world.startup(None, Some(Duration::from_secs(1))).launch().unwrap();
            let shuts = spawn(shut_down(app.clone()));
            let report = app.over().await;
            let services = app.stats().services;
            assert!(services.iter().all(|service| is_final(service.state)), "{report}");
            for service in services {
                let named = |names: &[Arc<str>]| names.contains(&service.name);
                assert_eq!(service.state == State::Stuck, named(&report.stuck));
                assert_eq!(service.state == State::Unreached, named(&report.unreached));
                assert_eq!(service.state == State::Stopped, named(&report.stopped));
            }
            shuts.await.unwrap();
        });
    });
}
