//! A hub, or something between, that says anything at all.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::wire::Election;

fn code() -> impl Strategy<Value = Code> {
    prop::sample::select(Code::ALL)
}

fn tokens() -> impl Strategy<Value = Vec<Token>> {
    prop::collection::vec((1_u64..12).prop_map(Token::new), 0..4)
}

fn reason() -> impl Strategy<Value = LostReason> {
    prop::sample::select(&[LostReason::Expired, LostReason::Stolen, LostReason::Superseded, LostReason::Unknown][..])
}

fn election() -> impl Strategy<Value = Election> {
    prop_oneof![
        Just(Election { election: "e".into(), ..Election::default() }),
        (1_u64..12).prop_map(|term| {
            let leader = crate::wire::Leader {
                election: "e".into(),
                term: Token::new(term),
                value: "v".into(),
                session: KEY.id,
                session_name: "x".into(),
                lease_ms: 1,
            };
            Election { election: "e".into(), leader: Some(leader), ..Election::default() }
        }),
    ]
}

fn response() -> impl Strategy<Value = Response> {
    prop_oneof![
        (0_u64..100_000).prop_map(|ttl_ms| Response::Opened { session: KEY, ttl_ms, epoch: Epoch::new(1) }),
        (0_u64..100_000, tokens()).prop_map(|(ttl_ms, held)| Response::Resumed {
            ttl_ms,
            epoch: Epoch::new(1),
            held,
            lost: Vec::new()
        }),
        any::<u64>().prop_map(|ttl_ms| Response::Renewed { ttl_ms }),
        Just(Response::Ended {}),
        (1_u64..12).prop_map(|token| granted("a", token)),
        Just(Response::Released {}),
        Just(Response::Cancelled {}),
        tokens().prop_map(|tokens| Response::Stolen { tokens }),
        election().prop_map(Response::Observing),
        election().prop_filter_map("a leader", |election| election.leader.map(Response::Elected)),
        Just(Response::Unobserved {}),
    ]
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        4 => ((1_u64..12).prop_map(Token::new), reason())
            .prop_map(|(token, reason)| Event::Lost { token, names: vec!["a".into()], reason }),
        1 => reason().prop_map(|reason| Event::SessionEnded { reason }),
        2 => election().prop_map(Event::Leader),
        1 => Just(Event::Draining {}),
    ]
}

fn frame() -> impl Strategy<Value = ServerFrame> {
    prop_oneof![
        3 => (any::<u64>(), 1_u64..8, response())
            .prop_map(|(seq, re, response)| ServerFrame::Answer { seq, re, result: Ok(Box::new(response)) }),
        1 => (any::<u64>(), 1_u64..8, code(), prop::option::of(0_u64..2_000)).prop_map(|(seq, re, code, retry)| {
            let mut problem = problem(code);
            problem.retry_after_ms = retry;
            ServerFrame::Answer { seq, re, result: Err(Box::new(problem)) }
        }),
        2 => (any::<u64>(), event()).prop_map(|(seq, event)| ServerFrame::Push { seq, event }),
    ]
}

#[derive(Clone, Debug)]
enum Step {
    Frame(ServerFrame),
    /// On the connection before this one.
    OldFrame(ServerFrame),
    Connected,
    Disconnected,
    ConnectFailed,
    Acquire,
    Campaign,
    Observe,
    Claim(usize),
    Cancel(usize),
    Release(u64),
    Pass(u64),
    Freeze(u64),
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => frame().prop_map(Step::Frame),
        2 => frame().prop_map(Step::OldFrame),
        5 => Just(Step::Connected),
        1 => Just(Step::Disconnected),
        1 => Just(Step::ConnectFailed),
        4 => Just(Step::Acquire),
        1 => Just(Step::Campaign),
        1 => Just(Step::Observe),
        4 => any::<usize>().prop_map(Step::Claim),
        2 => any::<usize>().prop_map(Step::Cancel),
        2 => (1_u64..12).prop_map(Step::Release),
        3 => (0_u64..4_000).prop_map(Step::Pass),
        1 => (0_u64..20_000).prop_map(Step::Freeze),
        1 => Just(Step::Close),
    ]
}

/// What must hold whatever the hub says.
struct Judge {
    believed: BTreeSet<Token>,
    deadline: Option<(SessionId, Time)>,
}

impl Judge {
    fn look(&mut self, rig: &mut Rig) {
        for output in rig.said.drain(..) {
            match output {
                Output::Lost { token, .. } => assert!(self.believed.remove(&token), "{token} is lost twice"),
                Output::Lease { session, deadline } => {
                    if let Some((before, was)) = self.deadline.filter(|(before, _)| *before == session) {
                        assert!(deadline > was, "the lease of {before} was cut");
                    }
                    self.deadline = Some((session, deadline));
                }
                Output::SessionOver { .. } => self.deadline = None,
                _ => {}
            }
        }
        let held: BTreeSet<_> = rig.client.held().collect();
        assert!(self.believed.is_subset(&held), "a grant was lost in silence: {:?} of {held:?}", self.believed);
        if let Some(deadline) = rig.client.lease_deadline() {
            assert!(deadline > rig.now, "a lease that is over is believed in");
        } else {
            assert!(held.is_empty(), "grants without a session");
        }
    }
}

fn run(steps: Vec<Step>) {
    let mut rig = Rig::new(Config::default());
    let mut judge = Judge { believed: BTreeSet::new(), deadline: None };
    let mut ops = Vec::new();
    for step in steps {
        match step {
            Step::Frame(frame) => rig.client.received(rig.now, rig.generation, frame),
            Step::OldFrame(frame) => {
                let before = (rig.held(), rig.client.lease_deadline(), rig.client.pending(), rig.client.state());
                rig.client.tick(rig.now);
                rig.client.received(rig.now, Generation(rig.generation.0.saturating_sub(1)), frame);
                let after = (rig.held(), rig.client.lease_deadline(), rig.client.pending(), rig.client.state());
                assert_eq!(before, after, "an older connection was listened to");
            }
            Step::Connected => rig.client.connected(rig.now, rig.generation),
            Step::Disconnected => rig.client.disconnected(rig.now, rig.generation),
            Step::ConnectFailed => {
                rig.client.connect_failed(rig.now, rig.generation, Failure::Unreachable("nobody".into()));
            }
            Step::Acquire => ops.extend(rig.client.acquire(rig.now, acquire("a", 1_000)).ok()),
            Step::Campaign => {
                let campaign =
                    crate::wire::Campaign { election: "e".into(), request: None, value: "v".into(), wait_ms: 1_000 };
                ops.extend(rig.client.campaign(rig.now, campaign).ok());
            }
            Step::Observe => drop(rig.client.observe(rig.now, "e".into())),
            Step::Claim(which) if !ops.is_empty() => {
                let op = ops[which % ops.len()];
                if let Some(Ok(outcome)) = rig.client.claim(rig.now, op) {
                    match outcome {
                        Outcome::Granted { grant, .. } => drop(judge.believed.insert(grant.token)),
                        Outcome::Elected { leader } => drop(judge.believed.insert(leader.term)),
                        _ => {}
                    }
                }
            }
            Step::Cancel(which) if !ops.is_empty() => rig.client.cancel(rig.now, ops[which % ops.len()]),
            Step::Release(token) => {
                let token = Token::new(token);
                rig.client.tick(rig.now);
                rig.drain();
                judge.look(&mut rig);
                if rig.client.release(rig.now, token).is_some() {
                    judge.believed.remove(&token);
                }
            }
            Step::Pass(ms) => rig.pass(Duration::from_millis(ms)),
            Step::Freeze(ms) => {
                rig.now += Duration::from_millis(ms);
                rig.client.tick(rig.now);
            }
            Step::Close => drop(rig.client.close(rig.now)),
            Step::Claim(_) | Step::Cancel(_) => {}
        }
        rig.drain();
        judge.look(&mut rig);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn l8_whatever_the_hub_says_no_loss_is_silent_or_told_twice(steps in prop::collection::vec(step(), 0..80)) {
        run(steps);
    }

    #[test]
    fn an_answer_to_nothing_that_was_asked_changes_nothing(re in 50_u64.., response in response()) {
        let mut rig = Rig::open();
        let token = rig.hold("a", 5);
        let before = (rig.client.lease_deadline(), rig.client.pending(), rig.client.state());
        rig.answer(re, Ok(response));
        prop_assert_eq!((rig.client.lease_deadline(), rig.client.pending(), rig.client.state()), before);
        prop_assert_eq!(rig.held(), vec![token]);
        prop_assert_eq!((rig.said.len(), rig.sent.len()), (0, 0));
    }

    #[test]
    fn frames_are_numbered_for_people_only(seqs in prop::collection::vec(any::<u64>(), 3)) {
        let mut rig = Rig::open();
        let op = rig.acquire("a", WAIT_MS_FOREVER);
        let re = rig.next().seq;
        rig.client.received(rig.now, rig.generation, ServerFrame::Push { seq: seqs[0], event: Event::Draining {} });
        let result = Ok(Box::new(granted("a", 5)));
        rig.client.received(rig.now, rig.generation, ServerFrame::Answer { seq: seqs[1], re, result });
        rig.drain();
        prop_assert!(matches!(rig.claim(op), Some(Ok(_))), "a gap or repetition in the numbers lost an answer");
    }

    #[test]
    fn no_text_makes_the_client_panic(text in "\\PC{0,60}|\\{\"seq\":[0-9]{1,25},\"(re|event|ok)\":.{0,20}\\}?") {
        let mut rig = Rig::open();
        rig.client.received_text(rig.now, rig.generation, &text);
        rig.drain();
        prop_assert!(matches!(rig.client.state(), ConnectionState::Connected | ConnectionState::Failed));
    }
}

#[test]
fn an_event_of_a_later_version_is_passed_over_and_nonsense_is_not() {
    let mut rig = Rig::open();
    rig.client.received_text(rig.now, rig.generation, r#"{"seq":4,"event":{"moon_phase":{"full":true}}}"#);
    assert_eq!(rig.client.state(), ConnectionState::Connected);
    rig.client.received_text(rig.now, rig.generation, r#"{"seq":4,"ok":{"released":{}}}"#);
    assert_eq!(rig.client.state(), ConnectionState::Failed);
    assert!(matches!(rig.client.failure(), Some(Failure::Protocol(_))));
}
