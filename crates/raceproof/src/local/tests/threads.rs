//! Many threads at once: mutual exclusion, no lost wake-up, nothing left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use super::{PATIENCE, assert_empty};
use crate::{Lock, Raceproof};

const TASKS: u64 = 16;
const ROUNDS: u64 = 400;
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// -1 while held exclusively, else how many share it.
type Inside = Arc<[AtomicI64; 4]>;

fn enter(inside: &Inside, names: &[usize], exclusive: bool) {
    for name in names {
        if exclusive {
            assert_eq!(inside[*name].swap(-1, Ordering::SeqCst), 0, "two holders of {name}");
        } else {
            assert!(inside[*name].fetch_add(1, Ordering::SeqCst) >= 0, "shared beside exclusive of {name}");
        }
    }
}

fn leave(inside: &Inside, names: &[usize], exclusive: bool) {
    for name in names {
        if exclusive {
            inside[*name].store(0, Ordering::SeqCst);
        } else {
            inside[*name].fetch_sub(1, Ordering::SeqCst);
        }
    }
}

struct Plan {
    lock: Lock,
    names: Vec<usize>,
    exclusive: bool,
}

fn plan(rp: &Raceproof, rng: &mut fastrand::Rng) -> Plan {
    let first = rng.usize(..4);
    match rng.u8(..10) {
        0..5 => Plan { lock: rp.lock(NAMES[first]), names: vec![first], exclusive: true },
        5..8 => Plan { lock: rp.lock(NAMES[first]).shared(), names: vec![first], exclusive: false },
        _ => {
            let second = (first + 1 + rng.usize(..3)) % 4;
            let lock = rp.lock_all([NAMES[first], NAMES[second]]);
            Plan { lock, names: vec![first, second], exclusive: true }
        }
    }
}

/// Asks for locks of every kind, gives up at random points, and holds across an await.
async fn work(rp: Raceproof, inside: Inside, seed: u64) -> u64 {
    let mut rng = fastrand::Rng::with_seed(seed);
    let mut held = 0;
    for _ in 0..ROUNDS {
        let Plan { lock, names, exclusive } = plan(&rp, &mut rng);
        let lock = lock.detached();
        let mut acquire = Box::pin(lock.acquire());
        let mut polls = rng.u8(..6);
        let guard = std::future::poll_fn(|cx| {
            if polls == 0 {
                return std::task::Poll::Ready(None);
            }
            polls -= 1;
            // The last polls wait for as long as it takes.
            if polls > 2 {
                polls = 6;
            } else {
                cx.waker().wake_by_ref();
            }
            acquire.as_mut().poll(cx).map(|guard| Some(guard.unwrap()))
        })
        .await;
        drop(acquire);
        let Some(guard) = guard else { continue };
        enter(&inside, &names, exclusive);
        if rng.bool() {
            tokio::task::yield_now().await;
        }
        leave(&inside, &names, exclusive);
        held += 1;
        if rng.bool() {
            guard.release().await.unwrap();
        }
    }
    held
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn l1_l4_l6_nothing_overlaps_and_nobody_is_forgotten() {
    let rp = Raceproof::local();
    let inside = Inside::default();
    let mut set = tokio::task::JoinSet::new();
    for task in 0..TASKS {
        set.spawn(work(rp.clone(), Arc::clone(&inside), task));
    }
    let all = async {
        let mut held = 0;
        while let Some(result) = set.join_next().await {
            held += result.unwrap();
        }
        held
    };
    let held = tokio::time::timeout(3 * PATIENCE, all).await.expect("somebody waits for ever");
    assert!(held > TASKS * ROUNDS / 4, "hardly anything was held: {held}");
    assert_empty(&rp);
}

#[test]
fn locks_work_between_threads_without_a_runtime() {
    let rp = Raceproof::local();
    let inside = Inside::default();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..200 {
                    let guard = block_on(async { rp.lock("a").acquire().await.unwrap() });
                    enter(&inside, &[0], true);
                    leave(&inside, &[0], true);
                    drop(guard);
                }
            });
        }
    });
    assert_empty(&rp);
}

/// Parks the thread until the future is done.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Unpark(std::thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Arc::new(Unpark(std::thread::current())).into();
    let mut future = std::pin::pin!(future);
    let began = std::time::Instant::now();
    loop {
        match future.as_mut().poll(&mut std::task::Context::from_waker(&waker)) {
            std::task::Poll::Ready(result) => return result,
            std::task::Poll::Pending => {
                std::thread::park_timeout(PATIENCE);
                assert!(began.elapsed() < PATIENCE, "it waits for ever");
            }
        }
    }
}

#[test]
fn l7_memory_is_given_back_after_many_names() {
    let rp = Raceproof::local();
    let guards: Vec<_> =
        (0..20_000).map(|n| block_on(async { rp.lock(format!("name {n}")).acquire().await.unwrap() })).collect();
    assert_eq!(super::inner(&rp).remembered(), 20_000);
    drop(guards);
    assert_empty(&rp);
    assert!(super::inner(&rp).capacity() <= 64 * 64, "the tables keep their size");
}
