//! Holders beside each other, without the machine and with it: the same as counting them.

use proptest::prelude::*;

use super::{assert_empty, inner, poll_once, waiting};
use crate::lock::{Lock, Semaphore};
use crate::{AcquireError, Guard, Raceproof};

const PERMITS: u32 = 4;

#[derive(Clone, Debug)]
enum Step {
    /// Tries the lock, or so many permits.
    Shared,
    Exclusive,
    Permits(u32),
    /// Waits for a moment, then gives up.
    GiveUp {
        exclusive: bool,
    },
    Drop {
        which: usize,
    },
    /// Has the machine take over what is held.
    List,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => Just(Step::Shared),
        1 => Just(Step::Exclusive),
        4 => (0..=PERMITS + 1).prop_map(Step::Permits),
        2 => any::<bool>().prop_map(|exclusive| Step::GiveUp { exclusive }),
        6 => any::<usize>().prop_map(|which| Step::Drop { which }),
        1 => Just(Step::List),
    ]
}

/// What is held: the lock, by so many readers or one writer, or permits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Held {
    Shared,
    Exclusive,
    Permits(u32),
}

fn lock(rp: &Raceproof) -> Lock {
    rp.lock("lock").detached()
}

fn semaphore(rp: &Raceproof, take: u32) -> Semaphore {
    rp.semaphore("permits", PERMITS).take(take).detached()
}

fn fits(held: &[(Guard, Held)], wanted: Held) -> bool {
    let count = |kind| held.iter().filter(|(_, held)| *held == kind).count();
    let taken: u32 = held.iter().map(|(_, held)| if let Held::Permits(take) = held { *take } else { 0 }).sum();
    match wanted {
        Held::Shared => count(Held::Exclusive) == 0,
        Held::Exclusive => count(Held::Exclusive) + count(Held::Shared) == 0,
        Held::Permits(take) => (1..=PERMITS).contains(&take) && taken + take <= PERMITS,
    }
}

async fn attempt(rp: &Raceproof, held: &mut Vec<(Guard, Held)>, wanted: Held) {
    let result = match wanted {
        Held::Shared => lock(rp).shared().try_acquire().await,
        Held::Exclusive => lock(rp).try_acquire().await,
        Held::Permits(take) => semaphore(rp, take).try_acquire().await,
    };
    let fits = fits(held, wanted);
    match result {
        Ok(guard) => {
            assert!(fits, "L1: {wanted:?} beside {held:?}");
            assert!(held.iter().all(|(other, _)| other.token() < guard.token()), "L2");
            held.push((guard, wanted));
        }
        Err(AcquireError::Held(_) | AcquireError::Refused(_)) => assert!(!fits, "{wanted:?} was refused"),
        Err(other) => panic!("{other}"),
    }
}

async fn run(steps: Vec<Step>) {
    let rp = Raceproof::local();
    let mut held: Vec<(Guard, Held)> = Vec::new();
    for step in steps {
        match step {
            Step::Shared => attempt(&rp, &mut held, Held::Shared).await,
            Step::Exclusive => attempt(&rp, &mut held, Held::Exclusive).await,
            Step::Permits(take) => attempt(&rp, &mut held, Held::Permits(take)).await,
            Step::GiveUp { exclusive } => {
                let (lock, many) = (lock(&rp), semaphore(&rp, PERMITS));
                let (ready, fits) = if exclusive {
                    (poll_once(&mut Box::pin(lock.acquire())).is_ready(), fits(&held, Held::Exclusive))
                } else {
                    (poll_once(&mut Box::pin(many.acquire())).is_ready(), fits(&held, Held::Permits(PERMITS)))
                };
                assert_eq!(ready, fits);
            }
            Step::Drop { which } if !held.is_empty() => {
                let (guard, _) = held.remove(which % held.len());
                assert!(guard.is_valid() && guard.names().len() == 1);
                guard.release().await.unwrap();
            }
            Step::Drop { .. } => {}
            Step::List => {
                let page = rp.locks(raceproof_core::wire::Page::default()).await.unwrap();
                assert_eq!(page.locks.iter().map(|lock| lock.holders.len()).sum::<usize>(), held.len());
            }
        }
        assert_eq!(inner(&rp).stats().held, held.len());
    }
    drop(held);
    assert_empty(&rp);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn l1_l2_l7_readers_and_permits_are_granted_as_counting_says(steps in prop::collection::vec(step(), 0..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(run(steps));
    }
}

#[tokio::test]
async fn l3_holders_beside_each_other_need_no_machine_until_somebody_waits() {
    let rp = Raceproof::local();
    let (one, two) = (lock(&rp).shared().acquire().await.unwrap(), lock(&rp).shared().acquire().await.unwrap());
    let permit = semaphore(&rp, 3).acquire().await.unwrap();
    assert_eq!(inner(&rp).lock().machine.stats(inner(&rp).now()).held, 0, "the machine was asked");
    let writer = waiting(lock(&rp)).await;
    assert_eq!(inner(&rp).lock().machine.stats(inner(&rp).now()).held, 2);
    assert!(lock(&rp).shared().try_acquire().await.is_err(), "L3: it would overtake the writer");
    drop((one, permit));
    assert!(!writer.is_finished());
    drop(two);
    drop(writer.await.unwrap().unwrap());
    assert_empty(&rp);
}

#[tokio::test]
async fn l6_a_reader_of_several_is_found_in_a_cycle() {
    let rp = Raceproof::local();
    let read = |owner: &str| rp.lock("a").shared().owner(owner);
    let (one, two) = (read("one").acquire().await.unwrap(), read("two").acquire().await.unwrap());
    let b = rp.lock("b").owner("three").acquire().await.unwrap();
    let three = waiting(rp.lock("a").owner("three")).await;
    let Err(AcquireError::Deadlock(deadlock)) = rp.lock("b").owner("two").acquire().await else { panic!("no cycle") };
    assert_eq!(deadlock.blocked()[1].blockers[0].token, Some(two.token()));
    assert!(deadlock.blocked()[1].blockers[0].site.is_some_and(|site| site.file() == file!()));
    drop((one, two, b));
    drop(three.await.unwrap().unwrap());
    assert_empty(&rp);
}
