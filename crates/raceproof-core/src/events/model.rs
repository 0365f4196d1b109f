//! The ring beside a plain sequential model: a list of all events, and for each subscriber an index into it.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{
    Bus, Config, Gap, Outputs, Policy, PublishError, Read, ReaderConfig, ReaderId, SubscribeError, WaitError, WriterId,
    Writing,
};

#[derive(Clone, Debug)]
enum Op {
    Publish,
    Enqueue,
    Poll(usize),
    Forget(usize),
    Read(usize, usize),
    Subscribe(Policy, usize, usize),
    Unsubscribe(usize),
    Close,
}

fn op() -> impl Strategy<Value = Op> {
    let policy = prop_oneof![Just(Policy::Wait), Just(Policy::DropOldest), Just(Policy::Disconnect)];
    prop_oneof![
        12 => Just(Op::Publish),
        4 => Just(Op::Enqueue),
        3 => any::<usize>().prop_map(Op::Poll),
        2 => any::<usize>().prop_map(Op::Forget),
        12 => (any::<usize>(), 1..6usize).prop_map(|(reader, max)| Op::Read(reader, max)),
        4 => (policy, 1..10usize, 0..10usize).prop_map(|(policy, limit, replay)| Op::Subscribe(policy, limit, replay)),
        2 => any::<usize>().prop_map(Op::Unsubscribe),
        1 => Just(Op::Close),
    ]
}

struct Reader {
    id: ReaderId,
    policy: Policy,
    limit: usize,
    next: usize,
}

#[derive(Default)]
struct Model {
    events: Vec<u32>,
    readers: Vec<Reader>,
    waiting: VecDeque<(WriterId, u32)>,
    settled: Vec<(WriterId, Result<usize, u32>)>,
    closed: bool,
    made: u32,
}

struct Pair {
    config: Config,
    bus: Bus<u32, u32>,
    model: Model,
}

impl Model {
    fn has_room(&self) -> bool {
        let waited_for = |reader: &&Reader| reader.policy == Policy::Wait;
        self.readers.iter().filter(waited_for).all(|reader| self.events.len() - reader.next < reader.limit)
    }

    fn admit(&mut self) {
        while self.has_room() {
            let Some((id, event)) = self.waiting.pop_front() else { break };
            self.settled.push((id, Ok(self.events.len())));
            self.events.push(event);
        }
    }

    fn event(&mut self) -> u32 {
        self.made += 1;
        self.made
    }
}

impl Pair {
    fn new(capacity: usize, replay: usize) -> Self {
        let config = Config { capacity, replay, subscribers_max: 5, publishers_waiting_max: 3 };
        Self { config, bus: Bus::new(config), model: Model::default() }
    }

    fn run(&mut self, op: &Op) -> Result<(), TestCaseError> {
        match *op {
            Op::Publish => self.publish()?,
            Op::Enqueue => self.enqueue()?,
            Op::Poll(any) => self.poll(any)?,
            Op::Forget(any) => self.forget(any)?,
            Op::Read(any, max) => self.read(any, max)?,
            Op::Subscribe(policy, limit, replay) => self.subscribe(policy, limit, replay)?,
            Op::Unsubscribe(any) if !self.model.readers.is_empty() => {
                let gone = self.model.readers.remove(any % self.model.readers.len());
                self.bus.unsubscribe(gone.id, &mut Outputs::default());
                self.model.admit();
            }
            Op::Unsubscribe(_) => {}
            Op::Close => {
                self.bus.close(&mut Outputs::default());
                self.model.closed = true;
                let refused = self.model.waiting.drain(..).map(|(id, event)| (id, Err(event)));
                self.model.settled.extend(refused);
            }
        }
        self.check()
    }

    fn publish(&mut self) -> Result<(), TestCaseError> {
        let event = self.model.event();
        let got = self.bus.publish(event, &mut Outputs::default());
        if self.model.closed {
            prop_assert_eq!(got, Err(PublishError::Closed(event)));
        } else if !self.model.waiting.is_empty() || !self.model.has_room() {
            prop_assert_eq!(got, Err(PublishError::Full(event)));
        } else {
            prop_assert_eq!(got.map(|published| published.offset), Ok(self.model.events.len() as u64));
            self.model.events.push(event);
        }
        Ok(())
    }

    fn enqueue(&mut self) -> Result<(), TestCaseError> {
        let event = self.model.event();
        let got = self.bus.enqueue(event, event, &mut Outputs::default());
        let waits = !self.model.waiting.is_empty() || !self.model.has_room();
        if self.model.closed {
            prop_assert_eq!(got, Err(WaitError::Closed(event)));
        } else if waits && self.model.waiting.len() >= self.config.publishers_waiting_max {
            prop_assert_eq!(got, Err(WaitError::TooManyWaiting(event)));
        } else {
            self.model.waiting.push_back((got.expect("there is room in the queue"), event));
            self.model.admit();
        }
        Ok(())
    }

    fn poll(&mut self, any: usize) -> Result<(), TestCaseError> {
        let (waiting, settled) = (self.model.waiting.len(), self.model.settled.len());
        let Some(at) = any.checked_rem(waiting + settled) else { return Ok(()) };
        let out = &mut Outputs::default();
        if let Some(&(id, _)) = self.model.waiting.get(at) {
            prop_assert_eq!(self.bus.poll_enqueued(id, 0, out), Writing::Waiting);
            return Ok(());
        }
        let (id, how) = self.model.settled.remove(at - waiting);
        match (self.bus.poll_enqueued(id, 0, out), how) {
            (Writing::Published(published), Ok(offset)) => prop_assert_eq!(published.offset, offset as u64),
            (Writing::Closed(back), Err(event)) => prop_assert_eq!(back, event),
            (got, wanted) => prop_assert!(false, "{:?} instead of {:?}", got, wanted),
        }
        Ok(())
    }

    fn forget(&mut self, any: usize) -> Result<(), TestCaseError> {
        let Some(at) = any.checked_rem(self.model.waiting.len()) else { return Ok(()) };
        let (id, event) = self.model.waiting.remove(at).expect("the index is in range");
        prop_assert_eq!(self.bus.forget(id, &mut Outputs::default()), Some(event));
        Ok(())
    }

    fn subscribe(&mut self, policy: Policy, limit: usize, replay: usize) -> Result<(), TestCaseError> {
        let got = self.bus.subscribe(ReaderConfig { policy, limit: Some(limit), replay });
        if self.model.closed {
            prop_assert_eq!(got, Err(SubscribeError::Closed));
        } else if self.model.readers.len() >= self.config.subscribers_max {
            prop_assert_eq!(got, Err(SubscribeError::TooMany { max: self.config.subscribers_max }));
        } else {
            let limit = limit.min(self.config.capacity);
            let past = replay.min(limit).min(self.config.replay).min(self.model.events.len());
            let next = self.model.events.len() - past;
            self.model.readers.push(Reader { id: got.expect("there is room"), policy, limit, next });
        }
        Ok(())
    }

    fn read(&mut self, any: usize, max: usize) -> Result<(), TestCaseError> {
        let Some(at) = any.checked_rem(self.model.readers.len()) else { return Ok(()) };
        let head = self.model.events.len();
        let (mut taken, out) = (VecDeque::new(), &mut Outputs::default());
        let reader = &mut self.model.readers[at];
        let got = self.bus.read(reader.id, max, &mut taken, out);
        let (first, behind) = (reader.next as u64, head - reader.next);
        if behind > reader.limit {
            prop_assert_ne!(reader.policy, Policy::Wait, "a subscriber that is waited for lost something");
            if reader.policy == Policy::Disconnect {
                prop_assert_eq!(got, Read::Disconnected(Gap { first, missed: behind as u64 }));
                self.model.readers.remove(at);
            } else {
                let missed = behind - reader.limit;
                prop_assert_eq!(got, Read::Gap(Gap { first, missed: missed as u64 }));
                reader.next += missed;
            }
        } else if behind == 0 && self.model.closed {
            prop_assert_eq!(got, Read::Closed);
            self.model.readers.remove(at);
        } else if behind == 0 {
            prop_assert_eq!(got, Read::Empty);
        } else {
            let count = max.min(behind);
            prop_assert_eq!(got, Read::Events { first, count });
            prop_assert_eq!(Vec::from(taken), self.model.events[reader.next..reader.next + count].to_vec());
            reader.next += count;
        }
        self.model.admit();
        Ok(())
    }

    fn check(&self) -> Result<(), TestCaseError> {
        let head = self.model.events.len();
        prop_assert_eq!(self.bus.published(), head as u64);
        prop_assert_eq!(self.bus.waiting(), self.model.waiting.len());
        prop_assert!(self.bus.len() <= self.config.capacity);
        if self.model.readers.iter().all(|reader| reader.next == head) {
            prop_assert!(self.bus.len() <= self.config.replay, "{} events are kept for nobody", self.bus.len());
        }
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn b1_b2_the_ring_does_what_a_list_of_all_events_would(
        capacity in 1..9usize,
        replay in 0..9usize,
        ops in vec(op(), 0..120),
    ) {
        let mut pair = Pair::new(capacity, replay.min(capacity));
        for op in &ops {
            pair.run(op)?;
        }
    }
}
