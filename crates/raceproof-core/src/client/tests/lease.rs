//! Until when a grant may be believed in (L8).

use super::*;

fn deadline_of(sent: Time) -> Time {
    (sent + TTL).saturating_sub(drift_margin(TTL))
}

#[test]
fn l8_the_lease_counts_from_when_the_opening_was_sent() {
    let mut rig = Rig::new(Config::default());
    rig.pass(Duration::from_millis(100));
    rig.connect();
    let sent = rig.now;
    rig.now += Duration::from_secs(3);
    rig.answer_next(opened());
    assert_eq!(rig.client.lease_deadline(), Some(deadline_of(sent)));
}

#[test]
fn l8_the_lease_counts_from_when_the_renewal_was_sent() {
    let mut rig = Rig::open();
    let opened = rig.now;
    rig.pass(TTL / 2);
    let keepalive = rig.next();
    assert!(matches!(keepalive.request, Request::Keepalive {}));
    let sent = rig.now;
    assert_eq!(sent, opened + TTL / 2);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.client.lease_deadline(), Some(deadline_of(opened)));
    rig.answer(keepalive.seq, Ok(Response::Renewed { ttl_ms: 10_000 }));
    assert_eq!(rig.client.lease_deadline(), Some(deadline_of(sent)));
    assert!(rig.said.contains(&Output::Lease { session: KEY.id, deadline: deadline_of(sent) }));
}

#[test]
fn l8_the_margin_covers_a_drift_of_two_percent() {
    for ttl in [Duration::from_millis(100), TTL, Duration::from_secs(86_400)] {
        assert!(drift_margin(ttl) >= ttl / 50 && drift_margin(ttl) < ttl / 10);
    }
}

#[test]
fn l8_an_answer_that_comes_too_late_renews_nothing() {
    let mut rig = Rig::open();
    let token = rig.hold("a", 5);
    rig.pass(TTL / 2);
    let keepalive = rig.next();
    // Nothing is done at the deadlines between: the process is frozen.
    rig.now = rig.client.lease_deadline().unwrap();
    rig.answer(keepalive.seq, Ok(Response::Renewed { ttl_ms: 10_000 }));
    assert_eq!(rig.lost(), [(token, LostReason::Expired)]);
    assert_eq!((rig.held(), rig.client.session()), (vec![], None));
}

#[test]
fn l8_a_grant_that_comes_when_the_lease_is_over_is_not_believed() {
    let mut rig = Rig::open();
    let op = rig.acquire("a", WAIT_MS_FOREVER);
    let seq = rig.next().seq;
    rig.now = rig.client.lease_deadline().unwrap();
    rig.answer(seq, Ok(granted("a", 5)));
    assert_eq!((rig.claim(op), rig.held()), (None, vec![]));
}

#[test]
fn l8_the_end_of_the_lease_is_told_once_and_nothing_is_regained() {
    let mut rig = Rig::open();
    let (a, b) = (rig.hold("a", 5), rig.hold("b", 6));
    rig.disconnect();
    let end = rig.client.lease_deadline().unwrap();
    rig.pass(end.since(rig.now).saturating_sub(Duration::from_micros(1)));
    assert_eq!(rig.lost(), []);
    rig.pass(Duration::from_micros(1));
    assert_eq!(rig.lost(), [(a, LostReason::Expired), (b, LostReason::Expired)]);
    assert!(rig.said.contains(&Output::SessionOver { session: KEY.id, reason: LostReason::Expired }));
    rig.said.clear();
    rig.pass(Duration::from_secs(5));
    rig.connect();
    let Request::Open(_) = rig.next().request else { panic!("a session that is over is not resumed") };
    rig.answer(1, Ok(Response::Opened { session: KEY, ttl_ms: 10_000, epoch: Epoch::new(1) }));
    assert_eq!((rig.lost(), rig.held()), (vec![], vec![]));
    assert_eq!(rig.client.release(rig.now, a), None, "it is not ours to give back");
}

#[test]
fn l8_whoever_sees_a_later_clock_ends_the_session() {
    let mut rig = Rig::open();
    let token = rig.hold("a", 5);
    rig.client.expire(rig.now);
    rig.drain();
    assert_eq!(rig.lost(), [(token, LostReason::Expired)]);
    assert_eq!(rig.disconnects, 1);
}

#[test]
fn l8_a_renewal_on_an_older_connection_counts_for_nothing() {
    let mut rig = Rig::open();
    let opened = rig.now;
    rig.pass(TTL / 2);
    let keepalive = rig.next();
    let old = rig.generation;
    rig.disconnect();
    rig.pass(Duration::ZERO);
    rig.connect();
    let result = Ok(Box::new(Response::Renewed { ttl_ms: 10_000 }));
    rig.client.received(rig.now, old, ServerFrame::Answer { seq: 9, re: keepalive.seq, result });
    rig.drain();
    assert_eq!(rig.client.lease_deadline(), Some(deadline_of(opened)));
}

#[test]
fn l11_one_renewal_goes_out_in_half_of_the_lease_whatever_is_held() {
    let mut rig = Rig::open();
    for n in 0..50 {
        rig.hold(&format!("lock {n}"), n + 1);
    }
    for _ in 0..6 {
        rig.pass(TTL / 2);
        let keepalive = rig.next();
        assert!(matches!(keepalive.request, Request::Keepalive {}));
        assert!(rig.sent.is_empty(), "more than one heartbeat");
        rig.answer(keepalive.seq, Ok(Response::Renewed { ttl_ms: 10_000 }));
    }
    assert_eq!((rig.lost(), rig.held().len()), (vec![], 50));
}

#[test]
fn l11_a_connection_that_does_not_answer_is_left_while_the_lease_still_runs() {
    let mut rig = Rig::open();
    let token = rig.hold("a", 5);
    rig.pass(TTL * 2 / 3 - Duration::from_micros(1));
    assert_eq!((rig.disconnects, rig.connects), (0, 1));
    rig.pass(Duration::from_micros(1));
    assert_eq!((rig.disconnects, rig.connects), (1, 2));
    assert_eq!(rig.client.state(), ConnectionState::Resuming);
    assert_eq!((rig.lost(), rig.held()), (vec![], vec![token]));
}

#[test]
fn l11_a_short_lease_is_renewed_in_a_third_of_it_and_its_answer_may_take_as_long() {
    let ttl = Duration::from_millis(900);
    let mut rig = Rig::new(Config { ttl, ..Config::default() });
    rig.pass(Duration::ZERO);
    rig.connect();
    rig.answer_next(Response::Opened { session: KEY, ttl_ms: 900, epoch: Epoch::new(1) });
    rig.pass(ttl / 3);
    assert!(matches!(rig.next().request, Request::Keepalive {}));
    rig.pass(ttl / 3 - Duration::from_micros(1));
    assert_eq!((rig.disconnects, rig.connects), (0, 1));
    rig.pass(Duration::from_micros(1));
    assert_eq!((rig.disconnects, rig.connects), (1, 2));
}

#[test]
fn l11_a_connection_that_may_not_be_left_is_asked_again_while_the_lease_runs() {
    let config = Config { on_disconnect: crate::wire::OnDisconnect::End, ..Config::default() };
    let mut rig = Rig::open_with(config);
    let opened = rig.now;
    rig.pass(TTL / 2);
    rig.next();
    rig.pass(TTL / 6);
    let again = rig.next();
    assert_eq!((rig.now, rig.disconnects), (opened + TTL * 2 / 3, 0));
    let sent = rig.now;
    rig.answer(again.seq, Ok(Response::Renewed { ttl_ms: 10_000 }));
    assert_eq!(rig.client.lease_deadline(), Some(deadline_of(sent)));
}

#[test]
fn the_hub_that_forgot_the_session_ends_it_at_once() {
    let mut rig = Rig::open();
    let token = rig.hold("a", 5);
    rig.pass(TTL / 2);
    let seq = rig.next().seq;
    rig.answer(seq, Err(problem(Code::SessionUnknown)));
    assert_eq!(rig.lost(), [(token, LostReason::Unknown)]);
}

#[test]
fn l11_a_session_that_ends_with_its_connection_is_lost_with_it() {
    let config = Config { on_disconnect: crate::wire::OnDisconnect::End, ..Config::default() };
    let mut rig = Rig::open_with(config);
    let token = rig.hold("a", 5);
    rig.disconnect();
    assert_eq!(rig.lost(), [(token, LostReason::Disconnected)]);
    rig.pass(Duration::ZERO);
    rig.connect();
    assert!(matches!(rig.next().request, Request::Open(_)));
}
