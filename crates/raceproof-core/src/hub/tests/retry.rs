use super::*;

fn named(request: &str, name: &str) -> Acquire {
    Acquire { request: Some(RequestId::new(request)), ..lock(name) }
}

#[test]
fn l12_a_retry_of_a_granted_request_gets_the_same_token() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    let first = bench.acquire(a, named("r", "x"));
    let first = bench.granted(first);
    let again = bench.acquire(a, named("r", "x"));
    assert_eq!(bench.granted(again), first);
    bench.crash();
    let (a, _) = bench.resume(a, vec![held(first.token, "x", Class::Durable)], &[]);
    let again = bench.acquire(a, named("r", "x"));
    assert_eq!(bench.granted(again), first, "after a crash too");
    bench.release(a, "x", first.token).expect("held");
    let late = bench.acquire(a, named("r", "x"));
    assert_eq!(bench.granted(late), first, "a late duplicate does not take the lock again");
    assert_eq!(bench.look("x"), (vec![], 0));
}

#[test]
fn l12_a_retry_of_a_waiting_request_keeps_its_place() {
    let mut bench = Bench::new();
    let (a, b, c) = (bench.client("a"), bench.client("b"), bench.client("c"));
    let token = bench.take(a, "x");
    bench.acquire(b, named("r", "x"));
    let behind = bench.acquire(c, lock("x"));
    bench.disconnect(b.conn);
    let (b, _) = bench.resume(b, vec![], &["r"]);
    let again = bench.acquire(b, named("r", "x"));
    bench.release(a, "x", token).expect("held");
    bench.granted(again);
    assert!(bench.waits(behind));
}

#[test]
fn l12_a_refusal_is_repeated_and_a_fresh_id_asks_anew() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let token = bench.take(a, "x");
    let attempt = |request: &str| Acquire { wait_ms: 0, ..named(request, "x") };
    let first = bench.acquire(b, attempt("r"));
    let first = bench.refused(first);
    bench.release(a, "x", token).expect("held");
    let again = bench.acquire(b, attempt("r"));
    assert_eq!(bench.refused(again), first);
    let fresh = bench.acquire(b, attempt("s"));
    bench.granted(fresh);
}

#[test]
fn l12_an_id_is_not_used_for_two_things() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    let first = bench.acquire(a, named("r", "x"));
    bench.granted(first);
    let other = bench.acquire(a, named("r", "y"));
    assert_eq!(bench.refused(other).code, Code::RequestReused);
}

#[test]
fn l12_a_release_whose_record_was_lost_is_repeated_at_resume() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let token = bench.take(a, "x");
    bench.slow_disk = true;
    bench.release(a, "x", token).expect("held");
    bench.slow_disk = false;
    bench.crash();
    assert_eq!(bench.look("x").0, [token], "the release was lost with the crash");
    bench.resume(a, vec![], &[]);
    let (b, _) = bench.resume(b, vec![], &[]);
    bench.take(b, "x");
}

#[test]
fn l12_a_grant_whose_answer_was_lost_is_kept_for_the_retry() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    let lost = bench.acquire(a, named("r", "x"));
    let token = bench.granted(lost).token;
    bench.disconnect(a.conn);
    let (a, resumed) = bench.resume(a, vec![], &["r"]);
    let Response::Resumed { held, .. } = resumed else { panic!() };
    assert_eq!(held, [], "the client has not heard of it yet");
    let again = bench.acquire(a, named("r", "x"));
    assert_eq!(bench.granted(again).token, token);
}

#[test]
fn l12_a_cancel_that_overtakes_its_request_still_cancels_it() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    bench.ask(a.conn, Request::Cancel { request: RequestId::new("r") }).expect("cancelled");
    let late = bench.acquire(a, named("r", "x"));
    assert_eq!(bench.refused(late).code, Code::Cancelled);
}

#[test]
fn l12_the_memory_of_answers_is_bounded() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    for n in 0..1_000 {
        let asked = bench.acquire(a, named(&n.to_string(), "x"));
        let token = bench.granted(asked).token;
        bench.release(a, "x", token).expect("held");
    }
    let snapshot = bench.hub.snapshot();
    assert_eq!(snapshot.sessions[0].past.len(), Config::default().answers_remembered_max);
}

#[test]
fn l12_retries_of_a_waiting_request_are_bounded() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let token = bench.take(a, "x");
    let asked: Vec<_> = (0..16).map(|_| bench.acquire(b, named("r", "x"))).collect();
    let one_more = bench.acquire(b, named("r", "x"));
    assert_eq!(bench.refused(one_more).code, Code::TooManyRequests);
    bench.release(a, "x", token).expect("held");
    let tokens: BTreeSet<_> = asked.into_iter().map(|asked| bench.granted(asked).token).collect();
    assert_eq!(tokens.len(), 1);
}

#[test]
fn l4_l12_a_grant_made_while_its_session_came_back_is_kept_once_it_is_asked_for() {
    let mut bench = Bench::new();
    let a = bench.client_with("a", 1_000, OnDisconnect::Keep);
    let token = bench.take(a, "x");
    // Another flow of the same session, or waiting would be a deadlock.
    let behind = || Acquire { owner: Some("f".into()), ..named("r", "x") };
    bench.acquire(a, behind());
    bench.disconnect(a.conn);
    // It does not hold x any more, which the hub learns from the resume that also keeps the wait.
    let (a, _) = bench.resume(a, vec![], &["r"]);
    let asked = bench.acquire(a, behind());
    let granted = bench.granted(asked).token;
    assert!(granted > token);
    for _ in 0..10 {
        bench.pass(500);
        bench.keepalive(a);
    }
    assert_eq!(bench.look("x").0, [granted], "the wait for its holder was over when it asked");
}
