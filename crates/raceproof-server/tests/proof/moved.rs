//! Code that was written for locks of one process, and the same code over a server: it cannot tell. L1: one at a time;
//! L2: tokens increase; L3 and L4: a wait that is given up is in nobody's way; a semaphore lets in as many as it says.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use raceproof::lock::{LockGuard, Locks, Semaphores};
use raceproof::{AcquireError, LostReason};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::support::{PATIENCE, client, start};

const LEASE: Duration = Duration::from_secs(100);
const EACH: u32 = 25;

/// What a program does, however its locks were made. Each of `programs` stands for one process.
async fn program(programs: &[Locks]) {
    let inside = Arc::new(AtomicU32::new(0));
    let newest = Arc::new(AtomicU64::new(0));
    let mut tasks = JoinSet::new();
    for locks in programs.iter().cycle().take(4) {
        let (locks, inside, newest) = (locks.clone(), inside.clone(), newest.clone());
        tasks.spawn(async move {
            for _ in 0..EACH {
                let guard: Box<dyn LockGuard> = Box::new(locks.lock("account/17").acquire().await.unwrap());
                assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "two are inside");
                let before = newest.swap(guard.token().as_u64(), Ordering::SeqCst);
                assert!(before < guard.token().as_u64(), "{before}, and then {}", guard.token());
                tokio::task::yield_now().await;
                assert!(guard.is_valid());
                inside.fetch_sub(1, Ordering::SeqCst);
                give_back(guard).await;
            }
        });
    }
    while let Some(done) = timeout(PATIENCE, tasks.join_next()).await.expect("an end") {
        done.unwrap();
    }
}

async fn give_back(guard: impl LockGuard) {
    let lost = guard.lost();
    guard.release().await.unwrap();
    assert_eq!(timeout(PATIENCE, lost).await.expect("it is not held any more"), LostReason::Released);
}

/// One holds, others try, wait for a while and are told; `stats` counts what this program has.
async fn refusals(holder: &Locks, rival: &Locks) {
    let guard = holder.lock("account/18").acquire().await.unwrap();
    let stats = holder.stats();
    assert_eq!((stats.held, stats.waiting), (1, 0), "{stats:?}");
    let tried = rival.lock("account/18").detached().try_acquire().await;
    assert!(matches!(tried, Err(AcquireError::Held(_))), "{tried:?}");
    let late = rival.lock("account/18").detached().wait(Duration::from_millis(20)).acquire().await;
    assert!(matches!(late, Err(AcquireError::TimedOut(_))), "{late:?}");
    give_back(guard).await;
    let next = rival.lock("account/18").try_acquire().await.unwrap();
    give_back(next).await;
    assert_eq!((holder.stats().held, rival.stats().held), (0, 0));
}

async fn permits(programs: [&Semaphores; 2]) {
    let first = programs[0].semaphore("acme").acquire().await.unwrap();
    let second = programs[1].semaphore("acme").acquire().await.unwrap();
    let third = programs[0].semaphore("acme").try_acquire().await;
    assert!(matches!(third, Err(AcquireError::Held(_))), "{third:?}");
    let other = programs[1].semaphore("globex").acquire_many(2).await.unwrap();
    for guard in [first, second, other] {
        give_back(guard).await;
    }
    programs[0].semaphore("acme").acquire_many(2).await.unwrap().release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_l2_the_same_code_runs_in_one_process_and_in_two_over_a_server() {
    let locks = Locks::new();
    program(std::slice::from_ref(&locks)).await;
    refusals(&locks, &locks).await;

    let server = start().await;
    let one = Locks::over(client(server, LEASE).name("one").connect().await.unwrap());
    let two = Locks::over(client(server, LEASE).name("two").connect().await.unwrap());
    program(&[one.clone(), two.clone()]).await;
    refusals(&one, &two).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l1_permits_are_as_many_in_one_process_as_over_a_server() {
    let two = NonZeroU32::new(2).unwrap();
    let here = Semaphores::new(two);
    permits([&here, &here]).await;

    let server = start().await;
    let connect = || client(server, LEASE).connect();
    let there = [Semaphores::over(connect().await.unwrap(), two), Semaphores::over(connect().await.unwrap(), two)];
    permits([&there[0], &there[1]]).await;
}
