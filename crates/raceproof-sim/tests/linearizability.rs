//! Hand-written histories, some linearizable and some not, for each model of the checker.

#![expect(clippy::indexing_slicing, reason = "a test may panic")]

use raceproof_sim::checker::models::{
    Fenced, FencedAnswer, FencedOp, MutexAnswer, MutexOp, OwnerMutex, Register, RegisterAnswer, RegisterOp,
};
use raceproof_sim::checker::{History, Model, Verdict, check};

const LIMIT: usize = 100_000;

fn accepts<M: Model>(model: &M, history: &History<M::Op, M::Answer>) -> bool {
    match check(model, history, LIMIT) {
        Verdict::Linearizable(order) => {
            replay(model, history, &order);
            true
        }
        Verdict::Violation(_) => false,
        Verdict::Undecided(visited) => panic!("undecided after {visited} configurations"),
    }
}

/// An accepted order is one: the model takes it, it holds every answered call, and it respects time.
fn replay<M: Model>(model: &M, history: &History<M::Op, M::Answer>, order: &[usize]) {
    let calls = history.calls();
    let mut state = model.initial();
    for (place, index) in order.iter().enumerate() {
        let call = &calls[*index];
        state = model.step(&state, &call.op, call.answered.as_ref().map(|(_, answer)| answer)).expect("a legal step");
        for later in &order[place + 1..] {
            let answered = calls[*later].answered.as_ref().map_or(u64::MAX, |(at, _)| *at);
            assert!(answered >= call.invoked, "{later} was answered before {index} was called");
        }
    }
    let answered = calls.iter().filter(|call| call.answered.is_some()).count();
    assert_eq!(order.iter().filter(|index| calls[**index].answered.is_some()).count(), answered);
}

const fn acquire(owner: u64) -> MutexOp {
    MutexOp::Acquire { owner }
}

const fn release(owner: u64) -> MutexOp {
    MutexOp::Release { owner }
}

const fn take(owner: u64, take: u32) -> FencedOp {
    FencedOp::Acquire { owner, take }
}

const fn granted(token: u64) -> FencedAnswer {
    FencedAnswer::Granted { token }
}

#[test]
fn an_empty_history_is_linearizable() {
    assert!(accepts(&Register, &History::new()));
}

#[test]
fn one_owner_after_the_other_is_accepted() {
    let mut history = History::new();
    history.answered(1, acquire(1), 0, 10, MutexAnswer::Done);
    history.answered(1, release(1), 20, 30, MutexAnswer::Done);
    history.answered(2, acquire(2), 5, 40, MutexAnswer::Done);
    assert!(accepts(&OwnerMutex, &history));
}

#[test]
fn two_owners_at_once_are_not() {
    let mut history = History::new();
    history.answered(1, acquire(1), 0, 10, MutexAnswer::Done);
    history.answered(2, acquire(2), 5, 15, MutexAnswer::Done);
    history.answered(1, release(1), 20, 30, MutexAnswer::Done);
    let Verdict::Violation(violation) = check(&OwnerMutex, &history, LIMIT) else { panic!("accepted") };
    // The release can only follow its own acquire, and then the other's answer fits nowhere.
    assert_eq!(violation.stuck_at, 1);
    assert_eq!(violation.state, "Some(1)");
}

#[test]
fn the_mutex_is_not_reentrant_and_knows_its_owner() {
    let mut twice = History::new();
    twice.answered(1, acquire(1), 0, 10, MutexAnswer::Done);
    twice.answered(1, acquire(1), 20, 30, MutexAnswer::Done);
    assert!(!accepts(&OwnerMutex, &twice));

    let mut of_another = History::new();
    of_another.answered(1, acquire(1), 0, 10, MutexAnswer::Done);
    of_another.answered(2, release(2), 20, 30, MutexAnswer::Done);
    assert!(!accepts(&OwnerMutex, &of_another));
    let mut refused = History::new();
    refused.answered(1, acquire(1), 0, 10, MutexAnswer::Done);
    refused.answered(2, release(2), 20, 30, MutexAnswer::Refused);
    assert!(accepts(&OwnerMutex, &refused));
}

#[test]
fn a_refusal_needs_a_holder() {
    let mut history = History::new();
    history.answered(1, acquire(1), 0, 10, MutexAnswer::Refused);
    assert!(!accepts(&OwnerMutex, &history));
    history.unknown(2, acquire(2), 5);
    assert!(accepts(&OwnerMutex, &history), "the unknown call may have been the holder");
    let mut too_late = History::new();
    too_late.answered(1, acquire(1), 0, 10, MutexAnswer::Refused);
    too_late.unknown(2, acquire(2), 11);
    assert!(!accepts(&OwnerMutex, &too_late));
}

#[test]
fn an_unknown_release_may_have_happened_at_any_later_time() {
    let mut history = History::new();
    history.answered(1, acquire(1), 0, 10, MutexAnswer::Done);
    history.unknown(1, release(1), 20);
    history.answered(2, acquire(2), 1_000, 1_010, MutexAnswer::Done);
    assert!(accepts(&OwnerMutex, &history));

    let mut before = History::new();
    before.answered(1, acquire(1), 0, 10, MutexAnswer::Done);
    before.answered(2, acquire(2), 12, 15, MutexAnswer::Done);
    before.unknown(1, release(1), 20);
    assert!(!accepts(&OwnerMutex, &before), "but not before it was called");
}

#[test]
fn an_unknown_acquire_may_be_granted_at_any_later_time_and_end_at_any_time_after_that() {
    let with = |asked: Option<u64>| {
        let mut history = History::new();
        history.answered(1, take(1, 1), 0, 10, granted(1));
        history.answered(1, FencedOp::Release { owner: 1, token: 1 }, 20, 30, FencedAnswer::Done);
        history.answered(2, take(2, 1), 1_000, 1_010, FencedAnswer::Refused);
        history.answered(3, take(3, 1), 2_000, 2_010, granted(9));
        if let Some(asked) = asked {
            history.unknown(7, take(7, 1), asked);
            history.unknown(7, FencedOp::End { owner: 7 }, asked);
        }
        history
    };
    assert!(!accepts(&Fenced::mutex(), &with(None)), "nobody holds it when the second is refused");
    assert!(accepts(&Fenced::mutex(), &with(Some(5))), "asked in the time of the first, granted long after, and over");
    assert!(accepts(&Fenced::mutex(), &with(Some(1_005))));
    assert!(!accepts(&Fenced::mutex(), &with(Some(1_011))), "not before it was asked");
    let mut greater = with(Some(5));
    greater.answered(4, take(4, 1), 1_020, 1_030, granted(2));
    assert!(!accepts(&Fenced::mutex(), &greater), "it took a token of its own");
}

#[test]
fn a_lease_lets_the_next_in_from_when_its_holder_stopped_believing() {
    let with_end = |believed_until: u64| {
        let mut history = History::new();
        history.answered(1, acquire(1), 0, 10, MutexAnswer::Done);
        history.unknown(1, MutexOp::End { owner: 1 }, believed_until);
        history.answered(2, acquire(2), 15, 100, MutexAnswer::Done);
        history
    };
    assert!(accepts(&OwnerMutex, &with_end(99)));
    assert!(!accepts(&OwnerMutex, &with_end(101)));
}

#[test]
fn tokens_grow_across_owners() {
    let history = |second: u64| {
        let mut history = History::new();
        history.answered(1, take(1, 1), 0, 10, granted(7));
        history.answered(1, FencedOp::Release { owner: 1, token: 7 }, 20, 30, FencedAnswer::Done);
        history.answered(2, take(2, 1), 25, 40, granted(second));
        history
    };
    assert!(accepts(&Fenced::mutex(), &history(8)));
    assert!(accepts(&Fenced::mutex(), &history(80)));
    assert!(!accepts(&Fenced::mutex(), &history(7)));
    assert!(!accepts(&Fenced::mutex(), &history(6)));
}

#[test]
fn a_release_needs_the_token_of_a_grant_that_is_held() {
    let mut history = History::new();
    history.answered(1, take(1, 1), 0, 10, granted(7));
    history.answered(1, FencedOp::Release { owner: 1, token: 6 }, 20, 30, FencedAnswer::Done);
    assert!(!accepts(&Fenced::mutex(), &history));
}

#[test]
fn a_grant_of_unknown_token_pushes_later_tokens_up() {
    let mut history = History::new();
    history.answered(1, take(1, 1), 0, 10, granted(7));
    history.answered(1, FencedOp::Release { owner: 1, token: 7 }, 11, 12, FencedAnswer::Done);
    history.unknown(2, take(2, 1), 15);
    history.answered(2, FencedOp::Release { owner: 2, token: 9 }, 20, 25, FencedAnswer::Done);
    let mut after = history.clone();
    after.answered(3, take(3, 1), 30, 40, granted(10));
    assert!(accepts(&Fenced::mutex(), &after));
    history.answered(3, take(3, 1), 30, 40, granted(9));
    assert!(!accepts(&Fenced::mutex(), &history));
}

#[test]
fn a_semaphore_has_so_many_permits() {
    let mut history = History::new();
    history.answered(1, take(1, 2), 0, 10, granted(1));
    history.answered(2, take(2, 1), 5, 15, granted(2));
    assert!(accepts(&Fenced::semaphore(3), &history));
    assert!(!accepts(&Fenced::semaphore(2), &history));
    history.answered(3, take(3, 1), 20, 25, FencedAnswer::Refused);
    assert!(accepts(&Fenced::semaphore(3), &history));
    assert!(!accepts(&Fenced::semaphore(4), &history));
}

#[test]
fn shared_holders_exclude_exclusive_ones() {
    let model = Fenced::shared_exclusive();
    let mut history = History::new();
    history.answered(1, take(1, 1), 0, 10, granted(1));
    history.answered(2, take(2, 1), 5, 15, granted(2));
    assert!(accepts(&model, &history));
    history.answered(3, take(3, Fenced::ALL), 20, 30, granted(3));
    assert!(!accepts(&model, &history));
    history.unknown(1, FencedOp::Lose { owner: 1, token: 1 }, 16);
    assert!(!accepts(&model, &history), "one shared holder is left");
    history.unknown(2, FencedOp::End { owner: 2 }, 29);
    assert!(accepts(&model, &history));
}

#[test]
fn a_theft_ends_every_grant() {
    let mut history = History::new();
    history.answered(1, take(1, 1), 0, 10, granted(1));
    history.answered(9, FencedOp::Steal, 12, 20, FencedAnswer::Done);
    history.answered(2, take(2, 1), 5, 15, granted(2));
    assert!(accepts(&Fenced::mutex(), &history));
    history.answered(3, take(3, 1), 16, 18, granted(3));
    assert!(!accepts(&Fenced::mutex(), &history), "one theft lets one in");
}

#[test]
fn a_register_read_is_of_its_time() {
    let write = |v| RegisterOp::Write(v);
    let mut history = History::new();
    history.answered(1, write(1), 0, 10, RegisterAnswer::Written);
    history.answered(1, write(2), 20, 30, RegisterAnswer::Written);
    history.answered(2, RegisterOp::Read, 15, 25, RegisterAnswer::Value(1));
    assert!(accepts(&Register, &history));
    history.answered(2, RegisterOp::Read, 31, 35, RegisterAnswer::Value(1));
    assert!(!accepts(&Register, &history));
}

#[test]
fn a_compare_and_set_is_one_step() {
    let cas = RegisterOp::CompareAndSet;
    let mut history = History::new();
    history.answered(1, cas(0, 1), 0, 10, RegisterAnswer::Written);
    history.answered(2, cas(0, 2), 0, 10, RegisterAnswer::Mismatch);
    assert!(accepts(&Register, &history));
    let mut both = History::new();
    both.answered(1, cas(0, 1), 0, 10, RegisterAnswer::Written);
    both.answered(2, cas(0, 2), 0, 10, RegisterAnswer::Written);
    assert!(!accepts(&Register, &both));
}

#[test]
fn parts_are_judged_by_themselves() {
    let mut history: History<(char, MutexOp), MutexAnswer> = History::new();
    history.answered(1, ('a', acquire(1)), 0, 10, MutexAnswer::Done);
    history.answered(2, ('b', acquire(2)), 0, 10, MutexAnswer::Done);
    let parts = history.split_by(|(name, _)| *name);
    assert_eq!(parts.len(), 2);
    for part in parts.into_values() {
        let part: History<MutexOp, MutexAnswer> = part
            .calls()
            .iter()
            .map(|call| raceproof_sim::checker::Call {
                process: call.process,
                op: call.op.1,
                invoked: call.invoked,
                answered: call.answered,
            })
            .collect();
        assert_eq!(part.calls().len(), 1);
        assert!(accepts(&OwnerMutex, &part));
    }
}

#[test]
fn the_search_gives_up_at_its_limit() {
    let mut history = History::new();
    for process in 0..12 {
        history.answered(process, RegisterOp::Write(process), 0, 100, RegisterAnswer::Written);
    }
    history.answered(99, RegisterOp::Read, 200, 210, RegisterAnswer::Value(99));
    assert!(matches!(check(&Register, &history, 50), Verdict::Undecided(51)));
}

#[test]
fn a_long_history_with_many_unknown_calls_is_judged_quickly() {
    let mut history = History::new();
    let mut token = 0;
    for round in 0..300 {
        let start = round * 100;
        token += 1;
        let owner = round % 7;
        history.answered(owner, take(owner, 1), start, start + 50, granted(token));
        history.unknown(owner, FencedOp::End { owner }, start + 60);
    }
    assert!(accepts(&Fenced::mutex(), &history));
    history.answered(9, take(9, 1), 1_040, 1_055, granted(1_000));
    assert!(matches!(check(&Fenced::mutex(), &history, LIMIT), Verdict::Violation(_)));
}
