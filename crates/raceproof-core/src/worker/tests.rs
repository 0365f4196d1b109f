use std::time::Duration;

use super::sequential::{Sequential, Taken};
use super::{Config, Next, OfferError, RequestId, Terms, WorkerId};
use crate::task::Backoff;
use crate::time::Time;

const NOW: Time = Time::from_millis(1_000);
const ONE: WorkerId = WorkerId(0);
const TWO: WorkerId = WorkerId(1);

type TestMailbox = Sequential<u32, &'static str>;
type Offered = Result<(RequestId, Option<&'static str>), OfferError<u32>>;

fn mailbox(capacity: usize, workers: usize) -> TestMailbox {
    Sequential::new(Config { capacity, workers, ..Config::default() })
}

fn take(mailbox: &mut TestMailbox) -> Taken<u32> {
    mailbox.take(NOW, &mut Vec::new())
}

fn offer(mailbox: &mut TestMailbox, request: u32) -> Offered {
    mailbox.offer(request, Terms::new(), NOW, &mut Vec::new())
}

fn offer_until(mailbox: &mut TestMailbox, request: u32, deadline: Time, expired: &mut Vec<u32>) -> Offered {
    mailbox.offer(request, Terms { deadline: Some(deadline), ..Terms::new() }, NOW, expired)
}

#[test]
fn requests_are_handed_out_in_their_order() {
    let mut mailbox = mailbox(8, 1);
    for request in 0..3 {
        offer(&mut mailbox, request).unwrap();
    }
    for request in 0..3 {
        assert_eq!(take(&mut mailbox), Taken::Request(request));
    }
    assert_eq!(take(&mut mailbox), Taken::Empty);
    assert_eq!((mailbox.waiting(), mailbox.mailbox.in_hand()), (0, 3));
}

#[test]
fn t3_an_abandoned_request_is_not_handed_out_and_holds_no_place() {
    let mut mailbox = mailbox(2, 1);
    let (gone, _) = offer(&mut mailbox, 0).unwrap();
    offer(&mut mailbox, 1).unwrap();
    assert_eq!(offer(&mut mailbox, 9), Err(OfferError::Full(9)));
    assert_eq!(mailbox.abandon(gone), Some(0));
    assert_eq!(mailbox.abandon(gone), None);
    offer(&mut mailbox, 2).unwrap();
    assert_eq!(take(&mut mailbox), Taken::Request(1));
    assert_eq!(take(&mut mailbox), Taken::Request(2));
    assert_eq!(take(&mut mailbox), Taken::Empty);
}

#[test]
fn t3_a_request_whose_time_is_over_is_not_handed_out() {
    let mut mailbox = mailbox(4, 1);
    let mut expired = Vec::new();
    offer_until(&mut mailbox, 0, NOW, &mut expired).unwrap();
    offer_until(&mut mailbox, 1, NOW + Duration::from_micros(1), &mut expired).unwrap();
    assert_eq!(mailbox.take(NOW, &mut expired), Taken::Request(1));
    assert_eq!(expired, [0]);
    assert!(!mailbox.mailbox.is_timed());
    assert_eq!(mailbox.counters().expired, 1);
}

#[test]
fn t3_a_request_whose_time_is_over_holds_no_place() {
    for in_mailbox in [false, true] {
        let mut mailbox = mailbox(2, 1);
        let mut expired = Vec::new();
        offer_until(&mut mailbox, 0, NOW + Duration::from_micros(1), &mut expired).unwrap();
        offer_until(&mut mailbox, 1, NOW, &mut expired).unwrap();
        if in_mailbox {
            mailbox.mailbox.refill(&mut mailbox.inbox);
        }
        assert!(offer(&mut mailbox, 2).is_ok(), "one has not to be begun any more");
        assert_eq!(offer(&mut mailbox, 3), Err(OfferError::Full(3)));
        assert_eq!((take(&mut mailbox), take(&mut mailbox)), (Taken::Request(0), Taken::Request(2)));
        assert_eq!((mailbox.counters().expired, mailbox.counters().refused), (1, 1));
    }
}

#[test]
fn a_patient_caller_waits_for_room_and_is_not_overtaken() {
    let mut mailbox: TestMailbox = Sequential::new(Config { capacity: 1, patient_max: 1, ..Config::default() });
    let patient = |mailbox: &mut TestMailbox, request| {
        mailbox.offer(request, Terms { patient: true, ..Terms::new() }, NOW, &mut Vec::new())
    };
    patient(&mut mailbox, 0).unwrap();
    let (second, _) = patient(&mut mailbox, 1).unwrap();
    let waiting = mailbox.mailbox.waiting(&mailbox.inbox);
    assert_eq!((waiting.requests, waiting.patient), (1, 1));
    assert_eq!(patient(&mut mailbox, 2), Err(OfferError::TooManyWaiting(2)));
    assert_eq!(offer(&mut mailbox, 3), Err(OfferError::Full(3)));
    assert_eq!(take(&mut mailbox), Taken::Request(0));
    assert_eq!(offer(&mut mailbox, 4), Err(OfferError::Full(4)), "the patient one came first");
    assert_eq!(mailbox.abandon(second), Some(1));
    offer(&mut mailbox, 5).unwrap();
    assert_eq!(take(&mut mailbox), Taken::Request(5));
    assert_eq!(mailbox.counters().refused, 3);
}

#[test]
fn t3_a_request_in_hand_cannot_be_taken_back() {
    let mut mailbox = mailbox(4, 1);
    let (id, _) = offer(&mut mailbox, 0).unwrap();
    take(&mut mailbox);
    assert_eq!(mailbox.abandon(id), None);
    assert_eq!(mailbox.mailbox.in_hand(), 1);
}

#[test]
fn t3_abandoned_requests_between_two_that_wait_take_no_memory() {
    let entries = |mailbox: &TestMailbox| mailbox.mailbox.queue.entries() + mailbox.inbox.queue.entries();
    let mut mailbox = mailbox(4, 1);
    offer(&mut mailbox, 0).unwrap();
    // Each goes when there is one behind it, so that it is neither the first nor the last.
    let (mut last, _) = offer(&mut mailbox, 1).unwrap();
    for request in 2..10_000 {
        let (next, _) = offer(&mut mailbox, request).unwrap();
        mailbox.abandon(last);
        last = next;
        assert!(entries(&mailbox) <= 8, "{} entries for two requests", entries(&mailbox));
    }
    mailbox.abandon(last);
    assert_eq!(entries(&mailbox), 1);
}

#[test]
fn each_request_wakes_one_worker_and_the_last_that_parked_first() {
    let mut mailbox = mailbox(8, 2);
    assert_eq!(mailbox.park(ONE, "one"), (true, None));
    assert_eq!(mailbox.park(TWO, "two"), (true, None));
    assert_eq!(mailbox.park(ONE, "one again"), (true, Some("one")));
    assert_eq!(offer(&mut mailbox, 0).unwrap().1, Some("two"));
    assert_eq!(offer(&mut mailbox, 1).unwrap().1, Some("one again"));
    assert_eq!(offer(&mut mailbox, 2).unwrap().1, None);
    assert_eq!(mailbox.park(TWO, "late"), (false, Some("late")), "there is something to take");
}

#[test]
fn a_worker_that_goes_away_after_it_was_woken_wakes_another() {
    let mut mailbox = mailbox(8, 2);
    mailbox.park(ONE, "one");
    mailbox.park(TWO, "two");
    assert_eq!(offer(&mut mailbox, 0).unwrap().1, Some("two"));
    assert_eq!(mailbox.gone(TWO), (vec![], Some("one")));
    assert_eq!(mailbox.gone(ONE), (vec![0], None), "the last one gives back what waits");
    assert_eq!(offer(&mut mailbox, 1), Err(OfferError::Stopped(1)));
}

#[test]
fn t1_a_panic_keeps_what_waits_and_pauses_for_longer_each_time() {
    let backoff = Backoff { restarts_max: 3, first: Duration::from_millis(10), ..Backoff::default() };
    let mut mailbox: TestMailbox = Sequential::new(Config { backoff, ..Config::default() });
    let mut pauses = Vec::new();
    for request in 0..4 {
        offer(&mut mailbox, request).unwrap();
    }
    for _ in 0..3 {
        take(&mut mailbox);
        let Next::Restart { after } = mailbox.panicked(ONE) else { panic!("it goes on") };
        pauses.push(after);
    }
    assert_eq!(pauses[0], Duration::ZERO);
    assert!((5..=10).contains(&pauses[1].as_millis()) && (10..=20).contains(&pauses[2].as_millis()), "{pauses:?}");
    assert_eq!((mailbox.waiting(), mailbox.mailbox.in_hand()), (1, 0));
    take(&mut mailbox);
    assert_eq!(mailbox.panicked(ONE), Next::GiveUp);
}

#[test]
fn t1_an_answer_ends_a_row_of_panics() {
    let mut mailbox = mailbox(8, 1);
    for request in 0..5 {
        offer(&mut mailbox, request).unwrap();
        take(&mut mailbox);
        assert_eq!(mailbox.panicked(ONE), Next::Restart { after: Duration::ZERO });
        offer(&mut mailbox, request).unwrap();
        take(&mut mailbox);
        mailbox.done(ONE);
    }
}

#[test]
fn draining_hands_out_what_waits_and_stopping_gives_it_back() {
    for stop in [false, true] {
        let mut mailbox = mailbox(8, 1);
        mailbox.park(ONE, "one");
        offer(&mut mailbox, 0).unwrap();
        let mut wakes = Vec::new();
        if stop {
            assert_eq!(mailbox.stop(&mut wakes), [0]);
        } else {
            mailbox.drain(&mut wakes);
            assert_eq!(take(&mut mailbox), Taken::Request(0));
        }
        assert_eq!(take(&mut mailbox), Taken::Stopped);
        assert_eq!(offer(&mut mailbox, 1), Err(OfferError::Stopped(1)));
        assert_eq!(mailbox.park(ONE, "late"), (false, Some("late")));
    }
}
