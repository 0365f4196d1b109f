//! The machine by hand: claims, tokens, closing.

use super::blocked::BLOCKERS_MAX;
use super::*;
use crate::wire::WAIT_MS_FOREVER;

const START: Time = Time::from_millis(1_000);

fn local() -> Local {
    Local::new("test".into(), 7, START)
}

fn exclusive(name: &str, wait_ms: u64, owner: &str) -> Acquire {
    Acquire { wait_ms, owner: Some(owner.into()), ..Acquire::one(name) }
}

/// The line of the caller.
#[track_caller]
fn from(since: Time) -> Origin {
    Origin { site: std::panic::Location::caller(), since }
}

fn outputs(local: &mut Local) -> Vec<Output> {
    std::iter::from_fn(|| local.poll_output()).collect()
}

fn token(result: Option<Result<Outcome, OpError>>) -> Token {
    match result {
        Some(Ok(Outcome::Granted { grant, .. })) => grant.token,
        other => panic!("{other:?}"),
    }
}

#[test]
fn l4_an_unclaimed_grant_passes_on_when_its_time_is_over() {
    let mut local = local();
    let first = local.acquire(START, exclusive("a", WAIT_MS_FOREVER, "1"), from(START)).unwrap();
    let first = token(local.claim(START, first));
    let second = local.acquire(START, exclusive("a", WAIT_MS_FOREVER, "2"), from(START)).unwrap();
    let third = local.acquire(START, exclusive("a", WAIT_MS_FOREVER, "3"), from(START)).unwrap();
    outputs(&mut local);
    local.release(START, "a".into(), first).unwrap();
    assert_eq!(outputs(&mut local), [Output::Complete { op: second }]);
    let due = local.next_claim().unwrap();
    assert_eq!(due, START + CLAIM_TIMEOUT);
    local.tick(due.saturating_sub(Duration::from_micros(1)));
    assert_eq!(outputs(&mut local), []);
    local.tick(due);
    assert_eq!(outputs(&mut local), [Output::Complete { op: third }]);
    assert_eq!(local.claim(due, second), Some(Err(OpError::Unclaimed)));
    assert!(token(local.claim(due, third)) > first);
    assert_eq!((local.next_claim(), local.pending()), (None, 0));
}

#[test]
fn l2_tokens_follow_those_that_the_shell_gave() {
    let mut local = local();
    assert_eq!(local.tokens_wanted(), 1);
    local.tokens_after(Token::new(41));
    let op = local.acquire(START, exclusive("a", 0, "1"), from(START)).unwrap();
    assert_eq!(token(local.claim(START, op)), Token::new(42));
    local.acquire(START, exclusive("a", WAIT_MS_FOREVER, "2"), from(START)).unwrap();
    assert_eq!(local.tokens_wanted(), 2, "the one that waits may be served by the next call, too");
}

#[test]
fn l1_an_adopted_grant_is_in_the_way_and_can_be_given_back() {
    let mut local = local();
    local.adopt(from(START), "a".into(), Token::new(5), "1".into(), Claim::Exclusive);
    assert!(local.uses(&"a".into()) && !local.uses(&"b".into()));
    let op = local.acquire(START, exclusive("a", 0, "2"), from(START)).unwrap();
    let Some(Err(OpError::Refused(problem))) = local.claim(START, op) else { panic!("granted twice") };
    assert_eq!((problem.code, problem.holders[0].token), (Code::LockHeld, Token::new(5)));
    local.release(START, "a".into(), Token::new(5)).unwrap();
    assert!(!local.uses(&"a".into()));
    assert_eq!(local.release(START, "a".into(), Token::new(6)).unwrap_err().code, Code::NotHolder);
}

#[test]
fn l6_an_adopted_grant_takes_part_in_the_search_for_deadlocks() {
    let mut local = local();
    local.adopt(from(START), "a".into(), Token::new(1), "1".into(), Claim::Exclusive);
    local.adopt(from(START), "b".into(), Token::new(2), "2".into(), Claim::Exclusive);
    local.acquire(START, exclusive("b", WAIT_MS_FOREVER, "1"), from(START)).unwrap();
    let op = local.acquire(START, exclusive("a", WAIT_MS_FOREVER, "2"), from(START)).unwrap();
    let Some(Err(error)) = local.claim(START, op) else { panic!("it waits for itself") };
    assert_eq!(error.code(), Some(Code::Deadlock));
}

#[test]
fn a_stolen_grant_is_lost_once_and_an_unclaimed_one_is_told_to_its_operation() {
    let mut local = local();
    let held = local.acquire(START, exclusive("a", 0, "1"), from(START)).unwrap();
    let held = token(local.claim(START, held));
    let unclaimed = local.acquire(START, exclusive("b", 0, "2"), from(START)).unwrap();
    outputs(&mut local);
    local.ask(START, Request::Steal { name: "a".into() }).unwrap();
    assert_eq!(
        outputs(&mut local),
        [Output::Lost { token: held, reason: LostReason::Stolen, names: vec!["a".into()] }]
    );
    local.ask(START, Request::Steal { name: "b".into() }).unwrap();
    assert_eq!(outputs(&mut local), []);
    assert_eq!(local.claim(START, unclaimed), Some(Err(OpError::Lost(LostReason::Stolen))));
    assert_eq!(local.next_claim(), None);
}

#[test]
fn l11_years_without_a_call_end_nothing() {
    let mut local = local();
    let op = local.acquire(START, exclusive("a", 0, "1"), from(START)).unwrap();
    let held = token(local.claim(START, op));
    outputs(&mut local);
    let mut now = START;
    for pause in [1, 30, 86_399, 86_400, 200_000_000] {
        now += Duration::from_secs(pause);
        local.tick(now);
        assert_eq!(outputs(&mut local), [], "after {pause} s");
    }
    local.release(now, "a".into(), held).unwrap();
}

#[test]
fn l11_calls_without_a_pause_end_nothing() {
    // A pause is what the hub takes for a stall, which renews the session.
    let step = Duration::from_millis(49);
    let mut local = Local::with_lease("test".into(), 7, 1_000, START);
    let op = local.acquire(START, exclusive("a", 0, "1"), from(START)).unwrap();
    let held = token(local.claim(START, op));
    let mut now = START;
    for _ in 0..100 {
        now += step;
        let name = "a".into();
        let checked = local.ask(now, Request::Check(crate::wire::Check { name, token: held })).unwrap();
        assert_eq!(checked, Response::Checked { valid: true, newest: Some(held) }, "at {now:?}");
    }
    local.release(now, "a".into(), held).unwrap();
}

#[test]
fn l4_a_grant_that_was_adopted_unclaimed_is_claimed_or_passes_on() {
    let since = START.saturating_sub(Duration::from_millis(400));
    for claimed in [true, false] {
        let mut local = local();
        let op = local.adopt_unclaimed(START, from(since), "a".into(), Token::new(5), "1".into(), Claim::Exclusive);
        local.tokens_after(Token::new(5));
        let next = local.acquire(START, exclusive("a", WAIT_MS_FOREVER, "2"), from(START)).unwrap();
        assert_eq!(outputs(&mut local), []);
        let due = since + CLAIM_TIMEOUT;
        assert_eq!(local.next_claim(), Some(due), "the time before counts");
        if claimed {
            assert_eq!(token(local.claim(START, op)), Token::new(5));
            local.release(START, "a".into(), Token::new(5)).unwrap();
        } else {
            local.tick(due);
            assert_eq!(local.claim(due, op), Some(Err(OpError::Unclaimed)));
        }
        assert_eq!(outputs(&mut local).last(), Some(&Output::Complete { op: next }));
        assert!(token(local.claim(due, next)) > Token::new(5));
    }
}

#[test]
fn l4_a_grant_that_was_adopted_unclaimed_is_given_back_by_whoever_gives_up() {
    let mut local = local();
    let op = local.adopt_unclaimed(START, from(START), "a".into(), Token::new(5), "1".into(), Claim::Exclusive);
    local.cancel(START, op);
    assert!(!local.uses(&"a".into()));
    assert_eq!((local.next_claim(), local.pending()), (None, 0));
}

#[test]
fn a_quarter_of_a_million_wait_and_one_more_is_refused() {
    let mut local = local();
    let waits_max = WAITERS_MAX;
    assert_eq!(waits_max, 250_000);
    let held = local.acquire(START, exclusive("a", 0, "holder"), from(START)).unwrap();
    let held = token(local.claim(START, held));
    let waits: Vec<_> = (0..waits_max)
        .map(|wait| {
            let name = if wait % 2 == 0 { "a" } else { "b" };
            local.acquire(START, exclusive(name, WAIT_MS_FOREVER, &wait.to_string()), from(START)).unwrap()
        })
        .collect();
    outputs(&mut local);
    // The first of `b` holds it, and so waits no more.
    let first = token(local.claim(START, waits[1]));
    let last = local.acquire(START, exclusive("b", WAIT_MS_FOREVER, "last"), from(START)).unwrap();
    assert_eq!(local.claim(START, last), None);
    let late = |local: &mut Local, name: &str, wait_ms: u64| {
        let op = local.acquire(START, exclusive(name, wait_ms, "late"), from(START)).unwrap();
        match local.claim(START, op) {
            Some(Err(OpError::Refused(problem))) => Some(problem.code),
            Some(Ok(_)) => None,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(late(&mut local, "a", WAIT_MS_FOREVER), Some(Code::TooManyWaiters));
    assert_eq!(late(&mut local, "a", 0), Some(Code::LockHeld), "it would not wait");
    assert_eq!(late(&mut local, "free", WAIT_MS_FOREVER), None, "nor need to");
    local.release(START, "a".into(), held).unwrap();
    let next = token(local.claim(START, waits[0]));
    assert!(next > first, "the queue goes on");
    let op = local.acquire(START, exclusive("a", WAIT_MS_FOREVER, "late"), from(START)).unwrap();
    assert_eq!(local.claim(START, op), None, "there is room for one");
    assert_eq!(late(&mut local, "a", WAIT_MS_FOREVER), Some(Code::TooManyWaiters));
}

#[test]
fn those_who_wait_elsewhere_leave_room_for_fewer() {
    let mut local = local();
    let held = local.acquire(START, exclusive("a", 0, "holder"), from(START)).unwrap();
    token(local.claim(START, held));
    local.waiters_elsewhere(WAITERS_MAX - 1);
    let wait = |local: &mut Local, owner: &str| {
        let op = local.acquire(START, exclusive("a", WAIT_MS_FOREVER, owner), from(START)).unwrap();
        local.claim(START, op)
    };
    assert_eq!(wait(&mut local, "last"), None);
    let Some(Err(OpError::Refused(problem))) = wait(&mut local, "late") else { panic!("it is one too many") };
    assert_eq!(problem.code, Code::TooManyWaiters);
    local.waiters_elsewhere(WAITERS_MAX - 2);
    assert_eq!(wait(&mut local, "late"), None);
}

#[test]
fn l6_a_cycle_says_who_waits_for_whom_since_when_and_from_where() {
    let mut local = local();
    let later = START + Duration::from_secs(3);
    let adopted = from(START);
    local.adopt(adopted, "a".into(), Token::new(1), "one".into(), Claim::Exclusive);
    local.tokens_after(Token::new(1));
    let held = from(later);
    let b = local.acquire(later, exclusive("b", 0, "two"), held).unwrap();
    let b = token(local.claim(later, b));
    let waits = from(later);
    local.acquire(later, exclusive("b", WAIT_MS_FOREVER, "one"), waits).unwrap();
    let now = later + Duration::from_secs(1);
    let closes = from(now);
    let op = local.acquire(now, exclusive("a", WAIT_MS_FOREVER, "two"), closes).unwrap();
    let Some(Err(OpError::Refused(problem))) = local.claim(now, op) else { panic!("it waits for itself") };
    let blocker = |who: &str, token, secs, origin: Origin| Blocker {
        who: who.into(),
        token: Some(token),
        since: Duration::from_secs(secs),
        site: Some(origin.site),
    };
    let blocked = |who: &str, name: &str, secs, origin: Origin, blocker| Blocked {
        who: who.into(),
        waits_for: name.into(),
        waited: Duration::from_secs(secs),
        site: Some(origin.site),
        blockers: vec![blocker],
    };
    let one = blocked("one", "b", 1, waits, blocker("two", b, 1, held));
    let two = blocked("two", "a", 0, closes, blocker("one", Token::new(1), 4, adopted));
    assert_eq!(local.cycle(now, &problem.cycle, closes.site), [two, one.clone()]);
    assert_eq!(local.blocked(now, 10), [one], "the newcomer does not wait");
    let stats = local.stats(now);
    assert_eq!((stats.held, stats.waiting, stats.deadlocks), (2, 1, 1));
    assert_eq!(stats.waited_max, Duration::from_secs(1));
}

#[test]
fn l6_blocked_names_who_waits_before_and_keeps_its_limits() {
    let mut local = local();
    let waits: Vec<_> = (0..30)
        .map(|wait| local.acquire(START, exclusive("a", WAIT_MS_FOREVER, &wait.to_string()), from(START)).unwrap())
        .collect();
    let blocked = local.blocked(START, 5);
    assert_eq!(blocked.len(), 5);
    let who = |blocked: &Blocked| blocked.blockers.iter().map(|by| (by.who.to_string(), by.token.is_some())).collect();
    let before: Vec<(String, bool)> = who(&blocked[2]);
    assert_eq!(before, [("0".into(), true), ("1".into(), false), ("2".into(), false)]);
    assert_eq!(local.blocked(START, 100).last().map(|last| last.blockers.len()), Some(BLOCKERS_MAX));
    for wait in waits {
        local.cancel(START, wait);
    }
    assert_eq!(local.blocked(START, 5), []);
    assert_eq!(local.stats(START), Stats::default());
}

/// Everything that the machine and the hub in it hold, without the numbers and what else only counts, and without the
/// last few grants, which the session remembers to say how they ended.
fn shape(local: &Local) -> String {
    let mut shape = format!("{local:?}").replace("graced: true", "graced: false");
    for (from, to) in [("past: [", "] })"), ("refusals_total: {", "}")] {
        let from = shape.find(from).unwrap();
        let to = from + shape[from..].find(to).unwrap();
        shape.replace_range(from..to, "");
    }
    shape.retain(|c| !c.is_ascii_digit());
    shape
}

#[test]
fn l7_nothing_is_left_of_what_was_asked_whatever_came_of_it() {
    let mut local = local();
    // What is made once: tables of numbers that are never empty again.
    let op = local.acquire(START, exclusive("first", 0, "1"), from(START)).unwrap();
    let first = token(local.claim(START, op));
    local.release(START, "first".into(), first).unwrap();
    outputs(&mut local);
    let before = shape(&local);
    let mut now = START;
    let unchanged = |local: &mut Local, what: &str| {
        outputs(local);
        assert_eq!(shape(local), before, "after {what}");
    };
    let acquire = |local: &mut Local, now: Time, name: &str, owner: &str| {
        local.acquire(now, exclusive(name, WAIT_MS_FOREVER, owner), from(now)).unwrap()
    };

    let held = acquire(&mut local, now, "a", "1");
    let held = token(local.claim(now, held));
    let [given_up, passed_on, served] = ["2", "3", "4"].map(|owner| acquire(&mut local, now, "a", owner));
    let refused = local.acquire(now, exclusive("a", 0, "5"), from(now)).unwrap();
    assert!(matches!(local.claim(now, refused), Some(Err(_))));
    let timed_out = local.acquire(now, exclusive("a", 10, "6"), from(now)).unwrap();
    local.cancel(now, given_up);
    now += Duration::from_millis(10);
    assert!(matches!(local.claim(now, timed_out), Some(Err(_))));
    local.release(now, "a".into(), held).unwrap();
    now += CLAIM_TIMEOUT;
    local.tick(now);
    assert_eq!(local.claim(now, passed_on), Some(Err(OpError::Unclaimed)));
    let held = token(local.claim(now, served));
    local.release(now, "a".into(), held).unwrap();
    unchanged(&mut local, "waits that ended in every way");

    local.adopt(from(now), "b".into(), Token::new(90), "1".into(), Claim::Exclusive);
    local.tokens_after(Token::new(90));
    let waits = acquire(&mut local, now, "b", "2");
    local.release(now, "b".into(), Token::new(90)).unwrap();
    local.cancel(now, waits);
    let unclaimed = local.adopt_unclaimed(now, from(now), "c".into(), Token::new(100), "1".into(), Claim::Exclusive);
    local.tokens_after(Token::new(100));
    local.cancel(now, unclaimed);
    unchanged(&mut local, "grants that were taken over");

    let stolen = acquire(&mut local, now, "d", "1");
    let stolen = token(local.claim(now, stolen));
    local.ask(now, Request::Steal { name: "d".into() }).unwrap();
    assert_eq!(local.release(now, "d".into(), stolen).unwrap_err().code, Code::NotHolder);
    local.ask(now, Request::Lock { name: "e".into() }).unwrap();
    unchanged(&mut local, "a theft and a look");

    let observer = local.observe(now, "f".into()).unwrap();
    let stands = local
        .campaign(now, Campaign { election: "f".into(), request: None, value: "here".into(), wait_ms: 0 })
        .unwrap();
    let Some(Ok(Outcome::Elected { leader })) = local.claim(now, stands) else { panic!("nobody else stands") };
    local.resign(now, "f".into(), leader.term, None).unwrap();
    assert!(local.observed(observer).is_some());
    local.unobserve(now, observer);
    unchanged(&mut local, "an election");
}
