//! What `docs/rooms/observability.md` lists of events and spans is what the rooms tell, at these levels and with these
//! fields.
#![cfg(feature = "cache")]
#![expect(clippy::unwrap_used, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::future::pending;
use std::io::{Error, ErrorKind};
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raceproof::cache::Cache;
use raceproof::events::{Bus, Policy as Full};
use raceproof::lock::Locks;
use raceproof::resilience::limiter::{KeyedRateLimiter, Quota, RateLimiter};
use raceproof::resilience::recovery::{Recovery, Severity, Strategy};
use raceproof::resilience::{Breaker, Debounce, Policy, Retry, Throttle};
use raceproof::service::Service;
use raceproof::startup::{Startup, Unit};
use raceproof::task::{Restart, Supervisor};
use raceproof::worker::Worker;
use tokio::time::{sleep, timeout};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// What the guide lists and is not provoked here: signals, threads that are blocked, servers that are away.
const ELSEWHERE: [&str; 4] = [
    "shutting down",
    "not waiting for the rest of the shutdown",
    "tasks did not end when they were stopped by force",
    "no connection",
];

const SECOND: Duration = Duration::from_secs(1);

/// An event or a span: its level, its text or name, its fields.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Told {
    level: String,
    text: String,
    fields: BTreeSet<String>,
}

impl Told {
    fn new(level: Level, text: String, fields: impl Iterator<Item = &'static str>) -> Self {
        Self { level: level.as_str().to_lowercase(), text, fields: fields.map(str::to_owned).collect() }
    }
}

/// Hears all that the library tells.
#[derive(Clone, Default)]
struct Listener(Arc<Mutex<BTreeSet<Told>>>);

struct Text(String);

impl Visit for Text {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Listener {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("raceproof")
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let metadata = span.metadata();
        let fields = metadata.fields().iter().map(|field| field.name());
        self.0.lock().unwrap().insert(Told::new(*metadata.level(), metadata.name().to_owned(), fields));
        Id::from_u64(1)
    }

    fn event(&self, event: &Event<'_>) {
        let mut text = Text(String::new());
        event.record(&mut text);
        let fields = event.metadata().fields().iter().map(|field| field.name()).filter(|name| *name != "message");
        self.0.lock().unwrap().insert(Told::new(*event.metadata().level(), text.0, fields));
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn refused() -> Result<(), Error> {
    Err(ErrorKind::ConnectionRefused.into())
}

async fn slow(time: Duration) -> Result<(), Error> {
    sleep(time).await;
    Ok(())
}

async fn calls() {
    let breaker = Breaker::builder("breaker").consecutive(1).open_for(SECOND).build();
    breaker.call(async { refused() }).await.unwrap_err();
    sleep(SECOND).await;
    breaker.call(async { Ok::<_, Error>(()) }).await.unwrap();

    Retry::builder().attempts_max(2).build().run(|| async { refused() }).await.unwrap_err();
    let policy = Policy::builder().concurrency(1, SECOND).build();
    let wait = || policy.run(async || slow(SECOND / 2).await);
    let (first, second) = tokio::join!(wait(), wait());
    first.and(second).unwrap();

    let limiter = RateLimiter::new(Quota::per_second(NonZeroU32::MIN));
    let keyed = KeyedRateLimiter::<u8>::new(Quota::per_second(NonZeroU32::MIN));
    let throttle = Throttle::new(SECOND);
    for _ in 0..2 {
        limiter.until_ready().await.unwrap();
        keyed.until_ready(&1).await.unwrap();
        throttle.begin().await.unwrap();
    }

    let debounce = Debounce::builder(SECOND).spawn(|(): ()| async { panic!("on purpose") });
    debounce.push(()).unwrap();
    debounce.close().await;

    let fails = async |_| Err("no luck".into());
    let recovery = Recovery::builder().alarm_per_minute(1).on_critical(|_| panic!("on purpose"));
    let recovery = recovery.strategy("disk", Strategy::new(3, SECOND), fails).build();
    for _ in 0..3 {
        recovery.report("disk", Severity::Critical, "full").await;
        sleep(SECOND).await;
    }
}

async fn locks() {
    let locks = Locks::new();
    let held = locks.lock("a").acquire().await.unwrap();
    locks.lock("a").acquire().await.unwrap_err();
    locks.lock("a").detached().wait(SECOND).acquire().await.unwrap_err();
    let late = locks.lock("a").detached();
    let mut late = Box::pin(late.acquire());
    timeout(SECOND, &mut late).await.unwrap_err();
    drop(held);
    drop(locks.lock("a").detached().acquire().await.unwrap());
    late.await.unwrap_err();
}

async fn values() {
    let cache: Cache<u8, (), Error> = Cache::new(1);
    cache.get_or_load(&1, || async { refused() }).await.unwrap_err();
    cache.get_or_load(&1, || slow(SECOND)).await.unwrap();

    let make = || slow(SECOND);
    let service = Service::builder(make).clean_up(|_| async { panic!("on purpose") }).build();
    let starts = tokio::spawn({
        let service = service.clone();
        async move { service.get().await.map(drop) }
    });
    sleep(SECOND / 2).await;
    let _closed = service.close().await;
    starts.await.unwrap().unwrap_err();
    Service::new(|| async { refused() }).get().await.map(drop).unwrap_err();

    let unit = Unit::new("unit", || async { Ok::<_, Error>(()) });
    Startup::new().unit(unit).start().await.unwrap().shutdown().await;
}

async fn tasks() {
    let bus = Bus::<u8>::builder().on_panic(|_| panic!("on purpose")).build();
    let _handler = bus.subscribe("frail").handler(|_| async { panic!("on purpose") }).unwrap();
    let mut lossy = bus.subscribe("lossy").policy(Full::DropOldest).limit(1).receiver().unwrap();
    let mut cut = bus.subscribe("cut").policy(Full::Disconnect).limit(1).receiver().unwrap();
    for n in 0..3 {
        bus.publish(n).await.unwrap();
    }
    lossy.recv().await.unwrap();
    cut.recv().await.unwrap_err();
    drop((lossy, cut));
    bus.drain().await;
    let full = Bus::<u8>::builder().capacity(1).build();
    let mut late = full.subscribe("late").receiver().unwrap();
    full.publish(1).await.unwrap();
    let (published, received) = tokio::join!(full.publish(2), late.recv());
    assert!(published.is_ok() && received.is_ok());

    let supervisor = Supervisor::new();
    let panics = async { panic!("on purpose") };
    raceproof::background_task!(supervisor, "panics", panics).unwrap().outcome().await;
    let fails = supervisor.task("fails").restarts_max(0).supervise(Restart::OnFailure, |_| async { refused() });
    fails.unwrap().outcome().await;
    raceproof::background_task!(supervisor, "hangs", pending::<()>()).unwrap();
    supervisor.shutdown(SECOND).await;

    let worker = Worker::builder("frail").restarts_max(1).spawn(|| |(): ()| async { panic!("on purpose") });
    let worker: Worker<(), ()> = worker.unwrap();
    let (first, second, third) = tokio::join!(worker.call(()), worker.call(()), worker.call(()));
    assert!(first.is_err() && second.is_err() && third.is_err());
}

/// The rows of the guide's tables: level, text, fields. Spans are of the level debug.
fn guide() -> BTreeSet<Told> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/rooms/observability.md");
    let text = std::fs::read_to_string(path).expect("the guide");
    let (_, section) = text.split_once("## Events and spans").expect("the section");
    let (section, _) = section.split_once("\n## ").expect("its end");
    let names = |cell: &str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect::<Vec<_>>();
    let mut listed = BTreeSet::new();
    for row in section.lines().filter(|line| line.starts_with('|')) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let (level, text, fields) = match cells[..] {
            [_, _, level, text, fields, _] => (level, text, fields),
            [_, text, _, fields, _] => ("debug", text, fields),
            _ => panic!("{row}"),
        };
        let text = names(text);
        // Headings have no name; a warning of the configuration is its whole text.
        if let [text] = &text[..] {
            let fields = names(fields).into_iter().collect();
            listed.insert(Told { level: level.to_owned(), text: text.clone(), fields });
        }
    }
    assert!(text.contains("A task of a supervisor runs in the span `task` (debug) with its `name`"));
    listed.insert(Told { level: "debug".into(), text: "task".into(), fields: ["name".into()].into() });
    listed
}

/// Spans that are open, by their names.
#[derive(Clone, Default)]
struct Open(Arc<Mutex<Vec<(u64, &'static str)>>>);

impl Open {
    fn count(&self, name: &str) -> usize {
        self.0.lock().unwrap().iter().filter(|(_, open)| *open == name).count()
    }
}

impl Subscriber for Open {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span()
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let id = LAST.fetch_add(1, Ordering::Relaxed) + 1;
        self.0.lock().unwrap().push((id, span.metadata().name()));
        Id::from_u64(id)
    }

    fn try_close(&self, id: Id) -> bool {
        // No span of the library has a second handle.
        self.0.lock().unwrap().retain(|(open, _)| *open != id.into_u64());
        true
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

#[tokio::test(start_paused = true)]
async fn a_span_lasts_as_long_as_the_wait_that_it_is_around() {
    let open = Open::default();
    let _listening = tracing::subscriber::set_default(open.clone());
    let locks = Locks::new();
    let held = locks.lock("a").detached().acquire().await.unwrap();
    let (alone, several) = (locks.lock("a").detached(), locks.lock_all(["a", "b"]).detached());
    let (mut alone, mut several) = (Box::pin(alone.acquire()), Box::pin(several.acquire()));
    timeout(SECOND, &mut alone).await.unwrap_err();
    assert_eq!(open.count("raceproof.lock.wait"), 1, "in the queue of a name");
    timeout(SECOND, &mut several).await.unwrap_err();
    timeout(SECOND, &mut alone).await.unwrap_err();
    assert_eq!(open.count("raceproof.lock.wait"), 2, "where the machine has taken the queue over");
    drop(held);
    drop(alone.await.unwrap());
    drop(several.await.unwrap());

    let cache: Cache<u8, (), Error> = Cache::new(1);
    let load = cache.get_or_load(&1, || slow(2 * SECOND));
    let look = async {
        sleep(SECOND).await;
        ["raceproof.cache.load", "raceproof.cache.wait"].map(|name| open.count(name))
    };
    let (loaded, during) = tokio::join!(load, look);
    loaded.unwrap();
    assert_eq!(during, [1, 1]);
    tokio::task::yield_now().await;
    assert_eq!(*open.0.lock().unwrap(), [], "whatever waited has ended");
}

#[tokio::test(start_paused = true)]
async fn the_guide_lists_what_is_told() {
    let listener = Listener::default();
    let listening = tracing::subscriber::set_default(listener.clone());
    calls().await;
    locks().await;
    values().await;
    tasks().await;
    drop(listening);
    let told = listener.0.lock().unwrap().clone();
    let mut guide = guide();
    assert!(guide.len() > 40, "the tables were read: {guide:?}");
    let unlisted: Vec<_> = told.difference(&guide).collect();
    assert!(unlisted.is_empty(), "told and not in the guide: {unlisted:#?}");
    guide.retain(|listed| !ELSEWHERE.contains(&&*listed.text));
    let silent: Vec<_> = guide.difference(&told).collect();
    assert!(silent.is_empty(), "in the guide and not told: {silent:#?}");
}
