use std::collections::VecDeque;

use super::{
    Bus, Config, Gap, Outputs, Policy, PublishError, Read, ReaderConfig, ReaderId, SubscribeError, WaitError, Writing,
};

type TestBus = Bus<u32, &'static str>;

fn bus(capacity: usize) -> TestBus {
    Bus::new(Config { capacity, ..Config::default() })
}

fn subscribe(bus: &mut TestBus, policy: Policy) -> ReaderId {
    bus.subscribe(ReaderConfig { policy, ..ReaderConfig::default() }).unwrap()
}

fn publish(bus: &mut TestBus, event: u32) -> Result<u64, PublishError<u32>> {
    bus.publish(event, &mut Outputs::default()).map(|published| published.offset)
}

fn read(bus: &mut TestBus, reader: ReaderId) -> (Read, Vec<u32>) {
    let mut taken = VecDeque::new();
    let read = bus.read(reader, usize::MAX, &mut taken, &mut Outputs::default());
    (read, taken.into())
}

#[test]
fn b1_events_come_in_the_order_of_publishing() {
    let mut bus = bus(4);
    let (one, two) = (subscribe(&mut bus, Policy::Wait), subscribe(&mut bus, Policy::Wait));
    for event in 0..4 {
        publish(&mut bus, event).unwrap();
    }
    assert_eq!(read(&mut bus, one), (Read::Events { first: 0, count: 4 }, vec![0, 1, 2, 3]));
    assert_eq!(bus.len(), 4, "the other has not read them");
    assert_eq!(read(&mut bus, two).1, [0, 1, 2, 3]);
    assert_eq!(bus.len(), 0);
    assert_eq!(read(&mut bus, one).0, Read::Empty);
}

#[test]
fn b2_a_full_subscriber_that_is_waited_for_holds_up_publishers_in_their_order() {
    let mut bus = bus(2);
    let slow = subscribe(&mut bus, Policy::Wait);
    publish(&mut bus, 0).unwrap();
    publish(&mut bus, 1).unwrap();
    assert_eq!(publish(&mut bus, 9), Err(PublishError::Full(9)));
    let out = &mut Outputs::default();
    let first = bus.enqueue(2, "first", out).unwrap();
    let second = bus.enqueue(3, "second", out).unwrap();
    assert_eq!(bus.poll_enqueued(first, "first again", out), Writing::Waiting);
    assert_eq!((out.wakes.as_slice(), out.spent_wakes.as_slice()), (&[][..], &["first"][..]));

    let (mut taken, mut out) = (VecDeque::new(), Outputs::default());
    bus.read(slow, 1, &mut taken, &mut out);
    assert_eq!(out.wakes, ["first again"], "there is room for one");
    assert_eq!(publish(&mut bus, 9), Err(PublishError::Full(9)), "the second came earlier");
    let mut out = Outputs::default();
    bus.read(slow, 8, &mut taken, &mut out);
    assert_eq!(out.wakes, ["second"]);
    for (writer, offset) in [(first, 2), (second, 3)] {
        let Writing::Published(published) = bus.poll_enqueued(writer, "", &mut out) else { panic!("not published") };
        assert_eq!(published.offset, offset);
    }
    assert_eq!(read(&mut bus, slow).1, [3]);
    assert_eq!(taken, [0, 1, 2]);
}

#[test]
fn b2_a_waiting_publisher_that_is_never_polled_holds_up_nobody() {
    let mut bus = bus(1);
    let slow = subscribe(&mut bus, Policy::Wait);
    publish(&mut bus, 0).unwrap();
    bus.enqueue(1, "never polled", &mut Outputs::default()).unwrap();
    assert_eq!(read(&mut bus, slow).1, [0]);
    assert_eq!(read(&mut bus, slow).1, [1], "its event was published for it");
    assert_eq!(publish(&mut bus, 2), Ok(2));
}

#[test]
fn b2_a_publisher_that_goes_away_takes_its_event_with_it() {
    let mut bus = bus(1);
    let slow = subscribe(&mut bus, Policy::Wait);
    publish(&mut bus, 0).unwrap();
    let gone = bus.enqueue(1, "gone", &mut Outputs::default()).unwrap();
    bus.enqueue(2, "stays", &mut Outputs::default()).unwrap();
    assert_eq!(bus.forget(gone, &mut Outputs::default()), Some(1));
    assert_eq!(read(&mut bus, slow).1, [0]);
    assert_eq!(read(&mut bus, slow).1, [2]);
}

#[test]
fn b2_a_full_subscriber_that_drops_finds_a_gap_and_slows_nobody() {
    let mut bus = bus(8);
    let wanted = ReaderConfig { policy: Policy::DropOldest, limit: Some(2), ..ReaderConfig::default() };
    let lossy = bus.subscribe(wanted).unwrap();
    let steady = subscribe(&mut bus, Policy::Wait);
    for event in 0..5 {
        publish(&mut bus, event).unwrap();
    }
    assert_eq!(read(&mut bus, lossy), (Read::Gap(Gap { first: 0, missed: 3 }), vec![]));
    assert_eq!(read(&mut bus, lossy), (Read::Events { first: 3, count: 2 }, vec![3, 4]));
    assert_eq!(read(&mut bus, steady).1, [0, 1, 2, 3, 4]);
    assert_eq!(bus.readers().find(|(id, _)| *id == lossy).unwrap().1.missed, 3);
    assert_eq!(bus.len(), 0);
}

#[test]
fn b2_a_full_subscriber_that_disconnects_is_told_and_gone() {
    let mut bus = bus(2);
    let cut = subscribe(&mut bus, Policy::Disconnect);
    for event in 0..2 {
        publish(&mut bus, event).unwrap();
    }
    assert_eq!(read(&mut bus, cut).1, [0, 1], "as far behind as it may be is not too far");
    for event in 2..5 {
        publish(&mut bus, event).unwrap();
    }
    assert_eq!(read(&mut bus, cut).0, Read::Disconnected(Gap { first: 2, missed: 3 }));
    assert_eq!(bus.readers().count(), 0);
    assert_eq!(bus.len(), 0, "nothing is kept for it");
}

#[test]
fn a_parked_subscriber_is_woken_once_for_many_events() {
    let mut bus = bus(8);
    let reader = subscribe(&mut bus, Policy::Wait);
    let mut out = Outputs::default();
    assert!(bus.park(reader, "asleep", &mut out));
    for event in 0..3 {
        bus.publish(event, &mut out).unwrap();
    }
    assert_eq!(out.wakes, ["asleep"]);
    assert!(!bus.park(reader, "too late", &mut out), "there is something to read");
}

#[test]
fn closing_gives_back_what_waits_and_lets_the_rest_be_read() {
    let mut bus = bus(1);
    let (reader, other) = (subscribe(&mut bus, Policy::Wait), subscribe(&mut bus, Policy::Wait));
    publish(&mut bus, 0).unwrap();
    assert_eq!(read(&mut bus, other).1, [0]);
    let mut out = Outputs::default();
    let waiting = bus.enqueue(1, "publisher", &mut out).unwrap();
    assert!(bus.park(other, "other", &mut out));
    bus.close(&mut out);
    assert_eq!(out.wakes, ["publisher", "other"]);
    assert_eq!(bus.poll_enqueued(waiting, "", &mut out), Writing::Closed(1));
    assert_eq!(publish(&mut bus, 2), Err(PublishError::Closed(2)));
    assert_eq!(bus.enqueue(2, "", &mut out), Err(WaitError::Closed(2)));
    assert_eq!(bus.subscribe(ReaderConfig::default()), Err(SubscribeError::Closed));

    let mut out = Outputs::default();
    assert_eq!(read(&mut bus, reader).1, [0], "what was published is read");
    assert_eq!(read(&mut bus, reader).0, Read::Closed);
    bus.unsubscribe(other, &mut out);
    assert!(out.emptied, "the last one is gone");
}

#[test]
fn a_late_subscriber_sees_the_last_events_if_it_asks() {
    let mut bus: TestBus = Bus::new(Config { capacity: 8, replay: 3, ..Config::default() });
    for event in 0..6 {
        publish(&mut bus, event).unwrap();
    }
    assert_eq!(bus.len(), 3);
    let two = bus.subscribe(ReaderConfig { replay: 2, ..ReaderConfig::default() }).unwrap();
    let all = bus.subscribe(ReaderConfig { replay: 99, ..ReaderConfig::default() }).unwrap();
    let none = subscribe(&mut bus, Policy::Wait);
    publish(&mut bus, 6).unwrap();
    assert_eq!(read(&mut bus, two).1, [4, 5, 6]);
    assert_eq!(read(&mut bus, all).1, [3, 4, 5, 6]);
    assert_eq!(read(&mut bus, none).1, [6]);
}

#[test]
fn every_limit_has_an_answer() {
    let mut bus: TestBus =
        Bus::new(Config { capacity: 1, subscribers_max: 1, publishers_waiting_max: 1, ..Config::default() });
    subscribe(&mut bus, Policy::Wait);
    assert_eq!(bus.subscribe(ReaderConfig::default()), Err(SubscribeError::TooMany { max: 1 }));
    publish(&mut bus, 0).unwrap();
    let out = &mut Outputs::default();
    bus.enqueue(1, "waits", out).unwrap();
    assert_eq!(bus.enqueue(2, "one too many", out), Err(WaitError::TooManyWaiting(2)));
}
