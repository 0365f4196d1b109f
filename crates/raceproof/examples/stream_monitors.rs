//! A proxy that tells an orchestrator which streams began and ended, keeps an eye on it, and clears up what nobody ended.
//!
//! `cargo run -p raceproof --example stream_monitors` (time is simulated: it takes no hour)
//!
//! The usual way remembers which streams have ended, so that none ends twice, and forgets them in a clean-up: whatever
//! is said to have ended after that ends again. Here one worker remembers what is open. An end that finds nothing open
//! has nothing to tell, however late it comes, and nothing is ever forgotten too early.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use raceproof::registry::Registry;
use raceproof::resilience::{Policy, Retry};
use raceproof::startup::{Running, Startup, Unit};
use raceproof::task::{Restart, SpawnError, Supervisor, TaskHandle};
use raceproof::worker::{Handler, Worker};
use tokio::task::JoinSet;
use tokio::time::{Instant, interval, sleep, timeout};

const MINUTE: Duration = Duration::from_secs(60);
/// A stream that was not heard of for so long has nobody who will end it.
const SILENT: Duration = Duration::from_secs(600);

type Stream = u32;

/// Answers within 20 ms, unless it is down.
#[derive(Clone, Default)]
struct Orchestrator {
    told: Arc<Mutex<Vec<(Stream, &'static str)>>>,
    asked: Arc<AtomicU32>,
    down: Arc<AtomicBool>,
}

impl Orchestrator {
    async fn answer(&self) -> io::Result<()> {
        sleep(Duration::from_millis(20)).await;
        if self.down.load(Ordering::SeqCst) { Err(io::ErrorKind::ConnectionRefused.into()) } else { Ok(()) }
    }

    async fn tell(&self, stream: Stream, what: &'static str) -> io::Result<()> {
        self.answer().await?;
        self.told.lock().expect("nobody panics while it is locked").push((stream, what));
        Ok(())
    }

    async fn status(self) -> io::Result<()> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        self.answer().await
    }

    fn told(&self) -> Vec<(Stream, &'static str)> {
        self.told.lock().expect("nobody panics while it is locked").clone()
    }
}

/// What is known of a stream that is open.
struct Open {
    heard: Instant,
    /// It is over, and the orchestrator could not be told.
    over: bool,
}

#[derive(Debug, PartialEq)]
enum Ask {
    Started(Stream),
    Playing(Stream),
    Ended(Stream),
    CleanUp,
}

#[derive(Debug, PartialEq)]
enum Answer {
    /// The orchestrator took it.
    Told,
    /// There was nothing to tell.
    Nothing,
    /// It could not be told: a stream that starts is refused, one that ends is told of by a clean-up.
    Unreachable,
    /// Streams that nobody ended.
    Stuck(Vec<Stream>),
}

/// The only one that tells of streams, so an end cannot overtake its start.
struct Streams {
    orchestrator: Orchestrator,
    policy: Policy,
    /// Not in the handler itself: it outlives one that panics.
    open: Arc<Mutex<BTreeMap<Stream, Open>>>,
}

impl Streams {
    fn open(&self) -> MutexGuard<'_, BTreeMap<Stream, Open>> {
        self.open.lock().expect("nobody panics while it is locked")
    }

    async fn is_told(&self, stream: Stream, what: &'static str) -> bool {
        self.policy.run(|| self.orchestrator.tell(stream, what)).await.is_ok()
    }

    async fn start(&self, stream: Stream) -> Answer {
        if self.open().contains_key(&stream) {
            return Answer::Nothing;
        }
        if !self.is_told(stream, "started").await {
            return Answer::Unreachable;
        }
        self.open().insert(stream, Open { heard: Instant::now(), over: false });
        Answer::Told
    }

    async fn end(&self, stream: Stream) -> Answer {
        match self.open().get_mut(&stream) {
            Some(open) => open.over = true,
            None => return Answer::Nothing,
        }
        if !self.is_told(stream, "ended").await {
            return Answer::Unreachable;
        }
        self.open().remove(&stream);
        Answer::Told
    }

    /// Ends what is silent, and tells of what is over and could not be told of.
    async fn clean_up(&self) -> Answer {
        let silent = |open: &Open| !open.over && open.heard.elapsed() >= SILENT;
        let stuck: Vec<_> = self.open().iter().filter(|(_, open)| silent(open)).map(|(stream, _)| *stream).collect();
        let over: Vec<_> = self.open().iter().filter(|(_, open)| open.over).map(|(stream, _)| *stream).collect();
        for stream in stuck.iter().chain(&over) {
            self.end(*stream).await;
        }
        Answer::Stuck(stuck)
    }
}

impl Handler<Ask> for Streams {
    type Reply = Answer;

    async fn handle(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Started(stream) => self.start(stream).await,
            Ask::Ended(stream) => self.end(stream).await,
            Ask::CleanUp => self.clean_up().await,
            Ask::Playing(stream) => {
                if let Some(open) = self.open().get_mut(&stream) {
                    open.heard = Instant::now();
                }
                Answer::Nothing
            }
        }
    }
}

type Proxy = Worker<Ask, Answer>;

/// The clean-up monitor. Every five minutes; its first run has a bug.
fn monitor(tasks: &Supervisor, proxy: &Proxy, stuck: &Arc<Mutex<Vec<Stream>>>) -> Result<TaskHandle, SpawnError> {
    let (proxy, stuck) = (proxy.clone(), Arc::clone(stuck));
    let mut runs = 0;
    tasks.task("clean-up").supervise(Restart::OnFailure, move |cancel| {
        runs += 1;
        let (run, proxy, stuck) = (runs, proxy.clone(), Arc::clone(&stuck));
        async move {
            let mut every = interval(5 * MINUTE);
            loop {
                tokio::select! {
                    () = cancel.cancelled() => return,
                    _ = every.tick() => assert!(run > 1, "the first run has a bug"),
                }
                if let Ok(Answer::Stuck(found)) = proxy.call(Ask::CleanUp).await {
                    stuck.lock().expect("nobody panics while it is locked").extend(found);
                }
            }
        }
    })
}

/// A stream of so many seconds. Its client, its engine and the proxy all notice the end, in tasks that nobody cancels.
async fn play(proxy: Proxy, stream: Stream, seconds: u32) {
    assert_eq!(proxy.call(Ask::Started(stream)).await, Ok(Answer::Told));
    for second in 0..seconds {
        if second % 60 == 0 {
            assert_eq!(proxy.call(Ask::Playing(stream)).await, Ok(Answer::Nothing));
        }
        sleep(Duration::from_secs(1)).await;
    }
    let ends = [(); 3].map(|()| {
        let proxy = proxy.clone();
        tokio::spawn(async move { proxy.call(Ask::Ended(stream)).await })
    });
    let mut told = 0;
    for end in ends {
        let answer = end.await.expect("it does not panic").expect("the worker runs");
        told += u32::from(answer == Answer::Told);
    }
    assert_eq!(told, 1, "stream {stream} ended once");
}

/// The orchestrator is down for a while: 50 streams end meanwhile, and one wants to start.
async fn outage(orchestrator: &Orchestrator, proxy: &Proxy, app: &Running) -> Result<(), Box<dyn Error>> {
    let mut ready = app.ready();
    for stream in 1_000..1_050 {
        assert_eq!(proxy.call(Ask::Started(stream)).await, Ok(Answer::Told));
    }
    let (began, asked) = (Instant::now(), orchestrator.asked.load(Ordering::SeqCst));
    orchestrator.down.store(true, Ordering::SeqCst);
    timeout(10 * MINUTE, ready.wait_for(|ready| !ready)).await??;
    let (after, asked) = (began.elapsed(), orchestrator.asked.load(Ordering::SeqCst) - asked);
    println!("not ready {after:?} after the orchestrator went down, and {asked} checks");
    assert!(after <= 2 * MINUTE && asked <= 4);
    for stream in 1_000..1_050 {
        assert_eq!(proxy.call(Ask::Ended(stream)).await, Ok(Answer::Unreachable));
    }
    assert_eq!(proxy.call(Ask::Started(2_000)).await, Ok(Answer::Unreachable));
    orchestrator.down.store(false, Ordering::SeqCst);
    timeout(MINUTE, ready.wait_for(|ready| *ready)).await??;
    sleep(15 * MINUTE).await;
    Ok(())
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let (registry, orchestrator) = (Registry::new(), Orchestrator::default());
    let breaker = registry.breaker("orchestrator");
    let policy =
        Policy::builder().timeout(Duration::from_secs(10)).retry(Retry::new()).breaker(breaker.clone()).build();
    let (told, open) = (orchestrator.clone(), Arc::new(Mutex::new(BTreeMap::new())));
    let remembered = Arc::clone(&open);
    let proxy = Worker::builder("streams").mailbox(4_096).spawn(move || Streams {
        orchestrator: told.clone(),
        policy: policy.clone(),
        open: Arc::clone(&open),
    })?;
    registry.register_worker(&proxy)?;

    // The health monitor: readiness follows the orchestrator's status.
    let status = orchestrator.clone();
    let unit = Unit::new("orchestrator", || async { Ok::<_, io::Error>(()) }).check(
        Duration::from_secs(30),
        Duration::from_secs(3),
        3,
        move || status.clone().status(),
    );
    let app = Startup::new().unit(unit).start().await?;
    registry.register_startup("proxy", &app)?;

    // Two parts of the program start the clean-up monitor: there is one.
    let (tasks, stuck) = (Supervisor::new(), Arc::default());
    let clean_up = monitor(&tasks, &proxy, &stuck)?;
    assert!(matches!(monitor(&tasks, &proxy, &stuck), Err(SpawnError::Running { .. })));

    let mut streams = JoinSet::new();
    for stream in 0..300 {
        streams.spawn(play(proxy.clone(), stream, stream % 60));
    }
    streams.spawn(play(proxy.clone(), 300, 3_000));
    // Nobody will end this one.
    assert_eq!(proxy.call(Ask::Started(301)).await, Ok(Answer::Told));
    streams.join_all().await;
    outage(&orchestrator, &proxy, &app).await?;

    // Long after every clean-up, somebody says again that they have ended.
    for stream in (0..302).chain(1_000..1_050) {
        assert_eq!(proxy.call(Ask::Ended(stream)).await, Ok(Answer::Nothing));
    }
    let mut told = orchestrator.told();
    told.sort_by_key(|(stream, _)| *stream);
    let once = |stream| [(stream, "started"), (stream, "ended")];
    assert_eq!(told, (0..302).chain(1_000..1_050).flat_map(once).collect::<Vec<_>>());
    assert_eq!(*stuck.lock().expect("nobody panics while it is locked"), [301]);
    assert!(remembered.lock().expect("nobody panics while it is locked").is_empty());
    println!("352 streams were told of once each; 301 was stuck, the long one was not; nothing is remembered");

    for observed in registry.stats() {
        println!("{} {}: {:?}", observed.room, observed.name, observed.stats);
    }
    assert!(breaker.stats().refused > 0, "most of what ended during the outage waited for nothing");
    assert_eq!(tasks.stats().panicked, 1);
    assert!(tasks.shutdown(Duration::from_secs(5)).await.is_clean());
    println!("the clean-up monitor: {:?}", clean_up.outcome().await);
    proxy.stop_within(Duration::from_secs(5)).await?;
    assert!(app.shutdown().await.is_clean());
    Ok(())
}
