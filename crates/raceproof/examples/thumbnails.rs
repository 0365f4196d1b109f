//! Forty uploads at once, and two workers that make their thumbnails: who uploads waits for room, in order, instead of
//! being refused. A view that would rather show nothing is told at once that there is no room.
//!
//! `cargo run -p raceproof --example thumbnails` (time is simulated)

use std::error::Error;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use raceproof::worker::{CallError, Worker};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

const UPLOADS: u32 = 40;
/// The fifth picture is broken, and whoever decodes it panics.
const BROKEN: u32 = 5;

#[derive(Debug, PartialEq)]
struct Picture(u32);

/// Waits until so many requests wait, in the mailbox and for room in it.
async fn waiting(thumbnails: &Worker<Picture, String>, wanted: usize) {
    while thumbnails.stats().waiting + thumbnails.stats().patient != wanted {
        tokio::task::yield_now().await;
    }
}

#[tokio::main(flavor = "current_thread", start_paused = true)]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let begun = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&begun);
    let thumbnails = Worker::builder("thumbnails").workers(2).mailbox(4).patient_max(64).spawn(move || {
        let log = Arc::clone(&log);
        move |Picture(number): Picture| {
            log.lock().expect("nobody panics while it is locked").push(number);
            async move {
                sleep(Duration::from_millis(10)).await;
                assert!(number != BROKEN, "picture {number} is broken");
                format!("thumbnail of {number}")
            }
        }
    })?;

    let began = Instant::now();
    let mut uploads = JoinSet::new();
    for number in 0..UPLOADS {
        let worker = thumbnails.clone();
        uploads.spawn(async move {
            // Every fourth of the later ones goes away long before it is its turn.
            if number >= 20 && number.is_multiple_of(4) {
                let gone = timeout(Duration::from_millis(25), worker.call_patiently(Picture(number))).await;
                assert!(gone.is_err(), "{gone:?}");
                return None;
            }
            Some((number, worker.call_patiently(Picture(number)).await))
        });
        // One after the other, so that there is an order.
        while thumbnails.stats().accepted + thumbnails.stats().patient as u64 <= u64::from(number) {
            tokio::task::yield_now().await;
        }
    }
    waiting(&thumbnails, 38).await;
    println!("{:?}", thumbnails.stats());

    // There is no room, and so the picture comes back.
    assert_eq!(thumbnails.call(Picture(100)).await, Err(CallError::Full(Picture(100))));

    // Six were begun. Those who went have left no place behind them.
    sleep(Duration::from_millis(27)).await;
    let stats = thumbnails.stats();
    assert_eq!((stats.in_hand, stats.waiting, stats.patient, stats.abandoned), (2, 4, 25, 5));

    let mut made = 0;
    for (number, answer) in uploads.join_all().await.into_iter().flatten() {
        if number == BROKEN {
            assert!(matches!(answer, Err(CallError::Panicked(_))), "{answer:?}");
        } else {
            assert_eq!(answer, Ok(format!("thumbnail of {number}")));
            made += 1;
        }
    }
    let (took, stats) = (began.elapsed(), thumbnails.stats());
    assert_eq!((made, stats.panicked, stats.refused), (34, 1, 1));
    let gone = |number: &u32| *number >= 20 && number.is_multiple_of(4);
    let wanted: Vec<u32> = (0..UPLOADS).filter(|number| !gone(number)).collect();
    assert_eq!(*begun.lock().expect("nobody panics while it is locked"), wanted, "in order, none for who has gone");
    println!("34 thumbnails in {took:?}; 5 uploads went away and cost nothing, the broken one cost itself");
    assert!(took < Duration::from_millis(250), "two at a time, 10 ms each");
    thumbnails.stop_within(Duration::from_secs(5)).await?;
    Ok(())
}
