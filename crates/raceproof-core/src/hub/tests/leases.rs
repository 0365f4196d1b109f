use super::*;
use crate::wire::LostReason;

#[test]
fn l5_when_a_lease_ends_its_grants_end_within_a_tick() {
    let mut bench = Bench::new();
    let a = bench.client_with("a", 1_000, OnDisconnect::Keep);
    let b = bench.client("b");
    let token = bench.take(a, "x");
    let waiting = bench.acquire(b, lock("x"));
    bench.pass(990);
    assert!(bench.waits(waiting));
    bench.pass(10);
    assert!(bench.granted(waiting).token > token);
    let ended = Event::SessionEnded { reason: LostReason::Expired };
    assert_eq!(bench.events.pop_front(), Some((a.conn, ended)));
    let code = bench.ask(a.conn, Request::Keepalive {}).expect_err("over").code;
    assert_eq!(code, Code::SessionUnknown);
}

#[test]
fn l11_a_renewal_keeps_everything_the_session_holds() {
    let mut bench = Bench::new();
    let a = bench.client_with("a", 1_000, OnDisconnect::Keep);
    for n in 0..100 {
        bench.take(a, &n.to_string());
    }
    for _ in 0..20 {
        bench.pass(500);
        bench.keepalive(a);
    }
    assert_eq!(bench.hub.stats().grants, 100);
}

#[test]
fn l5_after_a_restart_every_session_gets_a_full_lease() {
    let mut bench = Bench::new();
    let a = bench.client_with("a", 1_000, OnDisconnect::Keep);
    let b = bench.client("b");
    let token = bench.take(a, "x");
    bench.pass(900);
    bench.crash();
    bench.pass(900);
    let (b, _) = bench.resume(b, vec![], &[]);
    let waiting = bench.acquire(b, lock("x"));
    assert!(bench.waits(waiting), "a's lease began anew");
    let (_, resumed) = bench.resume(a, vec![held(token, "x", Class::Durable)], &[]);
    let Response::Resumed { held, lost, .. } = resumed else { panic!("{resumed:?}") };
    assert_eq!((held, lost), (vec![token], vec![]));
    bench.pass(990);
    assert!(bench.waits(waiting));
    bench.pass(10);
    bench.granted(waiting);
}

#[test]
fn l5_after_a_stall_every_session_gets_a_full_lease() {
    let mut bench = Bench::new();
    let a = bench.client_with("a", 1_000, OnDisconnect::Keep);
    let b = bench.client_with("b", 60_000, OnDisconnect::Keep);
    let token = bench.take(a, "x");
    let waiting = bench.acquire(b, lock("x"));
    bench.now += Duration::from_secs(30);
    bench.hub.tick(bench.now);
    bench.drain();
    assert!(bench.waits(waiting), "a's renewals may wait in its socket");
    bench.keepalive(a);
    bench.pass(900);
    bench.release(a, "x", token).expect("still held");
    bench.granted(waiting);
    assert_eq!(bench.hub.stats().stalls_total, 1);
}

#[test]
fn l1_what_an_abandoned_connection_says_late_is_refused() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    let old = bench.take(a, "x");
    let resume = |attempt, held| Request::Resume(Resume { session: a.key, attempt, held, pending: vec![] });
    let late = bench.connect(ConnKind::Socket);
    let conn = bench.connect(ConnKind::Socket);
    bench.ask(conn, resume(3, vec![])).expect("a session that is known");
    let a = Client { conn, key: a.key };
    let token = bench.take(a, "x");
    assert!(token > old);
    let refused = bench.ask(late, resume(2, vec![])).expect_err("the connection before says that nothing is held");
    assert_eq!(refused.code, Code::BadRequest);
    assert_eq!(bench.look("x").0, [token]);
    bench.release(a, "x", token).expect("the later connection still speaks for the session");
}

#[test]
fn l5_a_hub_that_falters_often_does_not_keep_the_dead() {
    let mut bench = Bench::new();
    let a = bench.client_with("a", 1_000, OnDisconnect::Keep);
    let b = bench.client_with("b", 60_000, OnDisconnect::Keep);
    let c = bench.client_with("c", 1_000, OnDisconnect::Keep);
    bench.take(a, "x");
    bench.take(c, "y");
    let waiting = bench.acquire(b, lock("x"));
    let other = bench.acquire(b, lock("y"));
    // 80 ms of every 480 ms. The first stall gives a whole lease, the others only what they took.
    let mut running = Duration::ZERO;
    while bench.waits(waiting) {
        bench.pass(400);
        running += Duration::from_millis(400);
        assert!(running < Duration::from_millis(2_000), "the dead holder is kept");
        bench.now += Duration::from_millis(80);
        bench.hub.tick(bench.now);
        bench.drain();
        bench.keepalive(c);
    }
    assert!(running >= Duration::from_millis(1_400), "{running:?}");
    assert!(bench.waits(other), "whoever renews between two stalls is spared in each");
    bench.now += Duration::from_secs(30);
    bench.hub.tick(bench.now);
    bench.drain();
    assert!(bench.waits(other));
}

#[test]
fn l5_a_stall_that_shows_at_a_request_counts_too() {
    let mut bench = Bench::new();
    let a = bench.client_with("a", 200, OnDisconnect::Keep);
    let b = bench.client("b");
    bench.take(a, "x");
    bench.now += Duration::from_secs(2);
    let asked = bench.acquire(b, Acquire { wait_ms: 0, ..lock("x") });
    assert_eq!(bench.refused(asked).code, Code::LockHeld);
    bench.hub.tick(bench.now);
    bench.drain();
    bench.keepalive(a);
}

#[test]
fn l11_a_closed_connection_ends_nothing_until_the_lease_does() {
    let mut bench = Bench::new();
    let a = bench.client_with("a", 1_000, OnDisconnect::Keep);
    let b = bench.client("b");
    bench.take(a, "x");
    let waiting = bench.acquire(b, lock("x"));
    bench.disconnect(a.conn);
    bench.pass(990);
    assert!(bench.waits(waiting));
    bench.pass(20);
    bench.granted(waiting);
}

#[test]
fn l11_a_session_that_dies_with_its_connection_is_freed_at_once() {
    let mut bench = Bench::new();
    let a = bench.client_with("a", 60_000, OnDisconnect::End);
    let b = bench.client("b");
    bench.take(a, "x");
    let waiting = bench.acquire(b, lock("x"));
    bench.disconnect(a.conn);
    bench.granted(waiting);
}

#[test]
fn l11_a_session_that_is_ended_from_elsewhere_is_told_so_at_once_and_one_that_ends_itself_is_not() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    bench.take(a, "x");
    let waiting = bench.acquire(b, lock("x"));
    let elsewhere = bench.connect(ConnKind::Request);
    let ended = bench.send(elsewhere, Some(a.key), Request::End {});
    assert_eq!(bench.answer(ended), Some(Ok(Response::Ended {})));
    bench.granted(waiting);
    let told = Event::SessionEnded { reason: LostReason::Ended };
    assert_eq!(bench.events.pop_front(), Some((a.conn, told)));
    bench.ask(b.conn, Request::End {}).expect("it is open");
    assert_eq!(bench.events, []);
}

#[test]
fn l11_a_session_lives_on_one_connection_at_a_time() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    let token = bench.take(a, "x");
    let (again, _) = bench.resume(a, vec![held(token, "x", Class::Durable)], &[]);
    assert_eq!(bench.closed, [a.conn]);
    let superseded = Event::SessionEnded { reason: LostReason::Superseded };
    assert_eq!(bench.events.pop_front(), Some((a.conn, superseded)));
    bench.disconnect(a.conn);
    bench.release(again, "x", token).expect("held");
}

#[test]
fn a_key_with_a_wrong_secret_speaks_for_nobody() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    let conn = bench.connect(ConnKind::Request);
    let forged = SessionKey { secret: a.key.secret ^ 1, ..a.key };
    let asked = bench.send(conn, Some(forged), Request::End {});
    assert_eq!(bench.refused(asked).code, Code::SessionUnknown);
    assert_eq!(bench.hub.stats().sessions, 1);
}

#[test]
fn a_lock_delay_closes_the_name_after_a_lease_ended_by_itself() {
    let mut bench = Bench::new();
    let a = bench.client_with("a", 1_000, OnDisconnect::Keep);
    let b = bench.client("b");
    let delayed = || Acquire { lock_delay_ms: 2_000, ..lock("x") };
    let asked = bench.acquire(a, delayed());
    let token = bench.granted(asked).token;
    bench.release(a, "x", token).expect("held");
    let asked = bench.acquire(a, delayed());
    bench.granted(asked);
    let waiting = bench.acquire(b, lock("x"));
    bench.pass(1_010);
    assert!(bench.waits(waiting), "the lease is over, the delay is not");
    bench.pass(1_980);
    assert!(bench.waits(waiting));
    bench.pass(20);
    bench.granted(waiting);
}

#[test]
fn l3_whoever_comes_as_a_lock_delay_ends_is_behind_those_who_waited_for_it() {
    let mut bench = Bench::new();
    let a = bench.client_with("a", 1_000, OnDisconnect::Keep);
    let (b, c) = (bench.client("b"), bench.client("c"));
    let permit = || Acquire { permits: Some(3), lock_delay_ms: 2_000, ..lock("x") };
    let asked = bench.acquire(a, permit());
    bench.granted(asked);
    bench.pass(1_000);
    let waiting = bench.acquire(b, permit());
    bench.pass(1_990);
    assert!(bench.waits(waiting), "two permits are free, and the name is closed");
    // The delay is over, and its timer has not fired.
    bench.now += Duration::from_millis(15);
    let late = bench.acquire(c, permit());
    bench.pass(0);
    assert!(bench.granted(waiting).token < bench.granted(late).token);
}

#[test]
fn a_lock_delay_survives_a_crash_in_full() {
    let mut bench = Bench::new();
    let a = bench.client_with("a", 1_000, OnDisconnect::Keep);
    let b = bench.client("b");
    let asked = bench.acquire(a, Acquire { lock_delay_ms: 2_000, ..lock("x") });
    bench.granted(asked);
    bench.pass(2_000);
    bench.flush();
    bench.crash();
    let (b, _) = bench.resume(b, vec![], &[]);
    let waiting = bench.acquire(b, lock("x"));
    bench.pass(1_990);
    assert!(bench.waits(waiting));
    bench.pass(10);
    bench.granted(waiting);
    bench.keepalive(b);
    let token = bench.look("x").0[0];
    bench.release(b, "x", token).expect("held");
    assert_eq!(bench.hub.stats().names, 0);
}

#[test]
fn a_hundred_thousand_leases_that_end_at_once_let_others_in_between() {
    let config = Config { sessions_max: 100_001, ..Config::default() };
    let mut bench = Bench::with(config);
    let other = bench.client_with("other", 60_000, OnDisconnect::Keep);
    for n in 0..100_000 {
        bench.client_with(&n.to_string(), 5_000, OnDisconnect::Keep);
    }
    bench.pass(4_990);
    bench.now += Duration::from_millis(10);
    let mut ticks = 0;
    while bench.hub.next_deadline().is_some_and(|at| at <= bench.now) {
        let before = bench.hub.stats().expiries_total;
        bench.hub.tick(bench.now);
        bench.drain();
        assert!(bench.hub.stats().expiries_total - before <= 128, "a tick is short");
        ticks += 1;
        if ticks % 100 == 0 {
            let token = bench.take(other, "x");
            bench.release(other, "x", token).expect("held");
        }
    }
    assert_eq!(bench.hub.stats().expiries_total, 100_000);
}

#[test]
fn sessions_are_paged_in_the_order_of_their_opening() {
    let mut bench = Bench::new();
    let clients: Vec<_> = (0..70).map(|i| bench.client(if i % 2 == 0 { "even" } else { "odd" })).collect();
    let page = |prefix: &str, after: Option<&str>| {
        Request::Sessions(crate::wire::Page { prefix: prefix.into(), after: after.map(Into::into), limit: 30 })
    };
    let mut listed = |request| match bench.ask(clients[0].conn, request).expect("a page") {
        Response::Sessions(page) => {
            (page.sessions.iter().map(|session| session.session).collect::<Vec<_>>(), page.next)
        }
        other => panic!("{other:?}"),
    };
    let odd: Vec<_> = clients.iter().skip(1).step_by(2).map(|client| client.key.id).collect();
    let (first, next) = listed(page("odd", None));
    assert_eq!((first.as_slice(), next.as_deref()), (&odd[..30], Some(odd[29].to_string().as_str())));
    assert_eq!(listed(page("odd", next.as_deref())), (odd[30..].to_vec(), None));
    assert_eq!(listed(page("", Some(&u64::MAX.to_string()))), (Vec::new(), None));
    assert_eq!(bench.ask(clients[0].conn, page("", Some("x"))).expect_err("not a page").code, Code::BadRequest);
}
