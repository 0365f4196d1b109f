//! Hand-driven; random graphs are in [`random`].

mod random;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::service::Backoff;
use crate::time::Time;

const T: Time = Time::from_millis(1_000);
const SECOND: Duration = Duration::from_secs(1);

fn spec(name: &str, after: &[&str]) -> Spec {
    Spec { after: after.iter().map(|name| (*name).into()).collect(), ..Spec::new(name) }
}

/// A machine and what it has running.
struct Driver {
    machine: Startup,
    now: Time,
    names: Vec<Arc<str>>,
    running: BTreeMap<StepId, (String, What)>,
    /// What was dropped, where that takes a while.
    leaving: Option<Vec<(StepId, String, What)>>,
    over: bool,
}

impl Driver {
    fn new(specs: Vec<Spec>) -> Self {
        let names = specs.iter().map(|spec| Arc::clone(&spec.name)).collect();
        let machine = Startup::new(Config::default(), specs).unwrap();
        let mut driver = Self { machine, now: T, names, running: BTreeMap::new(), leaving: None, over: false };
        driver.machine.begin(T);
        driver.drain();
        driver
    }

    fn drain(&mut self) {
        while let Some(output) = self.machine.poll_output() {
            match output {
                Output::Run { unit, what, step } => {
                    let name = self.names[unit.as_usize()].to_string();
                    assert!(self.running.insert(step, (name, what)).is_none());
                }
                Output::Drop { step } => {
                    let (name, what) = self.running.remove(&step).expect("it drops what runs");
                    match &mut self.leaving {
                        Some(leaving) => leaving.push((step, name, what)),
                        None => self.machine.dropped(self.now, step),
                    }
                }
                Output::Changed { .. } | Output::Started => {}
                Output::Over => self.over = true,
            }
        }
    }

    /// What runs, as `start a, stop b`.
    fn running(&self) -> String {
        let mut running: Vec<String> =
            self.running.values().map(|(name, what)| format!("{what:?} {name}").to_lowercase()).collect();
        running.sort();
        running.join(", ")
    }

    fn end(&mut self, what: What, name: &str, result: Result<(), &str>) {
        let step = self.running.iter().find(|(_, running)| **running == (name.to_owned(), what));
        let step = *step.unwrap_or_else(|| panic!("{what:?} {name} does not run, but {}", self.running())).0;
        self.running.remove(&step);
        self.machine.done(self.now, step, result.map_err(Into::into));
        self.drain();
    }

    fn ok(&mut self, what: What, names: &[&str]) {
        for name in names {
            self.end(what, name, Ok(()));
        }
    }

    fn wait(&mut self, duration: Duration) {
        self.now += duration;
        self.machine.tick(self.now);
        self.drain();
    }

    fn shutdown(&mut self) {
        self.machine.shutdown(self.now);
        self.drain();
    }

    /// From here on what is dropped goes on until `left`.
    fn leaves_slowly(mut self) -> Self {
        self.leaving = Some(Vec::new());
        self
    }

    /// What was dropped first is over; it may have ended all the same.
    fn left(&mut self, ended: Option<Result<(), &str>>) -> (String, What) {
        let (step, name, what) = self.leaving.as_mut().expect("it leaves slowly").remove(0);
        match ended {
            Some(result) => self.machine.done(self.now, step, result.map_err(Into::into)),
            None => self.machine.dropped(self.now, step),
        }
        self.drain();
        (name, what)
    }

    fn state(&self, name: &str) -> State {
        self.machine.statuses().find(|status| &*status.name == name).unwrap().state
    }
}

fn names(names: &[Arc<str>]) -> String {
    names.join(" ")
}

/// database; cache and queue on it; http on both; clock by itself.
fn app() -> Vec<Spec> {
    vec![
        spec("http", &["cache", "queue"]),
        spec("cache", &["database"]),
        spec("queue", &["database"]),
        spec("database", &[]),
        spec("clock", &[]),
    ]
}

#[test]
fn v4_starts_in_order_and_in_parallel_where_it_can() {
    let mut driver = Driver::new(app());
    assert_eq!(driver.running(), "start clock, start database");
    driver.ok(What::Start, &["database"]);
    assert_eq!(driver.running(), "start cache, start clock, start queue");
    driver.ok(What::Start, &["queue", "clock"]);
    assert_eq!(driver.running(), "start cache");
    assert!(!driver.machine.is_ready());
    driver.ok(What::Start, &["cache"]);
    assert_eq!(driver.running(), "start http");
    driver.ok(What::Start, &["http"]);
    assert!(driver.machine.is_ready());
    assert_eq!(driver.machine.next_deadline(), None);
    driver.shutdown();
    assert_eq!(driver.machine.outcome(), Outcome::Started);
}

#[test]
fn v4_a_failure_stops_what_was_started_in_reverse_and_says_what_it_blocked() {
    let mut driver = Driver::new(app());
    driver.ok(What::Start, &["database", "clock", "queue"]);
    driver.end(What::Start, "cache", Err("port 6379 is taken"));
    assert_eq!(driver.running(), "stop clock, stop queue");
    driver.ok(What::Stop, &["clock"]);
    assert_eq!(driver.running(), "stop queue");
    driver.ok(What::Stop, &["queue"]);
    driver.ok(What::Stop, &["database"]);
    assert!(driver.over);
    let report = driver.machine.report();
    assert_eq!(report.failed, [Fault { name: "cache".into(), error: "port 6379 is taken".into() }]);
    assert_eq!((names(&report.blocked), names(&report.stopped)), ("http".into(), "clock queue database".into()));
    assert!(report.is_clean());
    assert_eq!(driver.machine.outcome(), Outcome::Failed);
    says(&report, "failed: cache: port 6379 is taken; blocked: http; stopped: clock, queue, database");
}

fn says(report: &Report, text: &str) {
    assert_eq!(report.to_string(), text);
}

#[test]
fn v4_a_start_that_is_under_way_when_another_fails_ends_and_is_stopped() {
    let mut driver = Driver::new(app());
    driver.ok(What::Start, &["database"]);
    driver.end(What::Start, "cache", Err("no"));
    // Two are under way, and nothing is stopped below them.
    assert_eq!(driver.running(), "start clock, start queue");
    driver.ok(What::Start, &["queue"]);
    driver.end(What::Start, "clock", Err("no either"));
    assert_eq!(driver.running(), "stop queue");
    driver.ok(What::Stop, &["queue"]);
    driver.ok(What::Stop, &["database"]);
    assert!(driver.over);
    assert_eq!(driver.machine.report().failed.len(), 2);
}

#[test]
fn v4_what_cannot_be_ordered_is_refused_by_name() {
    let refused = |specs| Startup::new(Config::default(), specs).unwrap_err().to_string();
    let circle = vec![spec("a", &["b"]), spec("b", &["c"]), spec("c", &["d", "b"]), spec("d", &[])];
    assert_eq!(refused(circle), "services depend on each other in a circle: b -> c -> b");
    assert_eq!(refused(vec![spec("a", &["a"])]), "services depend on each other in a circle: a -> a");
    assert_eq!(refused(vec![spec("a", &["redis"])]), r#""a" depends on "redis", which is not a service"#);
    assert_eq!(refused(vec![spec("a", &[]), spec("a", &[])]), r#"two services are called "a""#);
}

#[test]
fn v4_a_start_is_tried_again_after_a_wait_and_not_more_often_than_said() {
    let backoff = Backoff { first: SECOND, max: 60 * SECOND };
    let mut driver = Driver::new(vec![Spec { attempts: 3, backoff, ..spec("a", &[]) }]);
    for wait in [1, 2] {
        driver.end(What::Start, "a", Err("refused"));
        assert_eq!(driver.state("a"), State::Retrying);
        driver.wait(wait * SECOND - Duration::from_millis(1));
        assert_eq!(driver.running(), "");
        driver.wait(Duration::from_millis(1));
        assert_eq!(driver.running(), "start a");
    }
    driver.end(What::Start, "a", Err("refused again"));
    assert!(driver.over);
    assert_eq!(driver.machine.statuses().next().unwrap().attempts, 3);
    says(&driver.machine.report(), "failed: a: refused again");
}

#[test]
fn v4_a_start_that_takes_too_long_is_dropped_and_stopped_if_it_left_something() {
    let limit = Some(SECOND);
    let mut driver = Driver::new(vec![
        Spec { start_timeout: limit, stops_unfinished: true, ..spec("a", &[]) },
        Spec { start_timeout: limit, ..spec("b", &[]) },
    ]);
    assert_eq!(driver.machine.next_deadline(), Some(T + SECOND));
    driver.wait(SECOND);
    assert_eq!(driver.running(), "stop a");
    driver.ok(What::Stop, &["a"]);
    assert!(driver.over);
    assert_eq!(driver.machine.report().failed.len(), 2);
    assert_eq!(&*driver.machine.report().failed[0].error, "it took longer than 1s to start");
}

/// What it depends on is stopped after it, and not before it is known whether it has to be.
#[test]
fn v4_a_start_that_ends_although_it_was_dropped_is_stopped() {
    for ended in [Some(Ok(())), Some(Err("no")), None] {
        let specs = vec![spec("a", &[]), Spec { start_timeout: Some(SECOND), ..spec("b", &["a"]) }];
        let mut driver = Driver::new(specs).leaves_slowly();
        driver.ok(What::Start, &["a"]);
        driver.wait(SECOND);
        assert_eq!((driver.running(), driver.state("b")), (String::new(), State::Failed));
        driver.left(ended);
        if ended == Some(Ok(())) {
            assert_eq!(driver.running(), "stop b");
            driver.ok(What::Stop, &["b"]);
        }
        assert_eq!(driver.running(), "stop a");
        driver.ok(What::Stop, &["a"]);
        assert!(driver.over);
        let stopped = if ended == Some(Ok(())) { "stopped: b, a" } else { "stopped: a" };
        says(&driver.machine.report(), &format!("failed: b: it took longer than 1s to start; {stopped}"));
    }
}

#[test]
fn v4_a_start_that_ends_although_it_was_dropped_needs_no_other() {
    let backoff = Backoff { first: SECOND, max: SECOND };
    let spec = || Spec { start_timeout: Some(SECOND), attempts: 2, backoff, ..spec("a", &[]) };
    for late in [Duration::ZERO, SECOND + SECOND / 2] {
        let mut driver = Driver::new(vec![spec()]).leaves_slowly();
        driver.wait(SECOND);
        driver.wait(late);
        assert_eq!((driver.running(), driver.state("a")), (String::new(), State::Retrying));
        driver.left(Some(Ok(())));
        assert!(driver.machine.is_ready());
        assert_eq!(driver.machine.next_deadline(), None);
        driver.shutdown();
        assert_eq!(driver.running(), "stop a");
    }
    // And one that was on its way down meanwhile is stopped.
    let mut driver = Driver::new(vec![spec()]).leaves_slowly();
    driver.wait(SECOND);
    driver.shutdown();
    assert_eq!((driver.running(), driver.state("a")), (String::new(), State::NotStarted));
    driver.left(Some(Ok(())));
    assert_eq!(driver.running(), "stop a");
}

#[test]
fn v4_no_service_is_started_twice_at_a_time() {
    let backoff = Backoff { first: SECOND, max: SECOND };
    let spec = || Spec { start_timeout: Some(SECOND), attempts: 2, backoff, ..spec("a", &[]) };
    let mut driver = Driver::new(vec![spec()]).leaves_slowly();
    driver.wait(SECOND);
    driver.wait(2 * SECOND);
    assert_eq!(driver.running(), "", "the first has not ended");
    driver.left(None);
    assert_eq!(driver.running(), "start a");

    // One that blocks its thread is waited for only so long, at both ends.
    let mut driver = Driver::new(vec![spec()]).leaves_slowly();
    driver.wait(SECOND);
    driver.wait(SECOND);
    let wait = driver.machine.next_deadline().unwrap().since(driver.now);
    assert_eq!(wait, 10 * SECOND);
    driver.wait(wait);
    assert_eq!((driver.running(), driver.state("a")), (String::new(), State::Failed));
    driver.wait(30 * SECOND);
    assert!(driver.over);
    says(&driver.machine.report(), "failed: a: a start of it goes on although it was dropped; stuck: a");
}

#[test]
fn y4_first_all_drain_then_all_stop_in_reverse() {
    let specs = app().into_iter().map(|spec| Spec { drains: &*spec.name != "clock", ..spec }).collect();
    let mut driver = Driver::new(specs);
    driver.ok(What::Start, &["database", "clock", "queue", "cache", "http"]);
    driver.shutdown();
    assert_eq!(driver.running(), "drain http");
    driver.ok(What::Drain, &["http"]);
    assert_eq!(driver.running(), "drain cache, drain queue");
    driver.end(What::Drain, "cache", Err("two entries were lost"));
    driver.ok(What::Drain, &["queue", "database"]);
    assert_eq!(driver.running(), "stop clock, stop http");
    driver.ok(What::Stop, &["http", "clock", "cache", "queue", "database"]);
    assert!(driver.over);
    let report = driver.machine.report();
    assert_eq!(names(&report.stopped), "http clock cache queue database");
    assert_eq!(report.complained[0].to_string(), "cache: two entries were lost");
    assert!(!report.is_clean());
}

#[test]
fn y4_who_is_stuck_is_named_and_keeps_nobody_from_being_stopped() {
    let specs = app().into_iter().map(|spec| Spec { drains: &*spec.name == "queue", ..spec }).collect();
    let mut driver = Driver::new(specs);
    driver.ok(What::Start, &["database", "clock", "queue", "cache", "http"]);
    driver.shutdown();
    assert_eq!(driver.running(), "drain queue");
    driver.wait(10 * SECOND);
    assert_eq!(driver.running(), "stop clock, stop http");
    driver.ok(What::Stop, &["clock"]);
    driver.wait(10 * SECOND);
    assert_eq!(driver.running(), "stop cache, stop queue");
    driver.ok(What::Stop, &["cache", "queue", "database"]);
    assert!(driver.over);
    let report = driver.machine.report();
    assert_eq!((names(&report.undrained), names(&report.stuck)), ("queue".into(), "http".into()));
    assert_eq!(names(&report.stopped), "clock cache queue database");
}

#[test]
fn y4_when_the_time_is_over_the_rest_is_named() {
    let slow = app().into_iter().map(|spec| Spec { stop_timeout: 20 * SECOND, ..spec }).collect();
    let mut driver = Driver::new(slow);
    driver.ok(What::Start, &["database", "clock", "queue", "cache", "http"]);
    driver.shutdown();
    driver.wait(20 * SECOND);
    assert_eq!(driver.running(), "stop cache, stop queue");
    driver.wait(10 * SECOND);
    assert!(driver.over);
    let report = driver.machine.report();
    assert_eq!((names(&report.stuck), names(&report.unreached)), ("http cache queue clock".into(), "database".into()));
}

#[test]
fn y4_giving_up_ends_at_once() {
    let mut driver = Driver::new(app());
    driver.ok(What::Start, &["database", "clock", "queue", "cache"]);
    driver.shutdown();
    assert_eq!(driver.running(), "start http");
    driver.machine.give_up(driver.now);
    driver.drain();
    assert!(driver.over && driver.running.is_empty());
    assert_eq!(names(&driver.machine.report().unreached), "cache queue database clock");
}

#[test]
fn v4_a_shutdown_while_it_starts_begins_no_further_start() {
    let mut driver = Driver::new(app());
    driver.ok(What::Start, &["clock"]);
    driver.shutdown();
    assert_eq!(driver.running(), "start database");
    driver.ok(What::Start, &["database"]);
    assert_eq!(driver.running(), "stop clock, stop database");
    driver.ok(What::Stop, &["clock", "database"]);
    assert!(driver.over);
    assert_eq!(driver.state("http"), State::NotStarted);
    assert!(driver.machine.report().failed.is_empty());
}

#[test]
fn v4_a_shutdown_that_comes_first_is_told_as_one_also_if_a_start_fails_after_it() {
    let mut driver = Driver::new(app());
    driver.shutdown();
    driver.end(What::Start, "clock", Err("no"));
    driver.wait(10 * SECOND);
    assert!(driver.over);
    says(&driver.machine.report(), "failed: clock: no; database: a shutdown came before it had started");
    assert_eq!(driver.machine.outcome(), Outcome::ShutDown);
}

#[test]
fn v4_health_decides_readiness_after_so_many_failures_and_one_success() {
    let check = Some(Check { interval: SECOND, timeout: SECOND, failures_max: 2 });
    let mut driver = Driver::new(vec![Spec { check, ..spec("a", &[]) }]);
    driver.ok(What::Start, &["a"]);
    assert!(driver.machine.is_ready());
    driver.wait(SECOND);
    driver.end(What::Check, "a", Err("503"));
    assert!(driver.machine.is_ready());
    driver.wait(SECOND);
    assert_eq!(driver.running(), "check a");
    // One that hangs has failed.
    driver.wait(SECOND);
    assert_eq!((driver.running(), driver.state("a")), (String::new(), State::Unhealthy));
    assert!(!driver.machine.is_ready());
    driver.wait(SECOND);
    driver.ok(What::Check, &["a"]);
    assert!(driver.machine.is_ready());
    driver.wait(SECOND);
    driver.shutdown();
    assert_eq!(driver.running(), "stop a");
}
