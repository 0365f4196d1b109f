//! The checker agrees with `stateright`'s `LinearizabilityTester` on random small histories, valid and invalid ones.
//! The sequential objects are written a second time here, so that the models are compared as well.

#![expect(clippy::indexing_slicing, reason = "a test may panic")]

use std::cell::Cell;

use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use raceproof_sim::checker::models::{
    Fenced, FencedAnswer, FencedOp, MutexAnswer, MutexOp, OwnerMutex, Register, RegisterAnswer, RegisterOp,
};
use raceproof_sim::checker::{Call, History, Model, Verdict, check};
use stateright::semantics::{ConsistencyTester, LinearizabilityTester, SequentialSpec};

const CASES: u32 = 6_000;
const THREADS: u64 = 3;

/// One thing that happens in a random history: a thread calls if it has no call under way, else it is answered.
#[derive(Clone, Debug)]
struct Step {
    thread: u64,
    op: u8,
    answer: u8,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = (0..THREADS, any::<u8>(), any::<u8>()).prop_map(|(thread, op, answer)| Step { thread, op, answer });
    prop::collection::vec(step, 0..14)
}

/// Plays the same steps to both and compares.
fn agrees<M, S>(
    model: &M,
    spec: S,
    steps: &[Step],
    op: impl Fn(u64, u8) -> M::Op,
    answer: impl Fn(&M::Op, u8) -> M::Answer,
) -> bool
where
    M: Model,
    M::Op: Clone,
    M::Answer: Clone + PartialEq,
    S: SequentialSpec<Op = M::Op, Ret = M::Answer> + Clone,
{
    let mut tester = LinearizabilityTester::new(spec);
    let mut calls: Vec<Call<M::Op, M::Answer>> = Vec::new();
    let mut under_way = [None; THREADS as usize];
    for (time, step) in (0..).zip(steps) {
        let slot = &mut under_way[step.thread as usize];
        match slot.take() {
            None => {
                let op = op(step.thread, step.op);
                tester.on_invoke(step.thread, op.clone()).expect("no call is under way");
                *slot = Some(calls.len());
                calls.push(Call { process: step.thread, op, invoked: time, answered: None });
            }
            Some(index) => {
                let call = &mut calls[index];
                let answer = answer(&call.op, step.answer);
                tester.on_return(step.thread, answer.clone()).expect("a call is under way");
                call.answered = Some((time, answer));
            }
        }
    }
    let history: History<M::Op, M::Answer> = calls.into_iter().collect();
    let verdict = check(model, &history, 100_000);
    assert!(!matches!(verdict, Verdict::Undecided(_)));
    assert_eq!(verdict.is_linearizable(), tester.is_consistent(), "{history:#?}\nours: {verdict:?}");
    verdict.is_linearizable()
}

/// Runs a comparison on many random histories, and sees to it that they were of both kinds.
fn compare(judge: impl Fn(&[Step]) -> bool) {
    let (valid, invalid) = (Cell::new(0), Cell::new(0));
    let mut runner = TestRunner::new(Config { cases: CASES, failure_persistence: None, ..Config::default() });
    runner
        .run(&steps(), |steps| {
            let count = if judge(&steps) { &valid } else { &invalid };
            count.set(count.get() + 1);
            Ok(())
        })
        .expect("the two agree");
    assert!(valid.get() > 1_000 && invalid.get() > 1_000, "{} valid, {} invalid", valid.get(), invalid.get());
}

#[derive(Clone)]
struct PlainRegister(u64);

impl SequentialSpec for PlainRegister {
    type Op = RegisterOp;
    type Ret = RegisterAnswer;

    fn invoke(&mut self, op: &RegisterOp) -> RegisterAnswer {
        match *op {
            RegisterOp::Read => RegisterAnswer::Value(self.0),
            RegisterOp::CompareAndSet(from, _) if from != self.0 => RegisterAnswer::Mismatch,
            RegisterOp::Write(to) | RegisterOp::CompareAndSet(_, to) => {
                self.0 = to;
                RegisterAnswer::Written
            }
        }
    }
}

#[test]
fn registers() {
    compare(|steps| {
        let op = |_, byte: u8| match byte % 4 {
            0 | 1 => RegisterOp::Read,
            2 => RegisterOp::Write(u64::from(byte / 4 % 3)),
            _ => RegisterOp::CompareAndSet(u64::from(byte / 4 % 3), u64::from(byte / 16 % 3)),
        };
        let answer = |op: &RegisterOp, byte: u8| match op {
            RegisterOp::Read => RegisterAnswer::Value(u64::from(byte % 3)),
            RegisterOp::CompareAndSet(..) if byte.is_multiple_of(2) => RegisterAnswer::Mismatch,
            _ => RegisterAnswer::Written,
        };
        agrees(&Register, PlainRegister(0), steps, op, answer)
    });
}

#[derive(Clone)]
struct PlainMutex(Option<u64>);

impl SequentialSpec for PlainMutex {
    type Op = MutexOp;
    type Ret = MutexAnswer;

    fn invoke(&mut self, op: &MutexOp) -> MutexAnswer {
        let refused = match op {
            MutexOp::Acquire { .. } => self.0.is_some(),
            MutexOp::Release { owner } => self.0 != Some(*owner),
            MutexOp::End { owner } => {
                self.0 = self.0.filter(|o| o != owner);
                return MutexAnswer::Done;
            }
        };
        if refused {
            return MutexAnswer::Refused;
        }
        self.0 = if let MutexOp::Acquire { owner } = op { Some(*owner) } else { None };
        MutexAnswer::Done
    }
}

#[test]
fn owner_aware_mutexes() {
    compare(|steps| {
        let op = |thread, byte: u8| match byte % 5 {
            0 | 1 => MutexOp::Acquire { owner: thread },
            2 | 3 => MutexOp::Release { owner: thread },
            _ => MutexOp::End { owner: u64::from(byte / 5) % THREADS },
        };
        let answer = |op: &MutexOp, byte: u8| match op {
            MutexOp::End { .. } => MutexAnswer::Done,
            _ if byte.is_multiple_of(3) => MutexAnswer::Refused,
            _ => MutexAnswer::Done,
        };
        agrees(&OwnerMutex, PlainMutex(None), steps, op, answer)
    });
}

/// Places and tokens, as a list of grants.
#[derive(Clone)]
struct PlainFenced {
    places: u64,
    grants: Vec<(u64, u64, u32)>,
    newest: u64,
}

impl PlainFenced {
    fn used(&self) -> u64 {
        self.grants.iter().map(|(_, _, take)| u64::from(*take)).sum()
    }
}

impl SequentialSpec for PlainFenced {
    type Op = FencedOp;
    type Ret = FencedAnswer;

    fn invoke(&mut self, op: &FencedOp) -> FencedAnswer {
        match *op {
            FencedOp::Acquire { owner, take } => {
                if self.used() + u64::from(take) > self.places {
                    return FencedAnswer::Refused;
                }
                self.newest += 1;
                self.grants.push((owner, self.newest, take));
                return FencedAnswer::Granted { token: self.newest };
            }
            FencedOp::Release { owner, token } => {
                let Some(at) = self.grants.iter().position(|(o, t, _)| (*o, *t) == (owner, token)) else {
                    return FencedAnswer::Refused;
                };
                self.grants.remove(at);
            }
            FencedOp::Lose { owner, token } => self.grants.retain(|(o, t, _)| (*o, *t) != (owner, token)),
            FencedOp::End { owner } => self.grants.retain(|(o, ..)| *o != owner),
            FencedOp::Steal => self.grants.clear(),
        }
        FencedAnswer::Done
    }

    fn is_valid_step(&mut self, op: &FencedOp, answer: &FencedAnswer) -> bool {
        // Any token that is greater than those before will do.
        if let (FencedOp::Acquire { owner, take }, FencedAnswer::Granted { token }) = (op, answer) {
            let fits = self.used() + u64::from(*take) <= self.places && *token > self.newest;
            if fits {
                self.newest = *token;
                self.grants.push((*owner, *token, *take));
            }
            return fits;
        }
        self.invoke(op) == *answer
    }
}

fn compare_fenced(model: Fenced, places: u64, take: impl Fn(u8) -> u32) {
    compare(|steps| {
        let op = |thread, byte: u8| match byte % 8 {
            0..=3 => FencedOp::Acquire { owner: thread, take: take(byte / 8) },
            4 | 5 => FencedOp::Release { owner: thread, token: u64::from(byte / 8 % 3) + 1 },
            6 if (byte / 8).is_multiple_of(4) => FencedOp::Steal,
            6 => FencedOp::Lose { owner: thread, token: u64::from(byte / 8 % 3) + 1 },
            _ => FencedOp::End { owner: u64::from(byte / 8) % THREADS },
        };
        let answer = |op: &FencedOp, byte: u8| match op {
            FencedOp::Acquire { .. } | FencedOp::Release { .. } if byte.is_multiple_of(4) => FencedAnswer::Refused,
            FencedOp::Acquire { .. } => FencedAnswer::Granted { token: u64::from(byte / 4 % 4) + 1 },
            _ => FencedAnswer::Done,
        };
        agrees(&model, PlainFenced { places, grants: Vec::new(), newest: 0 }, steps, op, answer)
    });
}

#[test]
fn fenced_mutexes() {
    compare_fenced(Fenced::mutex(), 1, |_| 1);
}

#[test]
fn semaphores() {
    compare_fenced(Fenced::semaphore(3), 3, |byte| u32::from(byte % 3) + 1);
}

#[test]
fn shared_exclusive_locks() {
    compare_fenced(
        Fenced::shared_exclusive(),
        u64::from(Fenced::ALL),
        |byte| if byte % 3 == 0 { Fenced::ALL } else { 1 },
    );
}
