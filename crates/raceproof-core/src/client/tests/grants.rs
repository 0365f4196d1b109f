//! Operations: waits that are given up, grants that nobody claims, answers that are late or lost (L4, L12).

use super::*;

#[test]
fn l4_a_wait_that_is_given_up_is_cancelled_and_its_late_grant_given_back() {
    let mut rig = Rig::open();
    let op = rig.acquire("a", WAIT_MS_FOREVER);
    let asked = rig.next();
    rig.cancel(op);
    let Request::Cancel { request } = rig.next().request else { panic!("the hub is not told") };
    assert_eq!(Some(&request), request_of(&asked));
    // The grant was on its way.
    rig.answer(asked.seq, Ok(granted("a", 5)));
    assert!(releases(&rig.next(), Token::new(5)));
    assert_eq!((rig.held(), rig.lost()), (vec![], vec![]));
    assert_eq!(rig.claim(op), None);
}

#[test]
fn l4_a_cancelled_wait_that_the_hub_cancelled_leaves_nothing() {
    let mut rig = Rig::open();
    let op = rig.acquire("a", WAIT_MS_FOREVER);
    let asked = rig.next();
    rig.cancel(op);
    let cancel = rig.next();
    rig.answer(asked.seq, Err(problem(Code::Cancelled)));
    rig.answer(cancel.seq, Ok(Response::Cancelled {}));
    assert_eq!((rig.client.pending(), rig.sent.len()), (0, 0));
}

#[test]
fn l4_a_grant_dropped_before_it_was_claimed_is_given_back() {
    let mut rig = Rig::open();
    let op = rig.acquire("a", WAIT_MS_FOREVER);
    let seq = rig.next().seq;
    rig.answer(seq, Ok(granted("a", 5)));
    assert_eq!(rig.held(), [Token::new(5)]);
    rig.cancel(op);
    assert!(releases(&rig.next(), Token::new(5)));
    assert_eq!(rig.held(), []);
}

#[test]
fn l4_a_grant_that_is_not_claimed_in_time_is_given_back() {
    let mut rig = Rig::open();
    let op = rig.acquire("a", WAIT_MS_FOREVER);
    let seq = rig.next().seq;
    rig.answer(seq, Ok(granted("a", 5)));
    rig.pass(Duration::from_micros(4_999_999));
    assert!(!rig.sent.iter().any(|frame| releases(frame, Token::new(5))));
    rig.pass(Duration::from_micros(1));
    assert!(rig.sent.iter().any(|frame| releases(frame, Token::new(5))));
    assert_eq!(rig.claim(op), Some(Err(OpError::Unclaimed)));
    assert_eq!((rig.held(), rig.lost()), (vec![], vec![]));
}

#[test]
fn l4_what_was_never_sent_is_not_cancelled_and_not_sent_later() {
    let mut rig = Rig::new(Config::default());
    let op = rig.acquire("a", WAIT_MS_FOREVER);
    rig.cancel(op);
    rig.connect();
    rig.answer_next(opened());
    assert_eq!((rig.sent.len(), rig.client.pending()), (0, 0));
}

#[test]
fn l4_a_wait_given_up_while_the_connection_is_down_is_left_out_of_the_resumption() {
    let mut rig = Rig::open();
    let op = rig.acquire("a", WAIT_MS_FOREVER);
    let kept = rig.acquire("b", WAIT_MS_FOREVER);
    let kept_id = rig.client.request_id(kept).unwrap();
    rig.disconnect();
    rig.cancel(op);
    rig.pass(Duration::ZERO);
    rig.connect();
    let Request::Resume(resume) = rig.next().request else { panic!("no resumption") };
    assert_eq!(resume.pending, [kept_id]);
}

#[test]
fn l4_a_wait_ends_by_the_clients_clock_when_no_answer_comes() {
    let mut rig = Rig::open();
    let op = rig.acquire("a", 1_000);
    let asked = rig.next();
    rig.pass(Duration::from_millis(1_499));
    assert_eq!(rig.claim(op), None);
    rig.pass(Duration::from_millis(1));
    let Some(Err(error)) = rig.claim(op) else { panic!("it waits on") };
    assert_eq!(error.code(), Some(Code::WaitTimedOut));
    assert!(matches!(rig.next().request, Request::Cancel { .. }));
    rig.answer(asked.seq, Ok(granted("a", 5)));
    assert!(releases(&rig.next(), Token::new(5)), "the late grant is given back");
}

#[test]
fn a_question_without_an_answer_ends_after_its_time() {
    let mut rig = Rig::open();
    let query = Query::new(Request::Lock { name: "a".into() }).unwrap();
    let op = rig.client.query(rig.now, query).unwrap();
    rig.pass(Config::default().answer_timeout);
    assert_eq!(rig.claim(op), Some(Err(OpError::Unreachable)));
}

#[test]
fn l12_what_has_no_answer_is_sent_again_under_its_first_id() {
    let mut rig = Rig::open();
    let first = rig.acquire("a", WAIT_MS_FOREVER);
    rig.acquire("b", WAIT_MS_FOREVER);
    let asked: Vec<_> = [rig.next(), rig.next()].iter().map(|frame| request_of(frame).cloned()).collect();
    let resume = rig.resume(&[]);
    assert_eq!(
        resume.pending.iter().map(Some).collect::<Vec<_>>(),
        asked.iter().map(Option::as_ref).collect::<Vec<_>>()
    );
    let again = [rig.next(), rig.next()];
    assert_eq!(again.iter().map(|frame| request_of(frame).cloned()).collect::<Vec<_>>(), asked, "in the first order");
    // The first reply was lost; the hub gives it again.
    rig.answer(again[0].seq, Ok(granted("a", 5)));
    assert!(matches!(rig.claim(first), Some(Ok(Outcome::Granted { grant, .. })) if grant.token == Token::new(5)));
}

#[test]
fn l12_a_release_is_sent_until_it_is_answered() {
    let mut rig = Rig::open();
    let token = rig.hold("a", 5);
    let op = rig.client.release(rig.now, token).unwrap();
    rig.drain();
    assert!(releases(&rig.next(), token));
    let resume = rig.resume(&[]);
    assert!(resume.held.is_empty(), "what is given back is not believed in");
    let again = rig.next();
    assert!(releases(&again, token));
    // The first copy did it.
    rig.answer(again.seq, Err(problem(Code::NotHolder)));
    assert_eq!(rig.claim(op), Some(Ok(Outcome::Released)));
}

#[test]
fn l12_a_release_that_the_hub_refuses_at_first_sight_is_refused() {
    let mut rig = Rig::open();
    let token = rig.hold("a", 5);
    let op = rig.client.release(rig.now, token).unwrap();
    rig.drain();
    let seq = rig.next().seq;
    rig.answer(seq, Err(problem(Code::NotHolder)));
    assert!(matches!(rig.claim(op), Some(Err(OpError::Refused(_)))));
}

#[test]
fn l12_a_steal_is_never_repeated() {
    let mut rig = Rig::open();
    let op = rig.client.query(rig.now, Query::new(Request::Steal { name: "a".into() }).unwrap()).unwrap();
    rig.drain();
    assert!(matches!(rig.next().request, Request::Steal { .. }));
    rig.resume(&[]);
    assert_eq!(rig.claim(op), Some(Err(OpError::Ambiguous)));
    assert!(rig.sent.is_empty());
}

#[test]
fn a_duplicated_answer_changes_nothing() {
    let mut rig = Rig::open();
    let op = rig.acquire("a", WAIT_MS_FOREVER);
    let seq = rig.next().seq;
    rig.answer(seq, Ok(granted("a", 5)));
    rig.answer(seq, Ok(granted("a", 6)));
    rig.answer(seq, Err(problem(Code::LockHeld)));
    assert!(matches!(rig.claim(op), Some(Ok(Outcome::Granted { grant, .. })) if grant.token == Token::new(5)));
    assert_eq!(rig.held(), [Token::new(5)]);
    let release = rig.client.release(rig.now, Token::new(5)).unwrap();
    rig.drain();
    let seq = rig.next().seq;
    rig.answer(seq, Ok(Response::Released {}));
    rig.answer(seq, Ok(Response::Released {}));
    assert_eq!(rig.claim(release), Some(Ok(Outcome::Released)));
}

#[test]
fn a_loss_before_the_claim_is_the_operations_result_and_told_nowhere_else() {
    let mut rig = Rig::open();
    let op = rig.acquire("a", WAIT_MS_FOREVER);
    let seq = rig.next().seq;
    rig.answer(seq, Ok(granted("a", 5)));
    rig.push(Event::Lost { token: Token::new(5), names: vec!["a".into()], reason: LostReason::Stolen });
    assert_eq!(rig.lost(), []);
    assert_eq!(rig.claim(op), Some(Err(OpError::Lost(LostReason::Stolen))));
}

#[test]
fn a_loss_is_told_once() {
    let mut rig = Rig::open();
    let token = rig.hold("a", 5);
    for _ in 0..3 {
        rig.push(Event::Lost { token, names: vec!["a".into()], reason: LostReason::Stolen });
    }
    assert_eq!(rig.lost(), [(token, LostReason::Stolen)]);
    assert_eq!(rig.client.release(rig.now, token), None);
}

#[test]
fn a_full_client_gives_the_request_back() {
    let config = Config { pending_max: 2, ..Config::default() };
    let mut rig = Rig::open_with(config);
    rig.acquire("a", WAIT_MS_FOREVER);
    rig.acquire("b", WAIT_MS_FOREVER);
    let refused = rig.client.acquire(rig.now, acquire("c", 0)).unwrap_err();
    assert_eq!((refused.reason, &*refused.item.names[0]), (RefusedReason::Full { limit: 2 }, "c"));
}

#[test]
fn a_client_without_a_session_looks_and_holds_nothing() {
    let config = Config { session: false, ..Config::default() };
    let mut rig = Rig::new(config);
    rig.connect();
    assert_eq!(rig.client.state(), ConnectionState::Connected);
    let refused = rig.client.acquire(rig.now, acquire("a", 0)).unwrap_err();
    assert_eq!(refused.reason, RefusedReason::NoSession);
    rig.client.query(rig.now, Query::new(Request::Lock { name: "a".into() }).unwrap()).unwrap();
    rig.drain();
    assert!(matches!(rig.next().request, Request::Lock { .. }));
}

#[test]
fn a_request_that_the_hub_puts_off_is_sent_again_when_it_said() {
    let mut rig = Rig::open();
    let op = rig.acquire("a", WAIT_MS_FOREVER);
    let asked = rig.next();
    rig.answer(asked.seq, Err(problem(Code::Unavailable).with_retry_after_ms(300)));
    rig.pass(Duration::from_millis(299));
    assert!(rig.sent.is_empty());
    rig.pass(Duration::from_millis(1));
    let again = rig.next();
    assert_eq!(request_of(&again), request_of(&asked));
    rig.answer(again.seq, Ok(granted("a", 5)));
    assert!(matches!(rig.claim(op), Some(Ok(_))));
}

#[test]
fn closing_ends_the_session_and_everything_with_it() {
    let mut rig = Rig::open();
    let token = rig.hold("a", 5);
    let waits = rig.acquire("b", WAIT_MS_FOREVER);
    let close = rig.client.close(rig.now);
    rig.drain();
    assert_eq!(rig.lost(), [(token, LostReason::Ended)]);
    assert_eq!(rig.claim(waits), Some(Err(OpError::Closed)));
    let end = rig.next_where(|request| matches!(request, Request::End {}));
    assert_eq!(rig.claim(close), None);
    rig.answer(end.seq, Ok(Response::Ended {}));
    assert_eq!(rig.claim(close), Some(Ok(Outcome::Ended)));
    assert_eq!((rig.client.state(), rig.client.next_deadline()), (ConnectionState::Closed, None));
    assert_eq!(rig.client.acquire(rig.now, acquire("c", 0)).unwrap_err().reason, RefusedReason::Closed);
}
