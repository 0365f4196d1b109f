//! Connections that break, and what is carried over to the next one (L11).

use super::*;

#[test]
fn l11_a_resumption_reports_what_is_held_and_what_is_awaited() {
    let mut rig = Rig::open();
    let token = rig.hold("a", 5);
    let op = rig.acquire("b", WAIT_MS_FOREVER);
    let id = rig.client.request_id(op).unwrap();
    let resume = rig.resume(&[token]);
    assert_eq!(resume.session, KEY);
    assert_eq!(resume.held.iter().map(|held| (held.token, &*held.names[0])).collect::<Vec<_>>(), [(token, "a")]);
    assert_eq!(resume.pending, [id]);
    assert_eq!((rig.lost(), rig.held()), (vec![], vec![token]));
}

#[test]
fn l11_what_the_hub_does_not_list_is_lost_at_once() {
    let mut rig = Rig::open();
    let (a, b) = (rig.hold("a", 5), rig.hold("b", 6));
    rig.resume(&[b]);
    assert_eq!(rig.lost(), [(a, LostReason::Unknown)]);
    assert_eq!(rig.held(), [b]);
}

#[test]
fn a_list_of_foreign_tokens_gives_nothing() {
    let mut rig = Rig::open();
    let token = rig.hold("a", 5);
    rig.resume(&[token, Token::new(77)]);
    assert_eq!(rig.held(), [token]);
}

#[test]
fn l8_a_resumption_renews_from_when_it_was_sent() {
    let mut rig = Rig::open();
    rig.pass(Duration::from_secs(1));
    rig.disconnect();
    rig.pass(Duration::ZERO);
    rig.connect();
    let sent = rig.now;
    let seq = rig.next().seq;
    rig.now += Duration::from_secs(1);
    rig.answer(seq, Ok(resumed(&[])));
    assert_eq!(rig.client.lease_deadline(), Some((sent + TTL).saturating_sub(drift_margin(TTL))));
}

#[test]
fn l11_a_session_that_the_hub_does_not_know_is_lost_and_waits_go_on_in_another() {
    let mut rig = Rig::open();
    let token = rig.hold("a", 5);
    let op = rig.acquire("b", WAIT_MS_FOREVER);
    let id = rig.client.request_id(op);
    rig.disconnect();
    rig.pass(Duration::ZERO);
    rig.connect();
    let seq = rig.next().seq;
    rig.answer(seq, Err(problem(Code::SessionUnknown)));
    assert_eq!(rig.lost(), [(token, LostReason::Unknown)]);
    let open = rig.next();
    assert!(matches!(open.request, Request::Open(_)));
    let key = SessionKey { id: SessionId::new(8), secret: 1 };
    rig.answer(open.seq, Ok(Response::Opened { session: key, ttl_ms: 10_000, epoch: Epoch::new(2) }));
    let again = rig.next();
    assert_eq!(request_of(&again).cloned(), id);
    rig.answer(again.seq, Ok(granted("b", 9)));
    assert!(matches!(rig.claim(op), Some(Ok(Outcome::Granted { session, .. })) if session == key.id));
}

#[test]
fn a_wait_that_starts_over_waits_only_for_what_is_left() {
    let mut rig = Rig::open();
    rig.acquire("a", 8_000);
    rig.next();
    rig.pass(Duration::from_secs(3));
    rig.client.expire(rig.now);
    rig.drain();
    rig.pass(Duration::ZERO);
    rig.connect();
    rig.answer_next(opened());
    let Request::Acquire(again) = rig.next().request else { panic!("not asked again") };
    assert_eq!(again.wait_ms, 5_000);
}

#[test]
fn the_first_attempt_after_a_break_is_at_once_and_later_ones_are_spread_out() {
    let mut pauses = Vec::new();
    for seed in 0..50 {
        let mut client = Client::new(Config::default(), seed, START);
        let mut now = START;
        for attempt in 0..12_u32 {
            let Some(Output::Connect { generation }) = std::iter::from_fn(|| client.poll_output())
                .filter(|output| matches!(output, Output::Connect { .. }))
                .last()
            else {
                panic!("no attempt")
            };
            client.connect_failed(now, generation, Failure::Unreachable("nobody".into()));
            let next = client.next_deadline().unwrap_or(now);
            let pause = next.since(now);
            let longest =
                (Duration::from_millis(50) * (1 << attempt.saturating_sub(1).min(20))).min(Duration::from_secs(5));
            if attempt == 0 {
                assert!(client.state() == ConnectionState::Connecting, "the first retry is at once");
            } else {
                assert!(pause <= longest, "attempt {attempt} pauses {pause:?}");
                pauses.push((attempt, pause));
                now = next;
                client.tick(now);
            }
        }
    }
    let late: Vec<_> = pauses.iter().filter(|(attempt, _)| *attempt == 11).map(|(_, pause)| *pause).collect();
    assert!(late.iter().any(|pause| *pause > Duration::from_secs(3)), "the pauses do not grow: {late:?}");
    assert!(late.iter().any(|pause| *pause < Duration::from_secs(2)), "the pauses are not spread: {late:?}");
    assert!(late.iter().collect::<std::collections::BTreeSet<_>>().len() > 40, "clients try in step");
}

#[test]
fn l8_while_a_lease_runs_the_pauses_leave_room_for_several_attempts() {
    let mut rig = Rig::open();
    rig.disconnect();
    for _ in 0..8 {
        rig.pass(Duration::ZERO);
        rig.client.connect_failed(rig.now, rig.generation, Failure::Unreachable("nobody".into()));
        rig.drain();
        let pause = rig.client.next_deadline().unwrap().since(rig.now);
        assert!(pause <= TTL / 6, "{pause:?}");
        rig.pass(pause);
    }
}

#[test]
fn an_attempt_that_hangs_is_given_up() {
    let mut rig = Rig::new(Config::default());
    rig.pass(Duration::from_secs(5));
    assert_eq!((rig.disconnects, rig.connects), (1, 2));
    assert!(matches!(rig.client.failure(), Some(Failure::Unreachable(_))));
}

#[test]
fn a_report_about_an_older_connection_changes_nothing() {
    let mut rig = Rig::open();
    let old = rig.generation;
    rig.resume(&[]);
    let connects = rig.connects;
    rig.client.disconnected(rig.now, old);
    rig.client.connected(rig.now, old);
    rig.client.connect_failed(rig.now, old, Failure::Unauthorized("forged".into()));
    rig.client.protocol_error(rig.now, old, "forged");
    rig.drain();
    assert_eq!((rig.client.state(), rig.connects), (ConnectionState::Connected, connects));
}

#[test]
fn wrong_credentials_end_it_all() {
    let mut rig = Rig::new(Config::default());
    let op = rig.acquire("a", WAIT_MS_FOREVER);
    let failure = Failure::Unauthorized("no".into());
    rig.client.connect_failed(rig.now, rig.generation, failure.clone());
    rig.drain();
    assert_eq!((rig.client.state(), rig.client.next_deadline()), (ConnectionState::Failed, None));
    assert_eq!(rig.claim(op), Some(Err(OpError::Failed(failure))));
}

#[test]
fn a_hub_that_is_full_is_tried_again_and_one_that_refuses_is_not() {
    let mut rig = Rig::new(Config::default());
    rig.connect();
    let seq = rig.next().seq;
    rig.answer(seq, Err(problem(Code::TooManySessions).with_retry_after_ms(700)));
    assert_eq!(rig.client.state(), ConnectionState::Disconnected);
    assert!(rig.client.next_deadline().unwrap() >= rig.now + Duration::from_millis(700));
    rig.pass(Duration::from_secs(5));
    rig.connect();
    let seq = rig.next().seq;
    rig.answer(seq, Err(problem(Code::TtlOutOfRange)));
    assert_eq!(rig.client.state(), ConnectionState::Failed);
}

#[test]
fn a_silent_connection_is_pinged_and_then_left() {
    let config = Config { ttl: Duration::from_secs(600), ..Config::default() };
    let mut rig = Rig::new(config);
    rig.connect();
    rig.answer_next(Response::Opened { session: KEY, ttl_ms: 600_000, epoch: Epoch::new(1) });
    rig.pass(Duration::from_secs(10));
    assert!(rig.said.iter().any(|output| matches!(output, Output::Ping { .. })));
    rig.client.heard(rig.now, rig.generation);
    rig.pass(Duration::from_secs(19));
    assert_eq!(rig.disconnects, 0);
    rig.pass(Duration::from_secs(1));
    assert_eq!(rig.disconnects, 1);
}

#[test]
fn equal_seeds_give_equal_clients() {
    let run = |seed| {
        let mut client = Client::new(Config::default(), seed, START);
        let mut trace = Vec::new();
        let mut now = START;
        for _ in 0..20 {
            while let Some(output) = client.poll_output() {
                trace.push(format!("{now:?} {output:?}"));
                if let Output::Connect { generation } = output {
                    client.connect_failed(now, generation, Failure::Unreachable("nobody".into()));
                }
            }
            now = client.next_deadline().unwrap_or(now);
            client.tick(now);
        }
        trace
    };
    assert_eq!(run(3), run(3));
    assert_ne!(run(3), run(4));
}
