//! L4: what becomes of a wait that ends without its grant, and of a grant that nobody takes.

use super::*;

#[test]
fn l4_a_cancelled_waiter_never_holds_and_loses_nobody_elses_turn() {
    let mut bench = Bench::new();
    let (a, b, c) = (bench.client("a"), bench.client("b"), bench.client("c"));
    let token = bench.take(a, "x");
    let second = bench.acquire(b, Acquire { request: Some(RequestId::new("r")), ..lock("x") });
    let third = bench.acquire(c, lock("x"));
    bench.ask(b.conn, Request::Cancel { request: RequestId::new("r") }).expect("cancelled");
    assert_eq!(bench.refused(second).code, Code::Cancelled);
    bench.release(a, "x", token).expect("held");
    bench.granted(third);
}

#[test]
fn l4_a_cancel_that_crosses_the_grant_gives_it_back() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let asked = bench.acquire(a, Acquire { request: Some(RequestId::new("r")), ..lock("x") });
    bench.granted(asked);
    bench.ask(a.conn, Request::Cancel { request: RequestId::new("r") }).expect("cancelled");
    bench.take(b, "x");
}

#[test]
fn l4_a_timed_out_wait_is_over_and_those_behind_move_up() {
    let mut bench = Bench::new();
    let (a, b, c) = (bench.client("a"), bench.client("b"), bench.client("c"));
    let shared = || Acquire { mode: Mode::Shared, ..lock("x") };
    let reader = bench.acquire(a, shared());
    bench.granted(reader);
    let writer = bench.acquire(b, Acquire { wait_ms: 200, ..lock("x") });
    let late = bench.acquire(c, shared());
    bench.pass(190);
    assert!(bench.waits(writer) && bench.waits(late));
    bench.pass(10);
    let problem = bench.refused(writer);
    assert_eq!(problem.code, Code::WaitTimedOut);
    assert_eq!(problem.holders.len(), 1);
    bench.granted(late);
}

#[test]
fn l4_closing_an_http_request_cancels_its_wait() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let token = bench.take(a, "x");
    let request = bench.connect(ConnKind::Request);
    let asked = bench.send(request, Some(b.key), Request::Acquire(lock("x")));
    assert!(bench.waits(asked));
    bench.disconnect(request);
    bench.release(a, "x", token).expect("held");
    assert_eq!(bench.look("x"), (vec![], 0));
}

#[test]
fn l4_an_http_grant_that_was_never_told_is_given_back() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    bench.slow_disk = true;
    let request = bench.connect(ConnKind::Request);
    let asked = bench.send(request, Some(a.key), Request::Acquire(lock("x")));
    assert!(bench.waits(asked), "the disk is slow");
    bench.disconnect(request);
    bench.flush();
    let asked = bench.acquire(b, lock("x"));
    bench.flush();
    bench.granted(asked);
}

#[test]
fn l4_an_http_grant_that_one_copy_was_told_of_outlives_the_other_copy() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    let named = || Acquire { request: Some(RequestId::new("r")), ..lock("x") };
    bench.slow_disk = true;
    let (first, second) = (bench.connect(ConnKind::Request), bench.connect(ConnKind::Request));
    bench.send(first, Some(a.key), Request::Acquire(named()));
    let asked = bench.send(second, Some(a.key), Request::Acquire(named()));
    bench.disconnect(first);
    bench.flush();
    let token = bench.granted(asked).token;
    bench.disconnect(second);
    assert_eq!(bench.look("x").0, [token], "the copy that went first does not give back what the other was told of");
}

#[test]
fn l4_a_grant_that_is_cancelled_before_it_was_told_is_not_told_any_more() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    bench.slow_disk = true;
    let asked = bench.acquire(a, Acquire { request: Some(RequestId::new("r")), ..lock("x") });
    let cancel = bench.send(a.conn, None, Request::Cancel { request: RequestId::new("r") });
    bench.flush();
    assert_eq!(bench.answer(cancel), Some(Ok(Response::Cancelled {})));
    assert_eq!(bench.refused(asked).code, Code::Cancelled);
    let again = bench.acquire(a, Acquire { request: Some(RequestId::new("r")), ..lock("x") });
    assert_eq!(bench.refused(again).code, Code::Cancelled, "nor to a late copy of the request");
}

#[test]
fn l4_a_grant_to_a_session_that_is_away_passes_on() {
    let mut bench = Bench::new();
    let (a, b, c) = (bench.client("a"), bench.client("b"), bench.client("c"));
    let token = bench.take(a, "x");
    bench.acquire(b, Acquire { request: Some(RequestId::new("r")), ..lock("x") });
    let third = bench.acquire(c, lock("x"));
    bench.disconnect(b.conn);
    bench.release(a, "x", token).expect("held");
    bench.pass(4_900);
    assert!(bench.waits(third), "it may still come back");
    bench.pass(100);
    bench.granted(third);
    let (b, _) = bench.resume(b, vec![], &["r"]);
    let again = bench.acquire(b, Acquire { request: Some(RequestId::new("r")), ..lock("x") });
    assert_eq!(bench.refused(again).code, Code::Unclaimed);
}

#[test]
fn l4_a_grant_to_a_session_that_comes_back_in_time_is_claimed() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let token = bench.take(a, "x");
    bench.acquire(b, Acquire { request: Some(RequestId::new("r")), ..lock("x") });
    bench.disconnect(b.conn);
    bench.release(a, "x", token).expect("held");
    bench.pass(1_000);
    let (b, _) = bench.resume(b, vec![], &["r"]);
    let again = bench.acquire(b, Acquire { request: Some(RequestId::new("r")), ..lock("x") });
    let token = bench.granted(again).token;
    bench.pass(6_000);
    bench.release(b, "x", token).expect("still held");
}

#[test]
fn l4_a_waiter_whose_session_ended_is_never_granted() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let token = bench.take(a, "x");
    let waiting = bench.acquire(b, lock("x"));
    bench.ask(b.conn, Request::End {}).expect("ended");
    assert_eq!(bench.refused(waiting).code, Code::SessionUnknown);
    bench.release(a, "x", token).expect("held");
    assert_eq!(bench.look("x"), (vec![], 0));
}

#[test]
fn l4_a_grant_that_was_stolen_and_cancelled_before_it_was_told_is_not_told() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    bench.slow_disk = true;
    let asked = bench.acquire(a, Acquire { request: Some(RequestId::new("r")), ..lock("x") });
    bench.send(a.conn, None, Request::Steal { name: "x".into() });
    bench.send(a.conn, None, Request::Cancel { request: RequestId::new("r") });
    bench.flush();
    assert_eq!(bench.refused(asked).code, Code::Cancelled);
}

#[test]
fn l4_a_grant_that_waits_for_the_disk_ends_with_its_session() {
    let mut bench = Bench::new();
    let a = bench.client_with("a", 1_000, OnDisconnect::Keep);
    bench.slow_disk = true;
    let asked = bench.acquire(a, lock("x"));
    bench.pass(1_010);
    bench.flush();
    assert_eq!(bench.refused(asked).code, Code::SessionUnknown);
}
