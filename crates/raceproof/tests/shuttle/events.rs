//! The bus: B1, B2, B3, with publishers and subscribers that give up at any await.

use std::sync::Arc;

use raceproof::events::{Bus, Policy, PublishError, Received, RecvError, Subscriber};
use shuttle::future::{JoinHandle, block_on, spawn, yield_now};
use shuttle::sync::Mutex;
use shuttle::sync::atomic::{AtomicU32, Ordering};

use super::{check, finish, given_up_after, polls};

/// A publisher's number and its event's.
type Event = (u32, u32);

/// Everything that comes, and the number of events in gaps.
fn read_all(mut subscriber: Subscriber<Event>) -> JoinHandle<(Vec<Event>, u64, RecvError)> {
    spawn(async move {
        let (mut seen, mut missed) = (Vec::new(), 0);
        loop {
            // A future that is given up has taken nothing with it.
            let polls = polls(4);
            let received = match given_up_after(polls, subscriber.recv()).await {
                Some(received) => received,
                None => subscriber.recv().await,
            };
            match received {
                Ok(Received::Event(event)) => seen.push(*event),
                Ok(Received::Gap(gap)) => missed += gap.missed,
                Ok(other) => panic!("{other:?}"),
                Err(error) => return (seen, missed, error),
            }
        }
    })
}

fn publishers(bus: &Bus<Event>, events: u32) -> Vec<JoinHandle<()>> {
    let publisher = |publisher| {
        let bus = bus.clone();
        spawn(async move {
            for n in 0..events {
                bus.publish((publisher, n)).await.unwrap();
            }
        })
    };
    (0..2).map(publisher).collect()
}

#[test]
fn b1_b2_everybody_sees_one_order_and_loses_nothing() {
    check(|| {
        block_on(async {
            let bus = Bus::<Event>::builder().capacity(2).build();
            let readers = ["one", "two"].map(|name| read_all(bus.subscribe(name).receiver().unwrap()));
            finish(publishers(&bus, 3)).await;
            bus.close();
            let seen = finish(readers).await;
            assert_eq!(seen[0], seen[1], "B1: two orders");
            let (events, missed, error) = &seen[0];
            assert_eq!((events.len(), *missed, *error), (6, 0, RecvError::Closed));
            for publisher in 0..2 {
                let own = events.iter().filter(|(by, _)| *by == publisher).map(|(_, n)| *n);
                assert!(own.eq(0..3), "B1: a publisher's own order");
            }
        });
    });
}

#[test]
fn b2_a_publisher_that_gives_up_has_published_or_never_will() {
    check(|| {
        block_on(async {
            let bus = Bus::<Event>::builder().capacity(1).build();
            let reader = read_all(bus.subscribe("reader").receiver().unwrap());
            let publisher = |publisher| {
                let (bus, polls) = (bus.clone(), polls(4));
                spawn(async move {
                    let done = given_up_after(polls, bus.publish((publisher, 0))).await;
                    done.map(|published| (publisher, published.unwrap().offset))
                })
            };
            let mut published = finish((0..3).map(publisher).collect::<Vec<_>>()).await;
            // Nobody behind one who gave up is held up.
            let last = bus.publish((9, 0)).await.unwrap();
            published.push(Some((9, last.offset)));
            assert_eq!(bus.stats().publishers_waiting, 0);
            bus.close();
            let (seen, _, _) = reader.await.unwrap();
            for (publisher, offset) in published.into_iter().flatten() {
                assert_eq!(seen.get(offset as usize), Some(&(publisher, 0)), "B2: what is said to be published is");
            }
            let mut publishers: Vec<u32> = seen.iter().map(|(publisher, _)| *publisher).collect();
            publishers.sort_unstable();
            publishers.dedup();
            assert_eq!(publishers.len(), seen.len(), "B2: an event was published twice");
        });
    });
}

#[test]
fn b2_whoever_loses_is_told_of_each_and_slows_nobody() {
    check(|| {
        block_on(async {
            let bus = Bus::<Event>::builder().capacity(4).build();
            let lossy = bus.subscribe("lossy").policy(Policy::DropOldest).limit(1).receiver().unwrap();
            let cut = bus.subscribe("cut").policy(Policy::Disconnect).limit(1).receiver().unwrap();
            let (lossy, cut) = (read_all(lossy), read_all(cut));
            for n in 0..4 {
                bus.try_publish((0, n)).expect("nobody is waited for");
                yield_now().await;
            }
            bus.close();
            let (seen, missed, error) = lossy.await.unwrap();
            assert_eq!((seen.len() as u64 + missed, error), (4, RecvError::Closed), "B2: a loss without a gap");
            assert_eq!(seen.last(), Some(&(0, 3)), "B2: it loses the oldest");
            let (seen, missed, error) = cut.await.unwrap();
            match error {
                RecvError::Closed => assert_eq!((seen.len(), missed), (4, 0)),
                RecvError::Disconnected { missed } => assert!(missed > 1 && seen.len() as u64 + missed <= 4),
                other => panic!("{other}"),
            }
            assert!(seen.iter().map(|(_, n)| *n).eq(0..seen.len() as u32), "B2: a hole without a word");
        });
    });
}

#[test]
fn b2_a_subscriber_that_goes_lets_publishers_go_on() {
    check(|| {
        block_on(async {
            let bus = Bus::<Event>::builder().capacity(1).build();
            let stuck = bus.subscribe("stuck").receiver().unwrap();
            let reader = read_all(bus.subscribe("reader").receiver().unwrap());
            let publishers = publishers(&bus, 2);
            let goes = spawn(async move {
                for _ in 0..polls(4) {
                    yield_now().await;
                }
                drop(stuck);
            });
            // That it ends is the proof: shuttle fails a test whose tasks all wait.
            finish(publishers).await;
            goes.await.unwrap();
            bus.close();
            assert_eq!(reader.await.unwrap().0.len(), 4);
        });
    });
}

#[test]
fn closing_gives_each_event_to_the_readers_or_back() {
    check(|| {
        block_on(async {
            let bus = Bus::<Event>::builder().capacity(1).build();
            let reader = read_all(bus.subscribe("reader").receiver().unwrap());
            let publisher = |publisher| {
                let bus = bus.clone();
                spawn(async move {
                    match bus.publish((publisher, 0)).await {
                        Ok(_) => true,
                        Err(PublishError::Closed(event)) => {
                            assert_eq!(event, (publisher, 0));
                            false
                        }
                        Err(other) => panic!("{other}"),
                    }
                })
            };
            let publishers: Vec<_> = (0..3).map(publisher).collect();
            yield_now().await;
            // Closes, and waits until the reader has had everything.
            bus.drain().await;
            let published = finish(publishers).await.into_iter().filter(|published| *published).count();
            assert_eq!(reader.await.unwrap().0.len(), published);
        });
    });
}

#[test]
fn b1_b3_a_handler_takes_one_at_a_time_and_goes_on_after_a_panic() {
    check(|| {
        block_on(async {
            let reports = Arc::new(AtomicU32::new(0));
            let count = Arc::clone(&reports);
            let hook = move |_: &_| {
                count.fetch_add(1, Ordering::SeqCst);
            };
            let bus: Bus<Event> = Bus::<Event>::builder().capacity(2).on_panic(hook).build();
            let (inside, handled) = (Arc::new(AtomicU32::new(0)), Arc::new(Mutex::new(Vec::new())));
            let (visits, log) = (Arc::clone(&inside), Arc::clone(&handled));
            let handler = bus.subscribe("handler").handler(move |event| {
                let (inside, handled) = (Arc::clone(&visits), Arc::clone(&log));
                async move {
                    if event.1 == 1 {
                        // Not a panic that prints: there are many.
                        std::panic::resume_unwind(Box::new("one"));
                    }
                    assert_eq!(inside.fetch_add(1, Ordering::SeqCst), 0, "B1: two at a time");
                    yield_now().await;
                    inside.fetch_sub(1, Ordering::SeqCst);
                    handled.lock().unwrap().push(event.1);
                }
            });
            let handler = handler.unwrap();
            let publisher = spawn({
                let bus = bus.clone();
                async move {
                    for n in 0..4 {
                        bus.publish((0, n)).await.unwrap();
                    }
                }
            });
            publisher.await.unwrap();
            bus.drain().await;
            handler.stop().await;
            assert_eq!(*handled.lock().unwrap(), [0, 2, 3]);
            assert_eq!(reports.load(Ordering::SeqCst), 1, "B3: each panic is reported");
        });
    });
}
