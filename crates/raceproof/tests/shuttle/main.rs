//! The shared state of the library's handles, in every order that shuttle finds: `cargo xtask shuttle`.
//!
//! Built under `--cfg shuttle` only, where locks and atomics are shuttle's.
#![cfg(shuttle)]

mod cache;
mod debounce;
mod events;
mod lock;
mod locks;
mod policy;
mod recovery;
mod registry;
mod resilience;
mod service;
mod startup;
mod task;
mod turns;
mod worker;

use std::pin::pin;
use std::task::Poll;

use shuttle::future::JoinHandle;
use shuttle::rand::Rng as _;

/// In how many orders a test runs.
const ORDERS: usize = 2_000;

/// Runs a test in random orders, and in such as bring out bugs of few steps. Names a schedule to replay if it fails.
fn check(test: impl Fn() + Send + Sync + Copy + 'static) {
    let seeded = move || {
        // What is random in the library is the same in every run, so that a schedule can be replayed.
        fastrand::seed(7);
        test();
    };
    shuttle::check_random(seeded, ORDERS);
    shuttle::check_pct(seeded, ORDERS, 3);
}

/// After how many polls to give up: fewer than these, which are best one more than there are to be had.
fn polls(below: usize) -> usize {
    shuttle::rand::thread_rng().gen_range(0..below)
}

/// What the tasks return, when all have ended.
async fn finish<T: 'static>(tasks: impl IntoIterator<Item = JoinHandle<T>>) -> Vec<T> {
    let mut results = Vec::new();
    for task in tasks.into_iter().collect::<Vec<_>>() {
        results.push(task.await.unwrap());
    }
    results
}

/// Polls a future to its end, or gives it up at the poll after the next `polls`; `usize::MAX` is for ever.
async fn given_up_after<F: Future>(polls: usize, future: F) -> Option<F::Output> {
    let mut future = pin!(future);
    let mut left = polls;
    std::future::poll_fn(|cx| {
        if left == 0 {
            return Poll::Ready(None);
        }
        if polls < usize::MAX {
            left -= 1;
            // Whoever gives up does so without being woken.
            cx.waker().wake_by_ref();
        }
        future.as_mut().poll(cx).map(Some)
    })
    .await
}

/// A suite whose tests are not built would pass, too.
#[test]
fn every_suite_has_tests() {
    let program = std::env::current_exe().expect("this program");
    let listed = std::process::Command::new(program).arg("--list").output().expect("its tests");
    let listed = String::from_utf8(listed.stdout).expect("names");
    let suites = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shuttle")).expect("this directory");
    let mut seen = 0;
    for suite in suites {
        let path = suite.expect("a file").path();
        let name = path.file_stem().and_then(|name| name.to_str()).expect("a name").to_owned();
        if name != "main" {
            let tests =
                listed.lines().filter(|line| line.starts_with(&format!("{name}::")) && line.ends_with(": test"));
            assert!(tests.count() > 0, "no test of {name} was built");
            seen += 1;
        }
    }
    assert!(seen > 0);
}
