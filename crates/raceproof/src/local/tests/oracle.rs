//! The queues beside the machine: the same calls on two coordinators, one of which leaves every wait to the machine.

use std::pin::Pin;
use std::task::Poll;

use proptest::prelude::*;

use super::{assert_empty, inner, poll_once};
use crate::{AcquireError, Guard, Lock, Raceproof};

#[derive(Clone, Debug)]
enum Step {
    /// Begins to wait for a set of names (a bit each).
    Acquire {
        names: u8,
        owner: u8,
        kind: Kind,
    },
    /// Tries one name.
    Try {
        name: u8,
        owner: u8,
        kind: Kind,
    },
    /// Gives back the grant that is this far down the list.
    Release {
        which: usize,
    },
    /// Gives up the wait that is this far down the list.
    GiveUp {
        which: usize,
    },
    /// Lets waits look whether they are served.
    Poll,
    List,
    Steal {
        name: u8,
    },
}

/// How names are wanted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Exclusive,
    Shared,
    /// Of a semaphore of 3.
    Permits(u32),
}

/// One name, mostly as it is wanted by others too: two are locks, and the last is a semaphore.
fn one() -> impl Strategy<Value = (u8, Kind)> {
    let plain = prop_oneof![3 => Just(Kind::Exclusive), 2 => Just(Kind::Shared)];
    prop_oneof![
        12 => (0_u8..2, plain.clone()),
        8 => (Just(2_u8), (0_u32..5).prop_map(Kind::Permits)),
        1 => (Just(2_u8), plain),
        1 => (0_u8..2, (0_u32..5).prop_map(Kind::Permits)),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let several = prop_oneof![Just(Kind::Exclusive), Just(Kind::Shared)];
    prop_oneof![
        8 => (one(), 0_u8..5).prop_map(|((name, kind), owner)| Step::Acquire { names: 1 << name, owner, kind }),
        1 => (1_u8..8, 0_u8..5, several).prop_map(|(names, owner, kind)| Step::Acquire { names, owner, kind }),
        1 => (one(), 0_u8..5).prop_map(|((name, kind), owner)| Step::Try { name, owner, kind }),
        6 => any::<usize>().prop_map(|which| Step::Release { which }),
        2 => any::<usize>().prop_map(|which| Step::GiveUp { which }),
        4 => Just(Step::Poll),
        1 => Just(Step::List),
        1 => (0_u8..3).prop_map(|name| Step::Steal { name }),
    ]
}

/// How an acquisition ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum End {
    Held,
    Deadlock,
    Lost,
    Refused,
}

type Acquiring = Pin<Box<dyn Future<Output = Result<Guard, AcquireError>> + Send>>;

struct World {
    rp: Raceproof,
    /// Anything but 0 is beyond the queues, and the same for all changes no order.
    priority: u8,
    waits: Vec<(usize, Acquiring)>,
    guards: Vec<(usize, Guard)>,
    ends: Vec<(usize, End)>,
    last: usize,
}

impl World {
    fn new(priority: u8) -> Self {
        let rp = Raceproof::local();
        Self { rp, priority, waits: Vec::new(), guards: Vec::new(), ends: Vec::new(), last: 0 }
    }

    fn lock(&self, names: u8, owner: u8, kind: Kind) -> Lock {
        let names: Vec<_> = (0..3).filter(|bit| names & (1 << bit) != 0).map(|bit| bit.to_string()).collect();
        let lock = match names.as_slice() {
            [name] => self.rp.lock(name.as_str()),
            several => self.rp.lock_all(several.iter().map(String::as_str)),
        };
        let lock = match kind {
            Kind::Exclusive => lock,
            Kind::Shared => lock.shared(),
            Kind::Permits(take) => lock.permits(3, take),
        };
        let lock = lock.priority(self.priority);
        if owner == 0 { lock.detached() } else { lock.owner(owner.to_string()) }
    }

    fn begin(&mut self, wait: Acquiring) {
        self.last += 1;
        self.waits.push((self.last, wait));
        self.poll(self.waits.len() - 1);
    }

    fn poll(&mut self, at: usize) -> bool {
        let (number, wait) = &mut self.waits[at];
        let number = *number;
        let Poll::Ready(result) = poll_once(wait) else { return false };
        drop(self.waits.remove(at));
        let end = match result {
            Ok(guard) => {
                self.guards.push((number, guard));
                End::Held
            }
            Err(AcquireError::Deadlock(_)) => End::Deadlock,
            Err(AcquireError::Lost(_)) => End::Lost,
            Err(AcquireError::Held(_) | AcquireError::Refused(_)) => End::Refused,
            Err(other) => panic!("{other}"),
        };
        self.ends.push((number, end));
        true
    }

    async fn run(&mut self, step: &Step) {
        match *step {
            Step::Acquire { names, owner, kind } => {
                let lock = self.lock(names, owner, kind);
                self.begin(Box::pin(async move { lock.acquire().await }));
            }
            Step::Try { name, owner, kind } => {
                let lock = self.lock(1 << name, owner, kind);
                self.begin(Box::pin(async move { lock.try_acquire().await }));
            }
            Step::Release { which } if !self.guards.is_empty() => {
                drop(self.guards.swap_remove(which % self.guards.len()));
            }
            Step::GiveUp { which } if !self.waits.is_empty() => {
                drop(self.waits.remove(which % self.waits.len()));
            }
            Step::Release { .. } | Step::GiveUp { .. } => {}
            Step::Poll => {
                let mut at = 0;
                while at < self.waits.len() {
                    at += usize::from(!self.poll(at));
                }
            }
            Step::List => drop(self.rp.locks(raceproof_core::wire::Page::default()).await.unwrap()),
            Step::Steal { name } => drop(self.rp.steal(name.to_string()).await.unwrap()),
        }
    }

    /// Everything that can be seen without changing it.
    fn seen(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let guards: Vec<_> = self.guards.iter().map(|(number, guard)| (*number, guard.is_valid())).collect();
        (self.ends.clone(), guards, self.waits.iter().map(|(number, _)| *number).collect::<Vec<_>>())
    }

    /// L2, as far as one name goes: whoever came to hold later has the greater token.
    fn check_tokens(&self) {
        let mut tokens: Vec<_> = self.guards.iter().map(|(_, guard)| guard.token()).collect();
        tokens.sort_unstable();
        tokens.dedup();
        assert_eq!(tokens.len(), self.guards.len(), "a token was given twice");
    }
}

async fn run(steps: Vec<Step>) {
    let (mut queues, mut machine) = (World::new(0), World::new(1));
    for step in steps {
        queues.run(&step).await;
        machine.run(&step).await;
        assert_eq!(inner(&machine.rp).shards.waiting(), 0, "the oracle is not the machine");
        assert_eq!(queues.seen(), machine.seen(), "after {step:?}");
        queues.check_tokens();
    }
    for mut world in [queues, machine] {
        world.waits.clear();
        world.guards.clear();
        assert_empty(&world.rp);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn l1_l3_l4_l6_l7_the_queues_do_what_the_machine_does(steps in prop::collection::vec(step(), 0..80)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}
