//! The machine's surroundings, driven by hand: who is woken, what is started, what is left of those who go.

use std::task::{Context, Poll, Waker};

use futures_util::FutureExt;
use raceproof::store::{MemStore, WriterOptions};
use raceproof_core::hub::Config;
use raceproof_core::id::{ConnId, SessionKey, Token};
use raceproof_core::time::Time;
use raceproof_core::wire::{Request, Response};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::link::Taker;
use super::*;
use crate::outbox::Outbox;

const PATIENCE: Duration = Duration::from_secs(20);

/// A sequencer's state without its task.
struct Bench {
    state: State,
    conns: u64,
}

impl Bench {
    fn new() -> Self {
        Self::with(Config::default())
    }

    fn with(config: Config) -> Self {
        Self { state: state(config, WriterOptions::default()), conns: 0 }
    }

    fn now(&self) -> Time {
        self.state.clock.now()
    }

    /// Asks over HTTP, and lets what is due be done until the answer is there.
    fn ask(&mut self, session: Option<SessionKey>, request: Value) -> Answer {
        let mut answer = self.begin(session, request);
        answered(|| self.state.turn(), &mut answer)
    }

    fn begin(&mut self, session: Option<SessionKey>, request: Value) -> oneshot::Receiver<Answer> {
        self.conns += 1;
        let (input, answer) = call(self.conns, session, request);
        self.state.take(self.now(), input);
        answer
    }

    fn open(&mut self, ttl_ms: u64) -> SessionKey {
        match *self.ask(None, json!({ "open": { "name": "a", "ttl_ms": ttl_ms } })).unwrap() {
            Response::Opened { session, .. } => session,
            other => panic!("{other:?}"),
        }
    }

    fn acquire(&mut self, session: SessionKey, acquire: Value) -> Token {
        match *self.ask(Some(session), json!({ "acquire": acquire })).unwrap() {
            Response::Granted(grant) => grant.token,
            other => panic!("{other:?}"),
        }
    }

    fn holders(&mut self, name: &str) -> Vec<Token> {
        match *self.ask(None, json!({ "lock": { "name": name } })).unwrap() {
            Response::Lock(lock) => lock.holders.into_iter().map(|holder| holder.token).collect(),
            other => panic!("{other:?}"),
        }
    }
}

fn state(config: Config, options: WriterOptions) -> State {
    let clock = Clock::start();
    let journal = Journal::start(Box::new(MemStore::new()), options).unwrap();
    State::new(Hub::new(config, clock.now()), clock, journal, Arc::new(Metrics::new()))
}

fn call(conn: u64, session: Option<SessionKey>, request: Value) -> (Input, oneshot::Receiver<Answer>) {
    let (reply, answer) = oneshot::channel();
    let request: Request = serde_json::from_str(&request.to_string()).unwrap();
    (Input::Call { conn: ConnId::new(conn), session, request, reply }, answer)
}

fn answered(mut turn: impl FnMut(), answer: &mut oneshot::Receiver<Answer>) -> Answer {
    // The store's thread knows nothing of paused time.
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        turn();
        if let Ok(answer) = answer.try_recv() {
            return answer;
        }
        assert!(std::time::Instant::now() < end, "no answer comes");
        std::thread::sleep(Duration::from_micros(100));
    }
}

#[test]
fn once_stopped_nothing_is_taken_and_everybody_is_told() {
    let shared = Shared::new(Bench::new().state);
    shared.lock().unwrap().stopped = true;
    let (input, mut answer) = call(1, None, json!({ "locks": {} }));
    assert!(!shared.take(input));
    assert_eq!(answer.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
    let outbox = Arc::new(Outbox::new(4));
    assert!(!shared.take(Input::Connect { conn: ConnId::new(2), outbox: Arc::clone(&outbox) }));
    let told = outbox.poll_take(&Context::from_waker(Waker::noop()), &mut Default::default());
    assert_eq!(told, Poll::Ready(Some(Ending::GoingAway)));
    assert_eq!(shared.lock().unwrap().hub.stats().connections, 0);
}

#[test]
fn l7_nothing_is_left_of_a_call_that_was_answered_or_given_up() {
    let mut bench = Bench::new();
    let mut answered = bench.begin(None, json!({ "locks": {} }));
    assert!(answered.try_recv().unwrap().is_ok());
    // It waits for the disk.
    let waits = bench.begin(None, json!({ "open": { "name": "a" } }));
    assert_eq!(bench.state.hub.stats().connections, 1);
    drop(waits);
    for conn in [2, 1] {
        bench.state.take(bench.now(), Input::Disconnect { conn: ConnId::new(conn) });
        assert_eq!(bench.state.hub.stats().connections, 0);
    }
}

#[test]
fn whoever_waits_for_the_disk_wakes_the_keeper_and_the_keeper_the_store() {
    let mut options = WriterOptions::default();
    // Only a flush that is asked for comes in time.
    options.lazy_flush = Duration::from_secs(3_600);
    let shared = Shared::new(state(Config::default(), options));
    let turn = || {
        let mut state = shared.lock().unwrap();
        state.turn();
        state.arm();
    };
    turn();
    let (looks, mut seen) = call(1, None, json!({ "locks": {} }));
    assert!(!shared.take(looks));
    assert!(seen.try_recv().unwrap().is_ok());
    assert!(shared.due.notified().now_or_never().is_none(), "a look gives the keeper nothing to do");

    let (opens, mut opened) = call(2, None, json!({ "open": { "name": "a" } }));
    assert!(shared.take(opens));
    assert!(opened.try_recv().is_err(), "durable before visible");
    assert!(shared.due.notified().now_or_never().is_some());
    answered(turn, &mut opened).unwrap();
}

#[tokio::test(start_paused = true)]
async fn l5_leases_are_looked_at_in_time_and_a_server_without_any_rests() {
    let mut bench = Bench::new();
    bench.state.turn();
    let pause = bench.state.arm().since(bench.now());
    assert!((Duration::from_secs(1)..=Duration::from_secs(60)).contains(&pause), "{pause:?}");
    bench.open(60_000);
    tokio::time::advance(pause).await;
    bench.state.turn();
    // The machine takes 50 ms for a stall and wants to be looked at every 20 ms; more often costs an idle server.
    let pause = bench.state.arm().since(bench.now());
    assert!((Duration::from_millis(5)..=Duration::from_millis(20)).contains(&pause), "{pause:?}");
}

#[tokio::test(start_paused = true)]
async fn l5_a_keeper_goes_on_at_once_while_more_leases_are_over_than_one_look_ends() {
    let mut config = Config::default();
    config.expiries_per_tick_max = 1;
    let mut bench = Bench::with(config);
    for _ in 0..3 {
        bench.open(100);
    }
    while bench.state.hub.sessions_count() == 3 {
        assert!(!bench.state.is_behind(), "nothing is over");
        tokio::time::advance(Duration::from_millis(10)).await;
        bench.state.turn();
    }
    for left in [2, 1] {
        assert_eq!(bench.state.hub.sessions_count(), left);
        assert!(bench.state.is_behind());
        bench.state.turn();
    }
    assert!(!bench.state.is_behind());
}

#[test]
fn l4_what_is_granted_to_a_caller_that_is_gone_is_given_back_unless_it_may_ask_again() {
    let mut bench = Bench::new();
    let (holder, waiter) = (bench.open(60_000), bench.open(60_000));
    for request in [None, Some("r")] {
        let token = bench.acquire(holder, json!({ "names": ["x"] }));
        let mut acquire = json!({ "names": ["x"], "wait_ms": 60_000 });
        if let Some(request) = request {
            acquire["request"] = request.into();
        }
        // Nobody listens any more, and the sequencer was not told yet.
        drop(bench.begin(Some(waiter), json!({ "acquire": acquire })));
        bench.ask(Some(holder), json!({ "release": { "name": "x", "token": token } })).unwrap();
        assert_eq!(bench.holders("x").is_empty(), request.is_none(), "{request:?}");
    }
    // L12: its retry finds it.
    let held = bench.holders("x");
    let retried = bench.acquire(waiter, json!({ "names": ["x"], "wait_ms": 60_000, "request": "r" }));
    assert_eq!(held, [retried]);
}

#[test]
fn l4_who_is_elected_and_gone_does_not_lead() {
    let mut bench = Bench::new();
    let (leader, candidate) = (bench.open(60_000), bench.open(60_000));
    let elected = bench.ask(Some(leader), json!({ "campaign": { "election": "e" } })).unwrap();
    let Response::Elected(elected) = *elected else { panic!("{elected:?}") };
    drop(bench.begin(Some(candidate), json!({ "campaign": { "election": "e", "wait_ms": 60_000 } })));
    bench.ask(Some(leader), json!({ "resign": { "election": "e", "term": elected.term } })).unwrap();
    let shown = bench.ask(None, json!({ "election": { "name": "e" } })).unwrap();
    let Response::Election(shown) = *shown else { panic!("{shown:?}") };
    assert_eq!((shown.leader.map(|leader| leader.term), shown.candidates.len()), (None, 0));
}
