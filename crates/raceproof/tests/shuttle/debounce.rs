//! Many events, handled once: P4.

use std::sync::Arc;
use std::time::Duration;

use raceproof::resilience::Debounce;
use raceproof::resilience::debounce::Builder;
use shuttle::future::{block_on, spawn, yield_now};
use shuttle::sync::Mutex;

use super::{check, given_up_after, polls};

/// Hands on all that was pushed, in order.
fn lists() -> Builder<Vec<u32>> {
    Debounce::builder(Duration::from_millis(10)).merge(|waits: &mut Vec<u32>, mut event| waits.append(&mut event))
}

fn pushes(debounce: Debounce<Vec<u32>>, events: [u32; 2]) -> shuttle::future::JoinHandle<()> {
    spawn(async move {
        for event in events {
            debounce.push(vec![event]).expect("it is open");
            yield_now().await;
        }
    })
}

#[test]
fn p4_every_event_is_received_once_whenever_a_receive_is_given_up() {
    check(|| {
        block_on(async {
            let (debounce, mut debounced) = lists().channel();
            let pushers = [pushes(debounce.clone(), [1, 2]), pushes(debounce, [3, 4])];
            let mut received = Vec::new();
            loop {
                match given_up_after(polls(5), debounced.recv()).await {
                    Some(Some(events)) => received.extend(events),
                    Some(None) => break,
                    None => yield_now().await,
                }
            }
            for pusher in pushers {
                pusher.await.expect("it ends");
            }
            received.sort_unstable();
            assert_eq!(received, [1, 2, 3, 4]);
        });
    });
}

#[test]
fn p4_close_hands_on_what_waits_whoever_gives_the_close_up() {
    check(|| {
        block_on(async {
            let handled = Arc::new(Mutex::new(Vec::new()));
            let sees = Arc::clone(&handled);
            let debounce = lists().spawn(move |events| {
                let sees = Arc::clone(&sees);
                async move {
                    yield_now().await;
                    sees.lock().expect("no handler panics").extend(events);
                }
            });
            let pusher = spawn({
                let debounce = debounce.clone();
                async move {
                    let mut pushed = Vec::new();
                    for event in 0..3 {
                        if debounce.push(vec![event]).is_ok() {
                            pushed.push(event);
                        }
                        yield_now().await;
                    }
                    pushed
                }
            });
            let gives_up = spawn({
                let (debounce, polls) = (debounce.clone(), polls(4));
                async move { given_up_after(polls, debounce.close()).await }
            });
            debounce.close().await;
            let pushed = pusher.await.expect("it ends");
            gives_up.await.expect("it ends");
            assert_eq!(*handled.lock().expect("no handler panics"), pushed);
            debounce.push(vec![9]).expect_err("it is closed");
        });
    });
}
