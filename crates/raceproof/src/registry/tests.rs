use std::sync::Barrier;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::*;
use crate::config::ThrottleConfig;
use crate::service::Service;

#[test]
fn an_instance_is_built_once_whoever_asks_at_the_same_moment() {
    const THREADS: usize = 8;
    for _ in 0..50 {
        let (registry, built, start) = (Registry::new(), AtomicU32::new(0), Barrier::new(THREADS));
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let build = |config: &ThrottleConfig| {
                        built.fetch_add(1, Ordering::Relaxed);
                        std::thread::yield_now();
                        config.throttle()
                    };
                    start.wait();
                    let found = registry.get_or_build(Room::Throttle, "one", None, ThrottleConfig::default, build);
                    found.expect("no conflict");
                });
            }
        });
        assert_eq!(built.load(Ordering::Relaxed), 1);
        assert_eq!(registry.list().len(), 1);
    }
}

#[test]
fn a_name_is_one_instance_of_each_room() {
    let registry = Registry::new();
    registry.breaker("payments").open();
    assert_eq!(registry.breaker("payments").stats().opened, 1);
    assert_eq!(registry.breaker("mail").stats().opened, 0);
    assert_eq!(registry.retry("payments").stats().calls, 0);
    let listed: Vec<_> = registry.list().into_iter().map(|listed| format!("{} {}", listed.room, listed.name)).collect();
    assert_eq!(listed, ["breaker mail", "breaker payments", "retry payments"]);
}

#[test]
fn the_same_name_with_another_configuration_is_an_error() {
    let registry = Registry::new();
    let every = |secs| ThrottleConfig { every: Duration::from_secs(secs), ..ThrottleConfig::default() };
    registry.throttle_with("poll", every(2)).expect("it is built");
    registry.throttle_with("poll", every(2)).expect("it is the same");
    let refused = registry.throttle_with("poll", every(3)).expect_err("it is another");
    assert!(matches!(&refused, RegistryError::Conflict { room: Room::Throttle, name, .. } if name == "poll"));
    assert_eq!(
        refused.to_string(),
        "the throttle \"poll\" was built with another configuration: ThrottleConfig { every: 2s, waiting_max: 1024 }, \
         and not ThrottleConfig { every: 3s, waiting_max: 1024 }"
    );
    drop(registry.throttle("poll"));
}

#[test]
fn the_same_name_with_another_type_is_an_error() {
    let registry = Registry::new();
    registry.bus::<u32>("news").expect("it is built");
    registry.bus::<u32>("news").expect("it is the same");
    let refused = registry.bus::<String>("news").expect_err("its events are numbers");
    assert!(matches!(refused, RegistryError::Type { room: Room::Events, .. }), "{refused}");
}

#[test]
fn what_was_built_elsewhere_is_listed_under_a_name_of_its_own() {
    let registry = Registry::new();
    let service = Service::new(|| async { Ok::<_, ()>(1) });
    registry.register_service("db", &service).expect("the name is free");
    let refused = registry.register_service("db", &service).expect_err("the name is taken");
    assert_eq!(refused, RegistryError::Taken { room: Room::Service, name: "db".into() });
    assert_eq!(registry.list()[0].configuration, None);
}

#[tokio::test]
async fn policies_recoveries_and_debounces_are_observed_under_their_names() {
    use crate::resilience::recovery::{Recovery, Severity};
    use crate::resilience::{Debounce, Policy};

    let registry = Registry::new();
    let policy = Policy::builder().breaker(registry.breaker("payments")).build();
    registry.register_policy("payments", &policy).expect("the name is free");
    let recovery = Recovery::<&str>::builder().build();
    registry.register_recovery("errors", &recovery).expect("the name is free");
    let (debounce, _page) = Debounce::<u32>::builder(Duration::from_secs(1)).channel();
    registry.register_debounce("page", &debounce).expect("the name is free");
    registry.register_policy("payments", &policy).expect_err("the name is taken");

    policy.run(async || Ok::<_, std::io::Error>(())).await.expect("it succeeds");
    for category in ["disk", "net", "net"] {
        let _ = recovery.report(category, Severity::Critical, "gone").await;
    }
    debounce.push(1).expect("it is open");
    let metric = |room, name| {
        let observed = registry.stats().into_iter().find(|observed| observed.room == room).expect("it is there");
        let metrics = observed.stats.metrics();
        metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
    };
    assert_eq!(metric(Room::Policy, "calls"), Some(Value::Total(1)));
    assert_eq!(metric(Room::Breaker, "successes"), Some(Value::Total(1)));
    assert_eq!(metric(Room::Recovery, "categories"), Some(Value::Number(2)));
    assert_eq!(metric(Room::Recovery, "critical"), Some(Value::Total(3)));
    assert_eq!(metric(Room::Recovery, "per_minute"), Some(Value::Number(3)));
    assert_eq!(metric(Room::Debounce, "pending"), Some(Value::Number(1)));
}

#[test]
fn an_instance_is_found_again_after_its_builder_panicked() {
    let registry = Registry::new();
    let build = |_: &ThrottleConfig| -> crate::resilience::Throttle { panic!("on purpose") };
    let panicking = || registry.get_or_build(Room::Throttle, "one", None, ThrottleConfig::default, build);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(panicking)).is_err());
    assert_eq!(registry.list(), []);
    drop(registry.throttle("one"));
    assert_eq!(registry.list().len(), 1);
}

#[cfg(feature = "config")]
#[test]
fn instances_are_built_as_the_configuration_says() {
    use crate::config::{BreakerConfig, RetryConfig};

    let text = "[retry]\nattempts-max = 7\n[breaker.payments]\nfailures = 1";
    let registry = Registry::configured(Config::from_toml(text).expect("settings"));
    let seven = RetryConfig { attempts_max: 7, ..RetryConfig::default() };
    let _retry = registry.retry("mail");
    registry.retry_with("mail", seven).expect("it was built with seven");
    let _breaker = registry.breaker("payments");
    registry.breaker_with("payments", BreakerConfig::default()).expect_err("the default is five");
    registry.breaker_with("mail", BreakerConfig::default()).expect("this one is built so");
}

#[cfg(feature = "config")]
#[tokio::test]
async fn a_worker_is_built_as_the_configuration_says() {
    use crate::config::WorkerConfig;
    use crate::worker::CallError;

    let text = "[worker.hung]\nworkers = 2\nmailbox = 1\npatient-max = 0\ntimeout = '10ms'\ndrop-abandoned = true\n\
                [worker.frail]\nrestarts-max = 0";
    let registry = Registry::configured(Config::from_toml(text).unwrap());
    let hung = |registry: &Registry| registry.worker("hung", || |(): ()| std::future::pending::<()>()).unwrap();
    let worker = hung(&registry);
    assert_eq!(hung(&registry).stats().workers, 2);
    let calls: Vec<_> = std::iter::repeat_with(|| {
        tokio::spawn({
            let worker = worker.clone();
            async move { worker.call_patiently(()).await }
        })
    })
    .take(4)
    .collect();
    let mut answers = Vec::new();
    for call in calls {
        answers.push(call.await.unwrap());
    }
    let count = |wanted: &Result<(), CallError<()>>| answers.iter().filter(|answer| *answer == wanted).count();
    let counts = [CallError::TimedOut, CallError::NotStarted(()), CallError::TooManyWaiting(())];
    assert_eq!(counts.map(|error| count(&Err(error))).iter().sum::<usize>(), 4, "{answers:?}");
    assert!(count(&Err(CallError::TooManyWaiting(()))) > 0, "{answers:?}");
    while worker.stats().in_hand > 0 {
        tokio::task::yield_now().await;
    }

    let frail = registry.worker("frail", || |(): ()| -> std::future::Ready<()> { panic!("frail") }).unwrap();
    assert!(matches!(frail.call(()).await, Err(CallError::Panicked(_))));
    assert_eq!(frail.call(()).await, Err(CallError::Stopped(())), "it gave up after the first");

    let other = registry.worker_with("frail", WorkerConfig::default(), || |(): ()| std::future::ready(()));
    assert!(matches!(other, Err(RegistryError::Conflict { .. })));
    let other = registry.worker("frail", || |n: u32| std::future::ready(n));
    assert!(matches!(other, Err(RegistryError::Type { .. })));
}

#[test]
fn a_worker_without_a_runtime_is_refused() {
    let refused = Registry::new().worker("nowhere", || |n: u32| std::future::ready(n)).unwrap_err();
    assert_eq!(refused, RegistryError::NoRuntime { room: Room::Worker, name: "nowhere".into() });
    assert_eq!(refused.to_string(), "there is no Tokio runtime to run the worker \"nowhere\"");
}

#[test]
fn the_process_has_one_registry_and_it_is_set_once() {
    let registry = Registry::new();
    registry.breaker("mine").open();
    Registry::set_global(registry).expect("nobody asked before");
    assert_eq!(Registry::global().breaker("mine").stats().opened, 1);
    assert!(Registry::set_global(Registry::new()).is_err());
}

fn busy() -> Registry {
    let registry = Registry::new();
    registry.breaker("payments").open();
    drop(registry.breaker("mail"));
    let _limit = registry.timeout("payments");
    registry.rate_limiter("mail").check().expect("the first of a hundred");
    registry.bus::<u32>("news").expect("it is built").try_publish(1).expect("nobody is behind");
    registry
}

#[test]
fn every_instance_is_observed() {
    let stats = busy().stats();
    let names: Vec<_> = stats.iter().map(|observed| format!("{} {}", observed.room, observed.name)).collect();
    assert_eq!(names, ["breaker mail", "breaker payments", "events news", "rate_limit mail", "timeout payments"]);
    assert!(matches!(&stats[1].stats, Stats::Breaker(stats) if stats.opened == 1));
    assert!(matches!(&stats[2].stats, Stats::Events(stats) if stats.published == 1));
    assert!(matches!(&stats[3].stats, Stats::RateLimit(stats) if stats.admitted == 1));
}

#[tokio::test(start_paused = true)]
async fn how_long_callers_wait_is_observed() {
    let registry = Registry::new();
    let lock = registry.lock("deploy").detached();
    let held = lock.acquire().await.expect("it is free");
    let service = Service::new(std::future::pending::<Result<(), String>>);
    registry.register_service("database", &service).expect("a new name");
    let waits = tokio::spawn(async move { drop(lock.acquire().await) });
    let asks = tokio::spawn({
        let service = service.clone();
        async move { drop(service.get().await) }
    });
    tokio::time::sleep(Duration::from_secs(20)).await;
    let asks_later = tokio::spawn({
        let service = service.clone();
        async move { drop(service.get().await) }
    });
    tokio::time::sleep(Duration::from_secs(10)).await;
    let seconds = |room, metric| {
        let observed = registry.stats().into_iter().find(|observed| observed.room == room).expect("it is there");
        let metric = observed.stats.metrics().into_iter().find(|found| found.name == metric).expect("it is told");
        let Value::Seconds(time) = metric.value else { panic!("{metric:?}") };
        time.as_secs_f64()
    };
    // Locks look at the clock four times a second.
    assert!((29.5..=30.5).contains(&seconds(Room::Lock, "held")), "{}", seconds(Room::Lock, "held"));
    assert!((29.5..=30.5).contains(&seconds(Room::Lock, "waited")), "{}", seconds(Room::Lock, "waited"));
    assert!((29.9..=30.1).contains(&seconds(Room::Service, "waited")), "{}", seconds(Room::Service, "waited"));
    drop(held);
    waits.await.expect("it does not panic");
    for caller in [asks, asks_later] {
        caller.abort();
        assert!(caller.await.is_err());
    }
    assert_eq!((seconds(Room::Lock, "held"), seconds(Room::Lock, "waited")), (0.0, 0.0));
    assert_eq!(seconds(Room::Service, "waited").to_bits(), 0, "whoever gives up does not wait");
}

#[cfg(feature = "serde")]
#[test]
fn a_snapshot_is_serialised() {
    let stats = serde_json::to_value(busy().stats()).expect("plain values");
    assert_eq!(stats[0]["stats"]["state"], "closed");
    assert_eq!(stats[1]["room"], "breaker");
    assert_eq!(stats[1]["name"], "payments");
    assert_eq!(stats[1]["stats"]["state"], "open");
    assert_eq!(stats[1]["stats"]["opened"], 1);
    assert_eq!(stats[4]["stats"]["limit_seconds"], 30.0);
}

#[cfg(feature = "prometheus")]
#[test]
fn prometheus_reads_every_metric_once_under_a_name_by_its_rules() {
    let page = busy().prometheus_page();
    let wanted = [
        "# HELP raceproof_breaker_opened How many times it opened.\n# TYPE raceproof_breaker_opened counter\n\
         raceproof_breaker_opened_total{name=\"mail\"} 0\nraceproof_breaker_opened_total{name=\"payments\"} 1\n",
        "# TYPE raceproof_breaker_state gauge\n",
        "raceproof_breaker_state{name=\"payments\",state=\"closed\"} 0\n\
         raceproof_breaker_state{name=\"payments\",state=\"open\"} 1\n\
         raceproof_breaker_state{name=\"payments\",state=\"half_open\"} 0\n",
        "# UNIT raceproof_timeout_limit_seconds seconds\nraceproof_timeout_limit_seconds{name=\"payments\"} 30.0\n",
        "raceproof_events_published_total{name=\"news\"} 1\n",
        "raceproof_rate_limit_left{name=\"mail\"} 99\n",
    ];
    for part in wanted {
        assert!(page.contains(part), "{part}\nis not in\n{page}");
    }
    let types: Vec<_> = page.lines().filter(|line| line.starts_with("# TYPE")).collect();
    let once: std::collections::BTreeSet<_> = types.iter().collect();
    assert_eq!(types.len(), once.len());
    assert!(page.ends_with("# EOF\n"));
}

#[tokio::test]
async fn locks_and_semaphores_of_one_name_are_two_things_of_one_coordinator() {
    let registry = Registry::new();
    let three = crate::config::SemaphoreConfig { permits: 3.try_into().expect("not zero"), wait: None };
    let held = registry.lock("db").acquire().await.expect("nobody has it");
    let permits = registry.semaphore_with("db", three).expect("it is built").take(2).acquire().await.expect("all free");
    registry.semaphore_with("db", crate::config::SemaphoreConfig::default()).expect_err("it has three permits");
    assert!(registry.lock("db").try_acquire().await.is_err());
    assert!(registry.semaphore("db").take(2).try_acquire().await.is_err());
    let metric = |index: usize, name: &str| {
        let metrics = registry.stats()[index].stats.metrics();
        metrics.iter().find(|metric| metric.name == name).map(|metric| metric.value)
    };
    assert_eq!(metric(0, "holders"), Some(Value::Number(1)));
    assert_eq!(metric(1, "taken"), Some(Value::Number(2)));
    drop((held, permits));
    assert_eq!(metric(0, "holders"), Some(Value::Number(0)));
    assert_eq!(metric(1, "taken"), Some(Value::Number(0)));
}

#[tokio::test]
async fn a_name_that_no_lock_can_have_is_refused_by_the_lock_and_observed_as_unused() {
    let registry = Registry::new();
    assert!(registry.lock("").acquire().await.is_err());
    assert_eq!(registry.stats()[0].stats.metrics()[0].value, Value::Number(0));
}

#[cfg(feature = "config")]
#[tokio::test(start_paused = true)]
async fn a_lock_is_waited_for_as_long_as_the_configuration_says() {
    let registry = Registry::configured(Config::from_toml("[lock.db]\nwait = '3s'").expect("settings"));
    let _held = registry.lock("db").acquire().await.expect("nobody has it");
    let began = tokio::time::Instant::now();
    let waits = tokio::spawn(async move { registry.lock("db").acquire().await.is_err() });
    assert!(waits.await.expect("it does not panic"));
    // Tokio's timers have a resolution of a millisecond, and fire at its end.
    let (waited, wait) = (began.elapsed(), Duration::from_secs(3));
    assert!(waited >= wait && waited <= wait + Duration::from_millis(1), "{waited:?}");
}
