use tokio::time::{Instant, advance, sleep, timeout};

use super::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[tokio::test(start_paused = true)]
async fn p4_many_events_are_handled_once_and_the_last_one_is() {
    let (debounce, mut debounced) = Debounce::builder(ms(100)).channel();
    let began = Instant::now();
    let pushes = tokio::spawn(async move {
        for event in 0..20 {
            debounce.push(event).unwrap();
            sleep(ms(30)).await;
        }
        // The handle lives on: what comes is due because it was quiet.
        sleep(ms(1_000)).await;
        debounce.stats()
    });
    assert_eq!(debounced.recv().await, Some(19));
    assert_eq!(began.elapsed(), ms(19 * 30 + 100));
    let stats = pushes.await.unwrap();
    assert_eq!((stats.pushed, stats.handed_on, stats.pending), (20, 1, false));
    assert_eq!(debounced.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn p4_events_that_never_stop_are_handled_all_the_same() {
    let (debounce, mut debounced) = Debounce::builder(ms(100)).wait_max(Some(ms(300))).channel();
    let pushes = tokio::spawn(async move {
        for event in 0..100 {
            debounce.push(event).unwrap();
            sleep(ms(20)).await;
        }
    });
    let mut seen = Vec::new();
    let mut last = Instant::now();
    while let Some(event) = debounced.recv().await {
        assert!(last.elapsed() <= ms(320));
        last = Instant::now();
        seen.push(event);
    }
    pushes.await.unwrap();
    assert_eq!(seen.last(), Some(&99));
    assert!(seen.len() >= 6 && seen.is_sorted());
}

#[tokio::test(start_paused = true)]
async fn p4_the_last_event_survives_the_drop_of_its_handle_a_flush_and_a_cancelled_receive() {
    let (debounce, mut debounced) = Debounce::builder(ms(100)).channel();
    debounce.push(1).unwrap();
    assert!(timeout(ms(99), debounced.recv()).await.is_err());
    assert!(timeout(ms(1), debounced.recv()).await.is_ok_and(|value| value == Some(1)));

    debounce.push(2).unwrap();
    assert!(debounce.flush());
    let began = Instant::now();
    assert_eq!(debounced.recv().await, Some(2));

    debounce.clone().push(3).unwrap();
    drop(debounce);
    assert_eq!(debounced.recv().await, Some(3));
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(debounced.recv().await, None);
}

#[tokio::test(start_paused = true)]
async fn p4_events_during_a_slow_handler_or_after_a_panic_are_handled() {
    let handled = Arc::new(Mutex::new(Vec::new()));
    let debounce = Debounce::builder(ms(10)).spawn({
        let handled = Arc::clone(&handled);
        move |event: u32| {
            let handled = Arc::clone(&handled);
            async move {
                sleep(ms(500)).await;
                assert_ne!(event, 1, "as the test wants");
                handled.lock().unwrap().push(event);
            }
        }
    });
    debounce.push(0).unwrap();
    sleep(ms(100)).await;
    assert_eq!(debounce.push(1), Ok(Pushed::First));
    sleep(ms(500)).await;
    for event in 2..10 {
        debounce.push(event).unwrap();
    }
    debounce.close().await;
    assert_eq!(*handled.lock().unwrap(), [0, 9], "1 panicked, 2 to 8 were merged");
    assert!(debounce.push(10).is_err_and(|closed| closed.0 == 10));
}

#[tokio::test(start_paused = true)]
async fn p4_merged_events_lose_nothing() {
    let (debounce, mut debounced) =
        Debounce::builder(ms(50)).merge(|waits: &mut Vec<u32>, event| waits.extend(event)).channel();
    for event in 0..5 {
        debounce.push(vec![event]).unwrap();
        advance(ms(20)).await;
    }
    assert_eq!(debounced.recv().await, Some(vec![0, 1, 2, 3, 4]));
    debounce.push(vec![7]).unwrap();
    assert_eq!(debounced.take(), Some(vec![7]));
    assert_eq!(debounced.take(), None);
    debounce.push(vec![8]).unwrap();
    drop(debounced);
    assert!(debounce.push(vec![9]).is_err_and(|closed| closed.0 == [9]));
}

#[tokio::test(start_paused = true)]
async fn a_leading_event_is_handled_at_once() {
    let (debounce, mut debounced) = Debounce::builder(ms(100)).leading().wait_max(Some(ms(100))).channel();
    let began = Instant::now();
    debounce.push(1).unwrap();
    assert_eq!(debounced.recv().await, Some(1));
    assert_eq!(began.elapsed(), Duration::ZERO);
    debounce.push(2).unwrap();
    assert_eq!(debounced.recv().await, Some(2));
    assert_eq!(began.elapsed(), ms(100));
}

#[tokio::test(start_paused = true)]
async fn p4_a_flush_wakes_whoever_waits_for_what_was_pushed() {
    let (debounce, mut debounced) = Debounce::builder(ms(100)).channel();
    let began = Instant::now();
    let receives = tokio::spawn(async move { (debounced.recv().await, began.elapsed()) });
    debounce.push(1).unwrap();
    tokio::task::yield_now().await;
    assert!(debounce.flush());
    assert_eq!(receives.await.unwrap(), (Some(1), Duration::ZERO));
    assert_eq!(debounce.stats(), Stats { pushed: 1, handed_on: 1, pending: false });
}
