//! Candidates, leaders and observers (E3, E6, E7).

use super::*;
use crate::wire::{Campaign, Election, Leader};

fn leader(term: u64) -> Leader {
    Leader {
        election: "e".into(),
        term: Token::new(term),
        value: "v".into(),
        session: KEY.id,
        session_name: "client".into(),
        lease_ms: 10_000,
    }
}

fn state(term: Option<u64>) -> Election {
    Election { election: "e".into(), leader: term.map(leader), ..Election::default() }
}

fn campaign(rig: &mut Rig) -> OpId {
    let campaign = Campaign { election: "e".into(), request: None, value: "v".into(), wait_ms: WAIT_MS_FOREVER };
    let op = rig.client.campaign(rig.now, campaign).unwrap();
    rig.drain();
    op
}

fn lead(rig: &mut Rig, term: u64) -> Token {
    let op = campaign(rig);
    let seq = rig.next().seq;
    rig.answer(seq, Ok(Response::Elected(leader(term))));
    assert!(matches!(rig.claim(op), Some(Ok(Outcome::Elected { .. }))));
    Token::new(term)
}

fn observe(rig: &mut Rig) -> ObserverId {
    let observer = rig.client.observe(rig.now, "e".into()).unwrap();
    rig.drain();
    observer
}

fn terms(rig: &mut Rig, observer: ObserverId) -> Vec<Option<u64>> {
    let next = || rig.client.observed(observer);
    std::iter::from_fn(next).map(|news| news.unwrap().leader.map(|leader| leader.term.as_u64())).collect()
}

#[test]
fn e6_a_candidate_whose_session_ends_is_told() {
    let mut rig = Rig::open();
    let op = campaign(&mut rig);
    rig.client.expire(rig.now);
    rig.drain();
    assert_eq!(rig.claim(op), Some(Err(OpError::Lost(LostReason::Expired))));
    rig.pass(Duration::ZERO);
    rig.connect();
    rig.answer_next(opened());
    assert!(rig.sent.is_empty(), "it stands no more");
}

#[test]
fn e6_a_program_that_slept_past_its_lease_is_not_told_that_it_leads() {
    let mut rig = Rig::open();
    let op = campaign(&mut rig);
    let seq = rig.next().seq;
    rig.answer(seq, Ok(Response::Elected(leader(4))));
    // Nothing is done at the deadlines between: the program looks when its lease is over.
    rig.now = rig.client.lease_deadline().unwrap();
    assert_eq!(rig.claim(op), Some(Err(OpError::Lost(LostReason::Expired))));
    assert_eq!((rig.held(), rig.client.session()), (vec![], None));
}

#[test]
fn e6_a_leader_whose_lease_ends_is_told() {
    let mut rig = Rig::open();
    let term = lead(&mut rig, 4);
    rig.disconnect();
    rig.pass(TTL);
    assert_eq!(rig.lost(), [(term, LostReason::Expired)]);
}

#[test]
fn e3_observers_see_terms_only_go_up() {
    let mut rig = Rig::open();
    let observer = observe(&mut rig);
    let seq = rig.next().seq;
    rig.answer(seq, Ok(Response::Observing(state(Some(3)))));
    for election in [Some(5), Some(4), Some(5), None, None, Some(5), Some(6)] {
        rig.push(Event::Leader(state(election)));
    }
    assert_eq!(terms(&mut rig, observer), [Some(3), Some(5), None, Some(6)]);
}

#[test]
fn e3_observers_are_subscribed_again_and_told_nothing_twice() {
    let mut rig = Rig::open();
    let observer = observe(&mut rig);
    let seq = rig.next().seq;
    rig.answer(seq, Ok(Response::Observing(state(Some(3)))));
    rig.resume(&[]);
    let again = rig.next();
    assert!(matches!(again.request, Request::Observe { .. }));
    rig.answer(again.seq, Ok(Response::Observing(state(Some(3)))));
    assert_eq!(terms(&mut rig, observer), [Some(3)]);
    let late = observe(&mut rig);
    assert_eq!(terms(&mut rig, late), [Some(3)], "a second observer is told what is known");
    rig.push(Event::Leader(state(Some(8))));
    assert_eq!((terms(&mut rig, observer), terms(&mut rig, late)), (vec![Some(8)], vec![Some(8)]));
}

#[test]
fn e3_an_observer_that_is_slow_skips_terms_and_gets_the_latest() {
    let mut rig = Rig::open();
    let observer = observe(&mut rig);
    let seq = rig.next().seq;
    rig.answer(seq, Ok(Response::Observing(state(None))));
    for term in 1..100 {
        rig.push(Event::Leader(state(Some(term))));
    }
    let seen = terms(&mut rig, observer);
    assert_eq!((seen.len(), seen.last()), (16, Some(&Some(99))));
    assert!(seen.is_sorted());
}

#[test]
fn a_client_takes_so_many_observers_and_gives_the_name_of_one_more_back() {
    let mut rig = Rig::open_with(Config { pending_max: 2, ..Config::default() });
    let (one, _two) = (observe(&mut rig), observe(&mut rig));
    let refused = rig.client.observe(rig.now, "other".into()).unwrap_err();
    assert_eq!((refused.reason, &*refused.item), (RefusedReason::Full { limit: 2 }, "other"));
    rig.client.unobserve(rig.now, one);
    rig.drain();
    observe(&mut rig);
}

#[test]
fn the_last_observer_ends_the_subscription() {
    let mut rig = Rig::open();
    let (one, two) = (observe(&mut rig), observe(&mut rig));
    rig.next();
    rig.client.unobserve(rig.now, one);
    rig.drain();
    assert!(rig.sent.is_empty());
    rig.client.unobserve(rig.now, two);
    rig.drain();
    assert!(matches!(rig.next().request, Request::Unobserve { .. }));
}

#[test]
fn e7_a_transfer_is_given_up_here_first_and_falls_back_to_stepping_down() {
    let mut rig = Rig::open();
    let term = lead(&mut rig, 4);
    let op = rig.client.transfer(rig.now, term, SessionId::new(20)).unwrap();
    rig.drain();
    assert_eq!(rig.held(), [], "it is not believed in before the hub hears of it");
    let frame = rig.next();
    assert!(matches!(&frame.request, Request::Resign(resign) if resign.to == Some(SessionId::new(20))));
    rig.answer(frame.seq, Err(problem(Code::NotCandidate)));
    let plainly = rig.next();
    assert!(matches!(&plainly.request, Request::Resign(resign) if resign.to.is_none() && resign.term == term));
    let Some(Err(error)) = rig.claim(op) else { panic!("it was not handed over") };
    assert_eq!(error.code(), Some(Code::NotCandidate));
}
