//! Every limit has a typed answer, and changes nothing.

use super::*;

#[test]
fn limits_are_answered_and_change_nothing() {
    let config = Config {
        sessions_max: 2,
        waiters_per_name_max: 1,
        grants_per_session_max: 2,
        waiters_per_session_max: 1,
        ..Config::default()
    };
    let mut bench = Bench::with(config);
    let (a, b) = (bench.client("a"), bench.client("b"));
    let conn = bench.connect(ConnKind::Socket);
    let open = |ttl_ms| Request::Open(Open { name: "c".into(), ttl_ms, on_disconnect: OnDisconnect::Keep });
    assert_eq!(bench.ask(conn, open(10_000)).expect_err("full").code, Code::TooManySessions);
    assert_eq!(bench.ask(conn, open(99)).expect_err("short").code, Code::TtlOutOfRange);
    assert_eq!(bench.ask(conn, open(86_400_001)).expect_err("long").code, Code::TtlOutOfRange);
    bench.take(a, "x");
    bench.take(a, "y");
    let asked = bench.acquire(a, lock("z"));
    assert_eq!(bench.refused(asked).code, Code::TooManyGrants);
    let first = bench.acquire(b, lock("x"));
    let second = bench.acquire(b, Acquire { owner: Some("t".into()), ..lock("y") });
    assert_eq!(bench.refused(second).code, Code::TooManyWaiters);
    assert!(bench.waits(first));
    let long = "n".repeat(257);
    for (acquire, code) in [
        (lock(&long), Code::NameInvalid),
        (lock(""), Code::NameInvalid),
        (locks(&[]), Code::BadRequest),
        (locks(&["q", "q"]), Code::BadRequest),
        (Acquire { permits: Some(2), take: 3, ..lock("q") }, Code::BadRequest),
        (Acquire { permits: Some(0), take: 0, ..lock("q") }, Code::BadRequest),
        (Acquire { permits: Some(2), mode: Mode::Shared, ..lock("q") }, Code::BadRequest),
        (Acquire { lock_delay_ms: 3_600_001, ..lock("q") }, Code::BadRequest),
        (Acquire { request: Some(RequestId::new("r".repeat(65))), ..lock("q") }, Code::BadRequest),
    ] {
        let asked = bench.acquire(b, acquire);
        assert_eq!(bench.refused(asked).code, code);
    }
    assert_eq!(bench.look("q"), (vec![], 0));
}

impl Bench {
    fn code_of(&mut self, client: Client, acquire: Acquire) -> Option<Code> {
        let asked = self.acquire(client, acquire);
        self.answer(asked).and_then(Result::err).map(|problem| problem.code)
    }
}

#[test]
fn as_many_may_wait_on_one_name_and_one_leaves_room_for_one() {
    let mut bench = Bench::with(Config { waiters_per_name_max: 2, ..Config::default() });
    let (a, b) = (bench.client("a"), bench.client("b"));
    bench.take(a, "x");
    bench.take(a, "y");
    let flow = |owner: &str, name: &str| Acquire {
        owner: Some(owner.into()),
        request: Some(RequestId::new(owner)),
        ..lock(name)
    };
    assert_eq!(bench.code_of(b, flow("1", "x")), None);
    assert_eq!(bench.code_of(b, flow("2", "x")), None);
    assert_eq!(bench.code_of(b, flow("3", "x")), Some(Code::TooManyWaiters));
    let both = Acquire { names: locks(&["y", "x"]).names, ..flow("4", "x") };
    assert_eq!(bench.code_of(b, both), Some(Code::TooManyWaiters), "as one of several too");
    assert_eq!(bench.look("y").1, 0);
    assert_eq!(bench.code_of(b, flow("5", "y")), None, "another name has room");
    assert_eq!(bench.code_of(b, Acquire { wait_ms: 0, ..flow("6", "x") }), Some(Code::LockHeld), "it would not wait");
    bench.ask(b.conn, Request::Cancel { request: RequestId::new("1") }).expect("cancelled");
    assert_eq!(bench.code_of(b, flow("7", "x")), None);
    assert_eq!(bench.look("x").1, 2);
}

#[test]
fn a_quarter_of_a_million_wait_and_one_more_is_refused() {
    let Config { waiters_max, waiters_per_name_max, waiters_per_session_max, .. } = Config::default();
    let (names, sessions) = (waiters_max / waiters_per_name_max, waiters_max / waiters_per_session_max);
    assert_eq!((waiters_max, names, sessions), (250_000, 25, 250));
    let mut bench = Bench::new();
    let holder = bench.client_with("holder", 86_400_000, OnDisconnect::Keep);
    let names: Vec<_> = (0..names).map(|name| name.to_string()).collect();
    let tokens: Vec<_> = names.iter().map(|name| bench.take(holder, name)).collect();
    let mut first = None;
    for session in 0..sessions {
        let client = bench.client_with("waiter", 86_400_000, OnDisconnect::Keep);
        for wait in 0..waiters_per_session_max {
            let owner = Some(format!("{session}-{wait}").into());
            let asked = bench.acquire(client, Acquire { owner, ..lock(&names[wait % names.len()]) });
            assert!(bench.waits(asked), "{session}-{wait}");
            first.get_or_insert((client, asked));
        }
    }
    assert_eq!(bench.hub.stats().waits, waiters_max);
    let late = bench.client("late");
    let free = bench.take(late, "free");
    let asked = bench.acquire(late, lock(&names[0]));
    let problem = bench.refused(asked);
    assert_eq!((problem.code, problem.retry_after_ms), (Code::TooManyWaiters, Some(1_000)));
    assert!(problem.detail.contains("250000 requests wait on this hub"), "{}", problem.detail);
    bench.release(late, "free", free).expect("held");
    // One that is served leaves room for one.
    bench.release(holder, &names[0], tokens[0]).expect("held");
    let (client, asked) = first.expect("somebody waits");
    bench.granted(asked);
    assert_eq!(
        bench.code_of(client, Acquire { owner: Some("late".into()), ..lock(&names[1]) }),
        Some(Code::TooManyWaiters)
    );
    assert_eq!(bench.code_of(late, lock(&names[0])), None);
    assert_eq!(bench.code_of(late, lock(&names[0])), Some(Code::TooManyWaiters));
}

#[test]
fn texts_may_be_as_long_as_they_may_and_no_longer() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    let text = |bytes: usize| "n".repeat(bytes);
    for (bytes, code) in [(256, None), (257, Some(Code::NameInvalid))] {
        assert_eq!(bench.code_of(a, lock(&text(bytes))), code);
        let conn = bench.connect(ConnKind::Socket);
        let open = Open { name: text(bytes).into(), ttl_ms: 10_000, on_disconnect: OnDisconnect::Keep };
        assert_eq!(bench.ask(conn, Request::Open(open)).err().map(|problem| problem.code), code);
        let conn = bench.connect(ConnKind::Socket);
        let observe = Request::Observe { election: text(bytes).into() };
        assert_eq!(bench.ask(conn, observe).err().map(|problem| problem.code), code);
    }
    for (bytes, code) in [(1, None), (64, None), (65, Some(Code::BadRequest)), (0, Some(Code::BadRequest))] {
        let owner = Acquire { owner: Some(text(bytes).into()), ..lock(&format!("owner {bytes}")) };
        assert_eq!(bench.code_of(a, owner), code);
        let request = Acquire { request: Some(RequestId::new(text(bytes))), ..lock(&format!("request {bytes}")) };
        assert_eq!(bench.code_of(a, request), code);
    }
    for (bytes, request, code) in
        [(4_096, 63, None), (4_097, 62, Some(Code::ValueTooLarge)), (0, 65, Some(Code::BadRequest))]
    {
        let election = format!("{bytes}").into();
        let request = Some(RequestId::new(text(request)));
        let campaign = Campaign { election, request, value: text(bytes).into(), wait_ms: 0 };
        let answer = bench.ask(a.conn, Request::Campaign(campaign));
        assert_eq!(answer.err().map(|problem| problem.code), code, "{bytes}");
    }
}

#[test]
fn a_request_takes_64_names_and_no_more() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    let names: Vec<_> = (0..65).map(|name| name.to_string()).collect();
    let names: Vec<_> = names.iter().map(String::as_str).collect();
    assert_eq!(bench.code_of(a, locks(&names)), Some(Code::BadRequest));
    assert_eq!(bench.hub.stats().names, 0);
    assert_eq!(bench.code_of(a, locks(&names[..64])), None);
    assert_eq!(bench.hub.stats().names, 64);
}

#[test]
fn a_connection_observes_so_many_elections_each_of_them_again_and_no_more() {
    let mut bench = Bench::with(Config { observed_max: 2, ..Config::default() });
    let watcher = bench.connect(ConnKind::Socket);
    let observe = |election: &str| Request::Observe { election: election.into() };
    for election in ["a", "b", "b"] {
        bench.ask(watcher, observe(election)).expect("shown");
    }
    assert_eq!(bench.ask(watcher, observe("c")).expect_err("full").code, Code::TooManyRequests);
    bench.ask(watcher, Request::Unobserve { election: "a".into() }).expect("no more");
    bench.ask(watcher, observe("c")).expect("there is room");
    assert_eq!(bench.ask(watcher, observe("a")).expect_err("full").code, Code::TooManyRequests);
}

#[test]
fn a_page_has_a_thousand_entries_and_a_lock_shows_a_hundred_waiters_of_all_that_it_counts() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    for name in 0..1_001 {
        bench.take(a, &format!("{name:04}"));
    }
    let mut page =
        |limit: u32| match bench.ask(a.conn, Request::Locks(crate::wire::Page { limit, ..Default::default() })) {
            Ok(Response::Locks(page)) => (page.locks.len(), page.next),
            other => panic!("{other:?}"),
        };
    assert_eq!(page(u32::MAX), (1_000, Some("0999".into())));
    assert_eq!(page(0), (1, Some("0000".into())));
    for wait in 0..101 {
        bench.acquire(b, Acquire { owner: Some(wait.to_string().into()), ..lock("0000") });
    }
    let Ok(Response::Lock(shown)) = bench.ask(a.conn, Request::Lock { name: "0000".into() }) else { panic!("a lock") };
    assert_eq!((shown.waiters.len(), shown.waiters_count), (100, 101));
}

#[test]
fn a_page_has_a_thousand_elections_and_each_shows_a_hundred_candidates_of_all_that_it_counts() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let stand = |bench: &mut Bench, client: Client, election: String, wait_ms| {
        let campaign = Campaign { election: election.into(), request: None, value: "".into(), wait_ms };
        bench.send(client.conn, None, Request::Campaign(campaign));
    };
    for election in 0..1_001 {
        stand(&mut bench, a, format!("{election:04}"), 0);
    }
    for _ in 0..101 {
        stand(&mut bench, b, "0000".into(), u64::MAX);
    }
    let mut page =
        |limit: u32| match bench.ask(a.conn, Request::Elections(crate::wire::Page { limit, ..Default::default() })) {
            Ok(Response::Elections(page)) => page,
            other => panic!("{other:?}"),
        };
    let most = page(u32::MAX);
    assert_eq!((most.elections.len(), most.next.as_deref()), (1_000, Some("0999")));
    let least = page(0);
    assert_eq!((least.elections.len(), least.next.as_deref()), (1, Some("0000")));
    let crowded = &least.elections[0];
    assert_eq!((crowded.candidates.len(), crowded.candidates_count), (100, Some(101)));
}
