use std::future::poll_fn;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use tokio::sync::{Barrier, Semaphore};
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Bus, Gap, Policy, PublishError, Received, RecvError, SubscribeError, Subscriber, TryPublishError};

/// Longer than any test needs, so that a test that hangs fails.
const SOON: Duration = Duration::from_secs(20);

async fn next(subscriber: &mut Subscriber<u32>) -> Received<u32> {
    timeout(SOON, subscriber.recv()).await.expect("an event in time").expect("an open bus")
}

async fn event(subscriber: &mut Subscriber<u32>) -> u32 {
    *next(subscriber).await.event().expect("an event, not a gap")
}

/// Polls once.
async fn is_pending<F: Future>(future: &mut std::pin::Pin<&mut F>) -> bool {
    poll_fn(|cx| Poll::Ready(future.as_mut().poll(cx).is_pending())).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn b1_every_subscriber_sees_the_same_order_and_each_publishers_own() {
    const EACH: u32 = 2_000;
    let bus = Bus::<(u32, u32)>::builder().capacity(32).build();
    let mut readers = JoinSet::new();
    for n in 0..4 {
        let mut subscriber = bus.subscribe(format!("reader {n}")).receiver().unwrap();
        readers.spawn(async move {
            let mut seen = Vec::new();
            while let Ok(received) = subscriber.recv().await {
                seen.push(*received.event().expect("nobody who is waited for finds a gap"));
            }
            seen
        });
    }
    let mut publishers = JoinSet::new();
    for publisher in 0..3 {
        let bus = bus.clone();
        publishers.spawn(async move {
            for n in 0..EACH {
                bus.publish((publisher, n)).await.unwrap();
            }
        });
    }
    timeout(SOON, publishers.join_all()).await.expect("published in time");
    bus.close();
    let seen = timeout(SOON, readers.join_all()).await.expect("read in time");
    let [first, others @ ..] = seen.as_slice() else { panic!("no readers") };
    assert_eq!(first.len(), 3 * EACH as usize);
    for publisher in 0..3 {
        let own: Vec<u32> = first.iter().filter(|(by, _)| *by == publisher).map(|(_, n)| *n).collect();
        assert_eq!(own, (0..EACH).collect::<Vec<_>>());
    }
    assert!(others.iter().all(|other| other == first), "two subscribers saw different orders");
}

/// A bus that spawns a task for each event and subscriber lets the quick overtake the slow.
#[tokio::test(start_paused = true)]
async fn b1_a_slow_event_is_not_overtaken_by_a_quick_one() {
    let bus = Bus::<u64>::new();
    let seen = Arc::new(Mutex::new(Vec::new()));
    let running = Arc::new(AtomicUsize::new(0));
    let handler = {
        let (seen, running) = (Arc::clone(&seen), Arc::clone(&running));
        bus.subscribe("slow first").handler(move |millis: Arc<u64>| {
            let (seen, running) = (Arc::clone(&seen), Arc::clone(&running));
            async move {
                assert_eq!(running.fetch_add(1, Ordering::SeqCst), 0, "two events at a time");
                tokio::time::sleep(Duration::from_millis(*millis)).await;
                running.fetch_sub(1, Ordering::SeqCst);
                seen.lock().unwrap().push(*millis);
            }
        })
    };
    for millis in [50, 1, 20, 0] {
        bus.publish(millis).await.unwrap();
    }
    bus.drain().await;
    assert_eq!(*seen.lock().unwrap(), [50, 1, 20, 0]);
    handler.unwrap().stop().await;
}

#[tokio::test]
async fn b2_a_queue_of_events_is_bounded_for_a_handler_that_hangs() {
    let bus = Bus::<u32>::builder().capacity(4).build();
    let gate = Arc::new(Semaphore::new(0));
    let inside = Arc::clone(&gate);
    let _handler = bus.subscribe("hangs").handler(move |_| {
        let gate = Arc::clone(&inside);
        async move { gate.acquire().await.unwrap().forget() }
    });
    let mut published = 0;
    for n in 0..100 {
        match bus.try_publish(n) {
            Ok(_) => published += 1,
            Err(TryPublishError::Full(event)) => assert_eq!(event, n, "the event is given back"),
            Err(error) => panic!("{error}"),
        }
        tokio::task::yield_now().await;
    }
    assert_eq!(published, 1 + 4, "one in hand or taken, four in the ring");
    assert!(bus.stats().subscribers[0].full);
    gate.add_permits(100);
    assert_eq!(timeout(SOON, bus.drain_within(SOON)).await, Ok(Ok(())));
}

#[tokio::test]
async fn b2_a_lagging_subscriber_is_told_what_it_lost() {
    let bus = Bus::<u32>::builder().capacity(8).build();
    let mut lossy = bus.subscribe("lossy").policy(Policy::DropOldest).limit(2).receiver().unwrap();
    let mut steady = bus.subscribe("steady").receiver().unwrap();
    for n in 0..6 {
        bus.publish(n).await.unwrap();
    }
    assert_eq!(next(&mut lossy).await, Received::Gap(Gap { first: 0, missed: 4 }));
    assert_eq!((event(&mut lossy).await, event(&mut lossy).await), (4, 5));
    for n in 0..6 {
        assert_eq!(event(&mut steady).await, n);
    }
    let stats = bus.stats();
    assert_eq!(stats.subscribers.iter().map(|subscriber| subscriber.missed).collect::<Vec<_>>(), [4, 0]);
}

#[tokio::test]
async fn b2_a_subscriber_that_wants_to_be_cut_off_is_and_slows_nobody() {
    let bus = Bus::<u32>::builder().capacity(4).build();
    let mut cut = bus.subscribe("cut").policy(Policy::Disconnect).receiver().unwrap();
    for n in 0..5 {
        bus.try_publish(n).unwrap();
    }
    assert_eq!(cut.recv().await, Err(RecvError::Disconnected { missed: 5 }));
    assert_eq!(cut.try_recv(), Err(RecvError::Disconnected { missed: 5 }), "and again");
    let stats = bus.stats();
    assert_eq!((stats.disconnected, stats.subscribers.len(), stats.buffered), (1, 0, 0));
}

#[tokio::test]
async fn b2_publishers_wait_in_their_order_and_one_that_is_not_polled_holds_up_nobody() {
    let bus = Bus::<u32>::builder().capacity(1).build();
    let mut slow = bus.subscribe("slow").receiver().unwrap();
    bus.publish(0).await.unwrap();
    let mut dropped = Box::pin(bus.publish(1));
    assert!(is_pending(&mut dropped.as_mut()).await);
    let mut unpolled = pin!(bus.publish(2));
    assert!(is_pending(&mut unpolled).await);
    let mut last = pin!(bus.publish(3));
    assert!(is_pending(&mut last).await);
    drop(dropped);
    assert_eq!(bus.stats().publishers_waiting, 2);
    for expected in [0, 2, 3] {
        assert_eq!(event(&mut slow).await, expected);
    }
    assert_eq!(timeout(SOON, last).await.unwrap().unwrap().offset, 2);
    assert_eq!(unpolled.await.unwrap().offset, 1);
}

#[tokio::test]
async fn b3_a_panicking_handler_is_reported_and_goes_on() {
    let reports = Arc::new(Mutex::new(Vec::new()));
    let log = Arc::clone(&reports);
    let bus = Bus::<u32>::builder()
        .on_panic(move |panic| {
            log.lock().unwrap().push((panic.subscriber.clone(), panic.message.clone()));
            panic!("the hook, too");
        })
        .build();
    let handled = Arc::new(Mutex::new(Vec::new()));
    let (at_once, later) = (Arc::clone(&handled), Arc::clone(&handled));
    let _one = bus.subscribe("at once").handler(move |n| {
        assert_ne!(*n, 1, "one at once");
        at_once.lock().unwrap().push(*n);
        async {}
    });
    let _two = bus.subscribe("later").filter(|n| *n > 0).handler(move |n| {
        let later = Arc::clone(&later);
        async move {
            tokio::task::yield_now().await;
            assert_ne!(*n, 2, "two later");
            later.lock().unwrap().push(*n * 10);
        }
    });
    for n in 0..4 {
        bus.publish(n).await.unwrap();
    }
    let before = bus.clone();
    let counted = async {
        while bus.stats().subscribers.iter().any(|subscriber| subscriber.panics != 1) {
            tokio::task::yield_now().await;
        }
    };
    timeout(SOON, counted).await.expect("each panic is counted");
    timeout(SOON, bus.drain()).await.expect("drained in time");
    let mut handled = handled.lock().unwrap().clone();
    handled.sort_unstable();
    assert_eq!(handled, [0, 2, 3, 10, 30]);
    let mut reports = reports.lock().unwrap().clone();
    reports.sort();
    assert_eq!(reports.len(), 2);
    assert!(reports[0].0 == "at once" && reports[0].1.contains("one at once"), "{reports:?}");
    assert!(reports[1].0 == "later" && reports[1].1.contains("two later"), "{reports:?}");
    assert!(before.stats().closed);
}

#[tokio::test]
async fn a_subscriber_that_waits_is_woken_and_keeps_what_a_dropped_future_had() {
    let bus = Bus::<u32>::new();
    let mut subscriber = bus.subscribe("waits").receiver().unwrap();
    {
        let mut recv = pin!(subscriber.recv());
        assert!(is_pending(&mut recv).await);
        bus.publish(7).await.unwrap();
    }
    assert_eq!(event(&mut subscriber).await, 7);
    let barrier = Arc::new(Barrier::new(2));
    let there = Arc::clone(&barrier);
    let task = tokio::spawn(async move {
        there.wait().await;
        event(&mut subscriber).await
    });
    barrier.wait().await;
    tokio::task::yield_now().await;
    bus.publish(8).await.unwrap();
    assert_eq!(timeout(SOON, task).await.expect("woken in time").unwrap(), 8);
}

#[tokio::test]
async fn closing_lets_what_was_published_be_read_and_gives_the_rest_back() {
    let bus = Bus::<u32>::builder().capacity(1).build();
    let mut reader = bus.subscribe("reader").receiver().unwrap();
    bus.publish(0).await.unwrap();
    let mut waiting = pin!(bus.publish(1));
    assert!(is_pending(&mut waiting).await);
    bus.close();
    assert_eq!(waiting.await, Err(PublishError::Closed(1)));
    assert_eq!(bus.publish(2).await, Err(PublishError::Closed(2)));
    assert_eq!(bus.try_publish(2), Err(TryPublishError::Closed(2)));
    assert_eq!(bus.subscribe("late").receiver().unwrap_err(), SubscribeError::Closed);
    assert_eq!(event(&mut reader).await, 0);
    assert_eq!(reader.recv().await, Err(RecvError::Closed));
}

#[tokio::test(start_paused = true)]
async fn draining_names_who_is_not_done_and_waits_for_handlers() {
    let bus = Bus::<u32>::new();
    let _slow = bus.subscribe("slow").handler(|_| tokio::time::sleep(Duration::from_secs(5))).unwrap();
    let _quick = bus.subscribe("quick").handler(|_| std::future::ready(())).unwrap();
    let idle = bus.subscribe("idle").receiver().unwrap();
    bus.publish(0).await.unwrap();
    let error = bus.drain_within(Duration::from_secs(1)).await.unwrap_err();
    assert_eq!(error.stuck, ["slow", "idle"]);
    assert_eq!(error.to_string(), "not drained in time: slow, idle");
    drop(idle);
    assert_eq!(bus.drain_within(Duration::from_secs(5)).await, Ok(()));
}

#[tokio::test]
async fn the_last_publisher_closes_the_bus() {
    let bus = Bus::<u32>::new();
    let mut subscriber = bus.subscribe("reader").receiver().unwrap();
    let clone = bus.clone();
    drop(bus);
    clone.publish(1).await.unwrap();
    drop(clone);
    assert_eq!(event(&mut subscriber).await, 1);
    assert_eq!(timeout(SOON, subscriber.recv()).await, Ok(Err(RecvError::Closed)));
}

#[tokio::test]
async fn a_handler_ends_when_it_is_stopped_or_dropped_and_stays_when_it_is_detached() {
    let bus = Bus::<u32>::new();
    let sum = Arc::new(AtomicUsize::new(0));
    let handler = |by: usize| {
        let sum = Arc::clone(&sum);
        bus.subscribe("sum").handler(move |_| {
            sum.fetch_add(by, Ordering::SeqCst);
            std::future::ready(())
        })
    };
    let (stopped, dropped, detached) = (handler(1).unwrap(), handler(10).unwrap(), handler(100).unwrap());
    stopped.stop().await;
    drop(dropped);
    detached.detach();
    while bus.stats().subscribers.len() > 1 {
        tokio::task::yield_now().await;
    }
    bus.publish(0).await.unwrap();
    timeout(SOON, bus.drain()).await.expect("drained in time");
    assert_eq!(sum.load(Ordering::SeqCst), 100);
}

#[tokio::test]
async fn a_late_subscriber_sees_the_last_events_if_it_asks() {
    let bus = Bus::<u32>::builder().capacity(8).replay(3).build();
    for n in 0..6 {
        bus.publish(n).await.unwrap();
    }
    let mut late = bus.subscribe("late").replay(2).receiver().unwrap();
    let mut later = bus.subscribe("later").receiver().unwrap();
    bus.publish(6).await.unwrap();
    assert_eq!((event(&mut late).await, event(&mut late).await, event(&mut late).await), (4, 5, 6));
    assert_eq!(event(&mut later).await, 6);
}

#[test]
fn a_handler_without_a_runtime_is_refused() {
    let bus = Bus::<u32>::new();
    let error = bus.subscribe("nowhere").handler(|_| std::future::ready(())).unwrap_err();
    assert_eq!(error, SubscribeError::NoRuntime);
    assert!(bus.stats().subscribers.is_empty());
}

#[tokio::test]
async fn events_are_dropped_once_everybody_has_them() {
    let bus = Bus::<Arc<()>>::new();
    let probe = Arc::new(());
    let mut one = bus.subscribe("one").receiver().unwrap();
    let mut two = bus.subscribe("two").receiver().unwrap();
    bus.publish(Arc::clone(&probe)).await.unwrap();
    drop(one.recv().await.unwrap());
    assert_eq!(Arc::strong_count(&probe), 2);
    drop(two.recv().await.unwrap());
    assert_eq!(Arc::strong_count(&probe), 1);
}

#[cfg(feature = "stream")]
#[tokio::test]
async fn b1_b2_a_subscriber_is_a_stream_that_ends_with_the_bus_or_with_why_it_was_cut_off() {
    async fn next<S: futures_core::Stream + Unpin>(stream: &mut S) -> Option<S::Item> {
        timeout(SOON, poll_fn(|cx| std::pin::Pin::new(&mut *stream).poll_next(cx))).await.expect("in time")
    }
    let bus = Bus::<u32>::builder().capacity(4).build();
    let mut steady = bus.subscribe("steady").receiver().unwrap();
    let mut lossy = bus.subscribe("lossy").policy(Policy::DropOldest).limit(1).receiver().unwrap();
    let mut cut = bus.subscribe("cut").policy(Policy::Disconnect).limit(1).receiver().unwrap();
    for n in 0..3 {
        bus.publish(n).await.unwrap();
    }
    for n in 0..3 {
        assert_eq!(next(&mut steady).await, Some(Ok(Received::Event(Arc::new(n)))));
    }
    assert_eq!(next(&mut lossy).await, Some(Ok(Received::Gap(Gap { first: 0, missed: 2 }))));
    assert_eq!(next(&mut lossy).await, Some(Ok(Received::Event(Arc::new(2)))));
    assert_eq!(next(&mut cut).await, Some(Err(RecvError::Disconnected { missed: 3 })));
    assert_eq!(next(&mut cut).await, None);
    bus.close();
    assert_eq!((next(&mut steady).await, next(&mut lossy).await), (None, None));
    assert_eq!(next(&mut steady).await, None, "and again");
}

/// How often somebody was woken.
#[derive(Default)]
struct Wakes(AtomicUsize);

impl Wake for Wakes {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

#[test]
fn who_got_several_events_looks_again_once_before_it_is_woken_for_each() {
    let wakes = Arc::new(Wakes::default());
    let waker = Waker::from(Arc::clone(&wakes));
    let mut cx = Context::from_waker(&waker);
    let bus = Bus::new();
    let mut subscriber = bus.subscribe("reader").receiver().unwrap();
    let woken = || wakes.0.load(Ordering::Relaxed);
    for (events, looks) in [(1, 0), (2, 1), (1, 0), (3, 1)] {
        for event in 0..events {
            bus.try_publish(event).unwrap();
        }
        for event in 0..events {
            let Poll::Ready(Ok(received)) = subscriber.poll_recv(&mut cx) else { panic!("no event {event}") };
            assert_eq!(received.event().as_deref(), Some(&event));
        }
        let before = woken();
        for _ in 0..=looks {
            assert!(subscriber.poll_recv(&mut cx).is_pending());
        }
        assert_eq!(woken(), before + looks, "after {events} events");
        bus.try_publish(7).unwrap();
        assert_eq!(woken(), before + looks + 1, "it parks after {looks} looks");
        assert!(subscriber.poll_recv(&mut cx).is_ready() && subscriber.poll_recv(&mut cx).is_pending());
    }
}
