//! The room as its users see it, with the faults that such rooms are known for.

use std::num::NonZeroU32;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::Duration;

use raceproof_core::wire::{Code, LostReason};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use super::{AsyncLock, Lock, LockGuard, Locks, Semaphore, Semaphores, Stats};
use crate::AcquireError;
use crate::coordinator::Coordinator;

/// Longer than anything here takes, and than a claim's deadline.
const PATIENCE: Duration = Duration::from_secs(20);

const fn permits(count: u32) -> NonZeroU32 {
    NonZeroU32::new(count).unwrap()
}

/// Asserts that nothing at all is remembered (L7).
fn assert_empty(lock: &Lock) {
    match &lock.coordinator().coordinator {
        Coordinator::Local(local) => assert_eq!(local.remembered(), 0, "something was left behind"),
        #[cfg(feature = "client")]
        Coordinator::Server(_) => panic!("not a local handle"),
    }
}

fn is_pending<F: Future>(future: std::pin::Pin<&mut F>) -> bool {
    future.poll(&mut Context::from_waker(Waker::noop())).is_pending()
}

/// What two waits in one `select!` come to, one of which is not polled again: the other one, and whoever else waits,
/// gets what it wants.
async fn futurelock<G, F>(acquire: impl Fn() -> F)
where
    F: Future<Output = Result<G, AcquireError>> + Send + 'static,
    G: Send + 'static,
{
    let held = acquire();
    let (is_held, held_now) = tokio::sync::oneshot::channel();
    let holder = tokio::spawn(async move {
        let guard = held.await.unwrap();
        is_held.send(()).unwrap();
        sleep(Duration::from_millis(5)).await;
        drop(guard);
    });
    held_now.await.unwrap();
    let mut forgotten = Box::pin(acquire());
    tokio::select! {
        _ = &mut forgotten => panic!("it is held"),
        () = sleep(Duration::from_millis(1)) => {}
    }
    let others = (0..3).map(|_| acquire()).map(|other| tokio::spawn(async move { drop(other.await.unwrap()) }));
    let others: Vec<_> = others.collect();
    sleep(Duration::from_millis(1)).await;
    let began = Instant::now();
    // The body of the `select!`'s other branch, where the first wait is still alive.
    drop(timeout(PATIENCE, acquire()).await.expect("futurelock").unwrap());
    holder.await.unwrap();
    for other in others {
        other.await.unwrap();
    }
    let took = began.elapsed();
    assert!((Duration::from_secs(5)..Duration::from_secs(6)).contains(&took), "took {took:?}");
    assert!(matches!(forgotten.await, Err(AcquireError::Unclaimed)));
}

#[tokio::test(start_paused = true)]
async fn l4_futurelock_a_wait_that_is_never_polled_again_holds_nobody_up() {
    let locks = Locks::new();
    let lock = locks.lock("a");
    futurelock(|| {
        let lock = lock.clone();
        async move { lock.acquire().await }
    })
    .await;
    assert_eq!(locks.stats().unclaimed, 1);
    assert_empty(&lock);
}

#[tokio::test]
async fn l6_a_task_that_waits_behind_a_grant_that_it_does_not_claim_is_told_so() {
    let locks = Locks::new();
    let guard = locks.lock("a").detached().acquire().await.unwrap();
    let lock = locks.lock("a");
    let mut forgotten = pin!(lock.acquire());
    assert!(is_pending(forgotten.as_mut()));
    drop(guard);
    assert!(matches!(locks.lock("a").acquire().await, Err(AcquireError::Deadlock(_))));
    drop(forgotten.await.unwrap());
    assert_empty(&lock);
}

#[tokio::test(start_paused = true)]
async fn l4_futurelock_around_a_value() {
    let value = AsyncLock::new(0);
    futurelock(|| {
        let value = value.clone();
        async move { value.acquire().await }
    })
    .await;
    assert_eq!(value.stats().unclaimed, 1);
}

#[tokio::test(start_paused = true)]
async fn l4_futurelock_of_permits_and_shared_locks() {
    let semaphore = Semaphore::new(permits(3));
    futurelock(|| semaphore.acquire_many(3)).await;
    assert_eq!(semaphore.stats().unclaimed, 1);

    // A writer that is not polled keeps readers out, until it has had its time.
    let locks = Locks::new();
    let reader = locks.lock("a").shared().acquire().await.unwrap();
    let lock = locks.lock("a").detached();
    let mut writer = Box::pin(lock.acquire());
    assert!(is_pending(writer.as_mut()));
    drop(reader);
    let began = Instant::now();
    let reader = timeout(PATIENCE, locks.lock("a").shared().acquire()).await.expect("futurelock").unwrap();
    assert!(began.elapsed() < Duration::from_secs(6));
    assert!(matches!(writer.await, Err(AcquireError::Unclaimed)));
    drop(reader);
    assert_empty(&lock);
}

#[tokio::test(start_paused = true)]
async fn l6_a_deadlock_says_who_waits_for_whom_since_when_and_from_which_line() {
    let locks = Locks::new();
    let (a, b) = (locks.lock("a"), locks.lock("b"));
    let first = a.clone().owner("reader").acquire().await.unwrap();
    let taken = line!() - 1;
    let (second, other) = (b.clone().owner("writer").acquire().await.unwrap(), a.clone().owner("writer"));
    let waits = tokio::spawn(async move {
        let waits = other.acquire();
        (waits.await.unwrap(), line!() - 1)
    });
    sleep(Duration::from_secs(2)).await;
    let reader = b.clone().owner("reader");
    let Err(AcquireError::Deadlock(deadlock)) = reader.acquire().await else { panic!("it waits for itself") };
    let refused = line!() - 1;

    assert_eq!(deadlock.problem().code, Code::Deadlock);
    let [here, there] = deadlock.blocked() else { panic!("{deadlock}") };
    assert_eq!((&*here.who, &*here.waits_for, here.waited), ("reader", "b", Duration::ZERO));
    assert_eq!((&*there.who, &*there.waits_for), ("writer", "a"));
    assert!((1_700..=2_000).contains(&there.waited.as_millis()), "{:?}", there.waited);
    assert_eq!(here.site.map(|site| (site.file(), site.line())), Some((file!(), refused)));
    let [holder] = there.blockers.as_slice() else { panic!("{deadlock}") };
    assert_eq!((&*holder.who, holder.token), ("reader", Some(first.token())));
    assert!((1_700..=2_000).contains(&holder.since.as_millis()), "{:?}", holder.since);
    assert_eq!(holder.site.map(std::panic::Location::line), Some(taken));
    let [holder] = here.blockers.as_slice() else { panic!("{deadlock}") };
    assert_eq!((&*holder.who, holder.token), ("writer", Some(second.token())));
    assert_eq!(holder.site.map(std::panic::Location::line), Some(taken + 2));

    let text = deadlock.to_string();
    drop(first);
    let (_, waited) = waits.await.unwrap();
    for line in [taken, waited, refused] {
        assert!(text.contains(&format!("{}:{line}:", file!())), "{line} is not in {text}");
    }
    drop(second);
}

#[tokio::test(start_paused = true)]
async fn l6_whoever_waits_can_be_asked_for_without_a_deadlock() {
    let locks = Locks::new();
    let guard = locks.lock("a").owner("first").acquire().await.unwrap();
    let lock = locks.lock("a").owner("second");
    let mut waits = pin!(lock.acquire());
    assert!(is_pending(waits.as_mut()));
    sleep(Duration::from_secs(10)).await;
    let stats = locks.stats();
    assert_eq!((stats.held, stats.waiting), (1, 1));
    let is_ten = |waited: Duration| (9_500..=10_000).contains(&waited.as_millis());
    assert!(is_ten(stats.waited_max), "{:?}", stats.waited_max);
    let blocked = locks.blocked();
    assert_eq!((blocked.len(), &*blocked[0].who, &*blocked[0].waits_for), (1, "second", "a"));
    assert!(is_ten(blocked[0].waited), "{:?}", blocked[0].waited);
    assert_eq!((&*blocked[0].blockers[0].who, blocked[0].blockers[0].token), ("first", Some(guard.token())));
    assert!(is_ten(locks.stats().waited_max), "the machine has it");
    drop(guard);
    drop(waits.await.unwrap());
    assert_eq!(locks.blocked(), []);
}

#[tokio::test]
async fn l6_a_task_that_wants_what_it_has_is_told_so() {
    let value = AsyncLock::new("a");
    let guard = value.acquire().await.unwrap();
    let Err(AcquireError::Deadlock(deadlock)) = value.acquire().await else { panic!("it waits for itself") };
    assert_eq!(deadlock.blocked().len(), 1);
    assert_eq!(value.stats().deadlocks, 1);
    drop(guard);
}

#[tokio::test]
async fn l6_permits_in_a_cycle_are_found() {
    let pools = Semaphores::new(permits(2));
    let (a, b) = (pools.semaphore("a"), pools.semaphore("b"));
    let one = a.clone().owner("one").acquire_many(2).await.unwrap();
    let two = b.clone().owner("two").acquire().await.unwrap();
    let task = tokio::spawn({
        let a = a.clone().owner("two");
        async move { a.acquire().await }
    });
    while pools.stats().waiting == 0 {
        tokio::task::yield_now().await;
    }
    let Err(AcquireError::Deadlock(deadlock)) = b.clone().owner("one").acquire_many(2).await else {
        panic!("it waits for itself")
    };
    assert_eq!(deadlock.blocked()[0].blockers[0].token, Some(two.token()));
    drop((one, two));
    drop(task.await.unwrap().unwrap());
}

#[tokio::test(start_paused = true)]
async fn l4_no_permit_is_lost_when_acquire_many_is_cancelled() {
    // Known from semaphores that take permits one by one: those that were gathered went with the cancelled future.
    let semaphore = Semaphore::new(permits(4)).detached();
    for held in 1..=4 {
        for granted in [false, true] {
            let guard = semaphore.acquire_many(held).await.unwrap();
            let mut many = Box::pin(semaphore.acquire_many(4));
            assert!(is_pending(many.as_mut()));
            let mut behind = Box::pin(semaphore.acquire());
            assert!(is_pending(behind.as_mut()), "L3: it came later");
            if granted {
                drop(guard);
                drop(many);
            } else {
                drop(many);
                drop(guard);
            }
            let behind = timeout(PATIENCE, behind).await.expect("L4: what was given is gone");
            drop(behind.unwrap());
            drop(semaphore.clone().take(4).try_acquire().await.expect("a permit is gone"));
        }
    }
    assert_eq!(semaphore.stats(), Stats::default());
}

#[tokio::test]
async fn l7_a_keyed_entry_is_not_removed_while_it_is_waited_for() {
    // Known from maps of mutexes: the holder removes the entry, the one who waits gets the mutex that was in it, and a
    // third makes another.
    let locks = Locks::new();
    let first = locks.lock("key").detached().acquire().await.unwrap();
    let lock = locks.lock("key").detached();
    let mut second = Box::pin(lock.acquire());
    assert!(is_pending(second.as_mut()));
    drop(first);
    assert!(locks.lock("key").detached().try_acquire().await.is_err(), "it is the second's");
    let second = second.await.unwrap();
    assert!(locks.lock("key").detached().try_acquire().await.is_err(), "L1: two have it");
    drop(second);
    assert_empty(&lock);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn l1_l7_visits_to_a_few_keys_overlap_nowhere_and_leave_nothing() {
    let locks = Locks::new();
    let values: Arc<[_; 3]> = Arc::new([0, 1, 2].map(|key: u32| locks.protect(key.to_string(), 0_u32)));
    let mut tasks = JoinSet::new();
    for task in 0..8_usize {
        let values = Arc::clone(&values);
        tasks.spawn(async move {
            for round in 0..500 {
                let mut value = values[(task + round) % 3].acquire().await.unwrap();
                let before = *value;
                if round % 7 == 0 {
                    tokio::task::yield_now().await;
                }
                *value = before + 1;
            }
        });
    }
    tasks.join_all().await;
    let mut sum = 0;
    for value in values.iter() {
        sum += *value.acquire().await.unwrap();
    }
    assert_eq!(sum, 8 * 500, "L1: an update was lost");
    assert_empty(&locks.lock("0"));
}

#[tokio::test]
async fn l4_a_value_survives_the_panic_of_its_holder() {
    let value = AsyncLock::new(1);
    let panics = value.clone();
    let task = tokio::spawn(async move {
        *panics.acquire().await.unwrap() += 1;
        let _guard = panics.acquire().await.unwrap();
        panic!("while holding");
    });
    assert!(task.await.unwrap_err().is_panic());
    assert_eq!(*value.try_acquire().await.unwrap(), 2);
}

#[tokio::test]
async fn l1_a_value_whose_lock_is_stolen_stays_with_its_holder() {
    let rp = crate::Raceproof::local();
    let value = Locks::over(rp.clone()).protect("value", 1);
    let mut guard = value.clone().detached().acquire().await.unwrap();
    rp.steal("value").await.unwrap();
    assert!(!guard.is_valid());
    assert!(matches!(value.acquire().await, Err(AcquireError::Lost(LostReason::Stolen))));
    *guard += 1;
    assert!(guard.release().await.is_err(), "it was lost");
    assert_eq!(*value.acquire().await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn l4_a_wait_is_over_after_its_time() {
    let value = AsyncLock::new(());
    let guard = value.clone().detached().acquire().await.unwrap();
    let began = Instant::now();
    let waits = value.clone().wait(Duration::from_millis(300)).acquire().await;
    assert!(matches!(waits, Err(AcquireError::TimedOut(_))));
    assert!((300..310).contains(&began.elapsed().as_millis()), "{:?}", began.elapsed());
    assert!(matches!(value.try_acquire().await, Err(AcquireError::Held(_))));
    assert_eq!(value.stats().timed_out, 1);
    drop(guard);
    assert_eq!(value.stats().held, 0);
}

/// Written once, for whatever is held.
async fn hand_back(guard: impl LockGuard) -> u64 {
    assert!(guard.is_valid());
    let (token, lost) = (guard.token(), guard.lost());
    guard.release().await.unwrap();
    assert_eq!(lost.await, LostReason::Released);
    token.as_u64()
}

#[tokio::test]
async fn every_guard_is_used_by_the_same_trait() {
    let locks = Locks::new();
    let value = locks.protect("value", 3);
    let boxed: Box<dyn LockGuard> = Box::new(locks.lock("a").acquire().await.unwrap());
    let first = hand_back(boxed).await;
    let second = hand_back(value.acquire().await.unwrap()).await;
    let third = hand_back(locks.semaphore("pool", 2).acquire().await.unwrap()).await;
    assert!(first < second && second < third, "L2");
    assert_empty(&locks.lock("a"));
}
