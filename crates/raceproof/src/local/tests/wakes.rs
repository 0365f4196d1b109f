//! Who is woken, and how often (L10).

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::{assert_empty, queued};
use crate::{AcquireError, Guard, Lock, Raceproof};

#[derive(Default)]
struct Count(AtomicUsize);

impl Wake for Count {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

type Acquiring = Pin<Box<dyn Future<Output = Result<Guard, AcquireError>> + Send>>;

/// One who waits, and how often it was woken.
struct Waiter {
    count: Arc<Count>,
    wait: Acquiring,
}

impl Waiter {
    fn of(lock: &Lock, owner: &str) -> Self {
        let lock = lock.clone().owner(owner);
        let mut waiter = Self { count: Arc::default(), wait: Box::pin(async move { lock.acquire().await }) };
        assert!(waiter.poll().is_none(), "{owner} has nothing to wait for");
        waiter
    }

    fn poll(&mut self) -> Option<Guard> {
        let waker = Waker::from(Arc::clone(&self.count));
        match self.wait.as_mut().poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(guard) => Some(guard.unwrap()),
            Poll::Pending => None,
        }
    }
}

fn woken<const N: usize>(waiters: &[Waiter; N]) -> [usize; N] {
    std::array::from_fn(|at| waiters[at].count.0.load(Ordering::SeqCst))
}

fn at_once(lock: &Lock, owner: &str) -> Guard {
    let lock = lock.clone().owner(owner);
    let wait: Acquiring = Box::pin(async move { lock.acquire().await });
    Waiter { count: Arc::default(), wait }.poll().expect("it is free")
}

#[test]
fn l10_a_release_wakes_the_next_in_the_queue_and_nobody_else() {
    let rp = Raceproof::local();
    let lock = rp.lock("a");
    let held = at_once(&lock, "holder");
    let mut waiters = ["1", "2", "3", "4"].map(|owner| Waiter::of(&lock, owner));
    assert_eq!(queued(&rp), 4, "the machine is not asked");
    drop(held);
    assert_eq!(woken(&waiters), [1, 0, 0, 0]);
    let held = waiters[0].poll().expect("it was handed over");
    // Who gives up has nobody woken, before and after it was granted anything.
    waiters[1].wait = Box::pin(std::future::pending());
    assert_eq!(woken(&waiters), [1, 0, 0, 0]);
    drop(held);
    assert_eq!(woken(&waiters), [1, 0, 1, 0]);
    waiters[2].wait = Box::pin(std::future::pending());
    assert_eq!(woken(&waiters), [1, 0, 1, 1], "what it was granted passes on");
    drop(waiters[3].poll().expect("it was handed over"));
    drop(waiters);
    assert_empty(&rp);
}

#[test]
fn l10_a_release_wakes_all_whom_it_grants_to_and_nobody_else() {
    for by_machine in [false, true] {
        let rp = Raceproof::local();
        // Two names at once are the machine's, and so is who waits for one of them.
        let hold = |name: &str| match by_machine {
            false => at_once(&rp.lock(name), name),
            true => at_once(&rp.lock_all([name.to_owned(), format!("beside {name}")]), name),
        };
        let (held, held_elsewhere) = (hold("a"), hold("b"));
        let (exclusive, shared, elsewhere) = (rp.lock("a"), rp.lock("a").shared(), rp.lock("b").shared());
        let locks = [(&shared, "1"), (&shared, "2"), (&exclusive, "3"), (&shared, "4"), (&elsewhere, "5")];
        let mut waiters = locks.map(|(lock, owner)| Waiter::of(lock, owner));
        assert_eq!(queued(&rp), if by_machine { 0 } else { 5 });
        drop(held);
        assert_eq!(woken(&waiters), [1, 1, 0, 0, 0]);
        let [first, second] = [0, 1].map(|at| waiters[at].poll().expect("it was granted"));
        drop(first);
        assert_eq!(woken(&waiters), [1, 1, 0, 0, 0], "one reader is left");
        drop(second);
        assert_eq!(woken(&waiters), [1, 1, 1, 0, 0]);
        drop(waiters[2].poll().expect("it was granted"));
        assert_eq!(woken(&waiters), [1, 1, 1, 1, 0]);
        drop(waiters[3].poll().expect("it was granted"));
        drop(held_elsewhere);
        assert_eq!(woken(&waiters), [1, 1, 1, 1, 1]);
        drop(waiters[4].poll().expect("it was granted"));
        assert_empty(&rp);
    }
}
