//! The mailbox beside a plain sequential model: a list of requests and a list of idle workers.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::sequential::{Sequential, Taken};
use super::{Config, OfferError, RequestId, Terms, WorkerId};
use crate::time::Time;

const WORKERS: usize = 3;
const PATIENT_MAX: usize = 2;

#[derive(Clone, Debug)]
enum Op {
    /// With so many milliseconds to live, and patient or not.
    Offer(Option<u64>, bool),
    Abandon(usize),
    /// An idle worker looks: it takes one or parks.
    Look(usize),
    /// A worker ends with what it has.
    Finish(usize, bool),
    Wait(u64),
    Drain,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        10 => (proptest::option::of(1..20u64), any::<bool>()).prop_map(|(millis, patient)| Op::Offer(millis, patient)),
        4 => any::<usize>().prop_map(Op::Abandon),
        10 => any::<usize>().prop_map(Op::Look),
        8 => (any::<usize>(), any::<bool>()).prop_map(|(worker, panics)| Op::Finish(worker, panics)),
        2 => (1..10u64).prop_map(Op::Wait),
        1 => Just(Op::Drain),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Worker {
    /// It has been woken or has just finished, and will look.
    Looking,
    Parked,
    Busy,
}

struct Pair {
    mailbox: Sequential<u32, usize>,
    waiting: Vec<(RequestId, u32, Option<Time>)>,
    workers: [Worker; WORKERS],
    now: Time,
    capacity: usize,
    made: u32,
    drained: bool,
}

impl Pair {
    fn new(capacity: usize) -> Self {
        let config = Config { capacity, patient_max: PATIENT_MAX, workers: WORKERS, ..Config::default() };
        let workers = [Worker::Looking; WORKERS];
        let (now, mailbox) = (Time::ZERO, Sequential::new(config));
        Self { mailbox, waiting: Vec::new(), workers, now, capacity, made: 0, drained: false }
    }

    fn any_worker(&self, any: usize, which: Worker) -> Option<usize> {
        let all: Vec<usize> = (0..WORKERS).filter(|worker| self.workers[*worker] == which).collect();
        Some(all[any.checked_rem(all.len())?])
    }

    fn run(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match *op {
            Op::Offer(millis, patient) => self.offer(millis, patient)?,
            Op::Abandon(any) => {
                if let Some(at) = any.checked_rem(self.waiting.len()) {
                    let (id, request, _) = self.waiting.remove(at);
                    prop_assert_eq!(self.mailbox.abandon(id), Some(request));
                    prop_assert_eq!(self.mailbox.abandon(id), None);
                }
            }
            Op::Look(any) => self.look(any)?,
            Op::Finish(any, panics) => {
                if let Some(worker) = self.any_worker(any, Worker::Busy) {
                    self.workers[worker] = Worker::Looking;
                    if panics {
                        self.mailbox.panicked(WorkerId(worker));
                    } else {
                        self.mailbox.done(WorkerId(worker));
                    }
                }
            }
            Op::Wait(millis) => self.now += Duration::from_millis(millis),
            Op::Drain => {
                let mut wakes = Vec::new();
                self.mailbox.drain(&mut wakes);
                self.drained = true;
                wakes.iter().for_each(|worker| self.workers[*worker] = Worker::Looking);
            }
        }
        self.check()
    }

    fn offer(&mut self, millis: Option<u64>, patient: bool) -> Result<(), TestCaseError> {
        self.made += 1;
        let deadline = millis.map(|millis| self.now + Duration::from_millis(millis));
        let limit = if patient { self.capacity + PATIENT_MAX } else { self.capacity };
        let mut expired = Vec::new();
        let offered = self.mailbox.offer(self.made, Terms { deadline, patient }, self.now, &mut expired);
        // Those whose time is over may stay until their place is wanted.
        let now = self.now;
        let over = |(_, _, deadline): &(RequestId, u32, Option<Time>)| deadline.is_some_and(|deadline| deadline <= now);
        if !expired.is_empty() {
            let gone: Vec<u32> =
                self.waiting.iter().filter(|entry| over(entry)).map(|(_, request, _)| *request).collect();
            prop_assert_eq!(expired, gone);
            self.waiting.retain(|entry| !over(entry));
        }
        match offered {
            Ok((id, wake)) => {
                prop_assert!(!self.drained && self.waiting.len() < limit);
                self.waiting.push((id, self.made, deadline));
                match wake {
                    Some(worker) => {
                        prop_assert_eq!(self.workers[worker], Worker::Parked);
                        self.workers[worker] = Worker::Looking;
                    }
                    None => prop_assert!(!self.workers.contains(&Worker::Parked), "somebody sleeps"),
                }
            }
            Err(OfferError::Full(request) | OfferError::TooManyWaiting(request)) => {
                prop_assert_eq!(request, self.made);
                prop_assert!(self.waiting.len() >= limit && !self.waiting.iter().any(over), "there is room");
            }
            Err(OfferError::Stopped(request)) => prop_assert_eq!((request, self.drained), (self.made, true)),
        }
        Ok(())
    }

    fn look(&mut self, any: usize) -> Result<(), TestCaseError> {
        let Some(worker) = self.any_worker(any, Worker::Looking) else { return Ok(()) };
        let mut expired = Vec::new();
        let got = self.mailbox.take(self.now, &mut expired);
        let now = self.now;
        let fresh = |(_, _, deadline): &(RequestId, u32, Option<Time>)| deadline.is_none_or(|deadline| deadline > now);
        let at = self.waiting.iter().position(fresh);
        let over: Vec<u32> = self.waiting.drain(..at.unwrap_or(self.waiting.len())).map(|(_, over, _)| over).collect();
        prop_assert_eq!(expired, over);
        if at.is_some() {
            prop_assert_eq!(got, Taken::Request(self.waiting.remove(0).1));
            self.workers[worker] = Worker::Busy;
        } else if self.drained {
            prop_assert_eq!(got, Taken::Stopped);
        } else {
            prop_assert_eq!(got, Taken::Empty);
            prop_assert_eq!(self.mailbox.park(WorkerId(worker), worker), (true, None));
            self.workers[worker] = Worker::Parked;
        }
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let busy = self.workers.iter().filter(|worker| **worker == Worker::Busy).count();
        prop_assert_eq!((self.mailbox.waiting(), self.mailbox.mailbox.in_hand()), (self.waiting.len(), busy));
        let looking = self.workers.iter().filter(|worker| **worker == Worker::Looking).count();
        let asleep = self.workers.contains(&Worker::Parked);
        prop_assert!(!asleep || looking >= self.waiting.len(), "a request waits beside a sleeping worker");
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn t3_the_mailbox_does_what_a_list_of_requests_would(capacity in 1..6usize, ops in vec(op(), 0..120)) {
        let mut pair = Pair::new(capacity);
        for op in &ops {
            pair.run(op)?;
        }
    }
}
