//! Holders beside each other, without the machine and with it: the same as counting them.

use proptest::prelude::*;

use super::queue::NowOrNever;
use super::{assert_empty, inner, poll_once, queued, waiting};
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

fn permits(rp: &Raceproof, take: u32) -> Lock {
    rp.lock("permits").permits(PERMITS, take).detached()
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

fn machine_held(rp: &Raceproof) -> usize {
    inner(rp).lock().machine.stats(inner(rp).now()).held
}

#[tokio::test]
async fn l3_readers_and_a_writer_hand_over_without_the_machine() {
    let rp = Raceproof::local();
    let (one, two) = (lock(&rp).shared().acquire().await.unwrap(), lock(&rp).shared().acquire().await.unwrap());
    let writer = waiting(lock(&rp)).await;
    assert!(lock(&rp).shared().acquire().now_or_never().is_none(), "L3: it would overtake the writer");
    let (three, four) = (waiting(lock(&rp).shared()).await, waiting(lock(&rp).shared()).await);
    assert_eq!((queued(&rp), machine_held(&rp)), (3, 0));
    let before = one.token().max(two.token());
    drop(one);
    assert_eq!(queued(&rp), 3, "another still reads");
    drop(two);
    let writer = writer.await.unwrap().unwrap();
    assert!(writer.token() > before, "L2");
    assert_eq!(queued(&rp), 2);
    let before = writer.token();
    drop(writer);
    let (three, four) = (three.await.unwrap().unwrap(), four.await.unwrap().unwrap());
    assert!(before < three.token() && three.token() < four.token(), "L2");
    assert_eq!(machine_held(&rp), 0, "the machine was asked");
    drop((three, four));
    assert_empty(&rp);
}

#[tokio::test]
async fn l3_permits_are_handed_over_in_order_without_the_machine() {
    let rp = Raceproof::local();
    let (two, one) = (semaphore(&rp, 2).acquire().await.unwrap(), semaphore(&rp, 1).acquire().await.unwrap());
    let large = waiting(permits(&rp, 3)).await;
    let (small, last) = (waiting(permits(&rp, 1)).await, waiting(permits(&rp, 1)).await);
    assert_eq!(queued(&rp), 3, "L3: one permit is left, and it is not for the first who waits");
    drop((two, one));
    let large = large.await.unwrap().unwrap();
    let small = small.await.unwrap().unwrap();
    assert!(large.token() < small.token() && !last.is_finished(), "L3");
    drop(large);
    drop(last.await.unwrap().unwrap());
    assert_eq!(machine_held(&rp), 0, "the machine was asked");
    drop(small);
    assert_empty(&rp);
}

#[tokio::test]
async fn l4_readers_behind_a_writer_that_gives_up_are_let_in() {
    for taken_over in [false, true] {
        let rp = Raceproof::local();
        let reader = lock(&rp).shared().acquire().await.unwrap();
        let lock = lock(&rp);
        let mut writer = Box::pin(lock.acquire());
        assert!(poll_once(&mut writer).is_pending());
        let (one, two) = (waiting(lock.clone().shared()).await, waiting(lock.clone().shared()).await);
        if taken_over {
            assert_eq!(rp.lock_info("lock").await.unwrap().waiters_count, 3);
        }
        drop(writer);
        drop((one.await.unwrap().unwrap(), two.await.unwrap().unwrap()));
        drop(reader);
        assert_empty(&rp);
    }
}

#[tokio::test]
async fn l4_permits_that_were_handed_over_survive_the_machine_and_are_given_back_unclaimed() {
    // Both are handed over; then the machine takes over, or not, and one of them gives up, or not.
    for case in 0..4 {
        let (taken_over, gives_up) = (case & 1 != 0, case & 2 != 0);
        let rp = Raceproof::local();
        let all = semaphore(&rp, PERMITS).acquire().await.unwrap();
        let pool = semaphore(&rp, 2);
        let (mut one, mut two) = (Box::pin(pool.acquire()), Box::pin(pool.acquire()));
        assert!(poll_once(&mut one).is_pending() && poll_once(&mut two).is_pending());
        let next = waiting(permits(&rp, 1)).await;
        drop(all);
        assert_eq!(queued(&rp), 3);
        if taken_over {
            let seen = rp.lock_info("permits").await.unwrap();
            assert_eq!((seen.holders.len(), seen.waiters_count, queued(&rp)), (2, 1, 0));
        }
        let std::task::Poll::Ready(two) = poll_once(&mut two) else { panic!("it was handed over") };
        let two = two.unwrap();
        assert_eq!(two.names(), [std::sync::Arc::from("permits")]);
        if gives_up {
            drop(one);
        } else {
            let std::task::Poll::Ready(one) = poll_once(&mut one) else { panic!("it was handed over") };
            assert!(one.unwrap().token() < two.token());
        }
        drop(next.await.unwrap().expect("a permit is lost"));
        drop(two);
        assert_empty(&rp);
    }
}

#[tokio::test(start_paused = true)]
async fn l4_of_permits_that_were_handed_over_only_those_pass_on_that_nobody_claims() {
    let rp = Raceproof::local();
    let all = semaphore(&rp, PERMITS).acquire().await.unwrap();
    let pool = semaphore(&rp, 2);
    let (mut asleep, mut awake) = (Box::pin(pool.acquire()), Box::pin(pool.acquire()));
    assert!(poll_once(&mut asleep).is_pending() && poll_once(&mut awake).is_pending());
    let next = waiting(permits(&rp, 1)).await;
    let began = tokio::time::Instant::now();
    drop(all);
    let std::task::Poll::Ready(Ok(awake)) = poll_once(&mut awake) else { panic!("it was handed over") };
    drop(next.await.unwrap().unwrap());
    let took = began.elapsed();
    assert!((std::time::Duration::from_secs(5)..std::time::Duration::from_secs(6)).contains(&took), "took {took:?}");
    assert!(awake.is_valid());
    assert_eq!(inner(&rp).stats().unclaimed, 1);
    assert!(matches!(asleep.await, Err(AcquireError::Unclaimed)));
    drop(awake);
    assert_empty(&rp);
}

#[tokio::test]
async fn l6_whoever_waits_for_permits_that_it_holds_part_of_itself_is_told_so() {
    let rp = Raceproof::local();
    let of = |owner: &str, take| rp.semaphore("permits", 3).take(take).owner(owner);
    let (one, more) = (of("one", 1).acquire().await.unwrap(), of("one", 1).acquire().await.unwrap());
    let two = of("two", 1).acquire().await.unwrap();
    let three = waiting(rp.lock("permits").permits(3, 3).owner("three")).await;
    assert_eq!(queued(&rp), 1);
    // It would wait for itself: three is before it, and waits for what it holds.
    assert!(matches!(of("one", 1).acquire().await, Err(AcquireError::Deadlock(_))));
    drop((two, one, more));
    drop(three.await.unwrap().unwrap());
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
