use std::time::Duration;

use super::{Config, Mailbox, Next, OfferError, Taken, WorkerId};
use crate::task::Backoff;
use crate::time::Time;

const NOW: Time = Time::from_millis(1_000);
const ONE: WorkerId = WorkerId(0);
const TWO: WorkerId = WorkerId(1);

type TestMailbox = Mailbox<u32, &'static str>;

fn mailbox(capacity: usize, workers: usize) -> TestMailbox {
    Mailbox::new(Config { capacity, workers, ..Config::default() }, 7)
}

fn take(mailbox: &mut TestMailbox) -> Taken<u32> {
    mailbox.take(NOW, &mut Vec::new())
}

#[test]
fn requests_are_handed_out_in_their_order() {
    let mut mailbox = mailbox(8, 1);
    for request in 0..3 {
        mailbox.offer(request, None).unwrap();
    }
    for request in 0..3 {
        assert_eq!(take(&mut mailbox), Taken::Request(request));
    }
    assert_eq!(take(&mut mailbox), Taken::Empty);
    assert_eq!((mailbox.waiting(), mailbox.in_hand()), (0, 3));
}

#[test]
fn t3_an_abandoned_request_is_not_handed_out_and_holds_no_place() {
    let mut mailbox = mailbox(2, 1);
    let (gone, _) = mailbox.offer(0, None).unwrap();
    mailbox.offer(1, None).unwrap();
    assert_eq!(mailbox.offer(9, None), Err(OfferError::Full(9)));
    assert_eq!(mailbox.abandon(gone), Some(0));
    assert_eq!(mailbox.abandon(gone), None);
    mailbox.offer(2, None).unwrap();
    assert_eq!(take(&mut mailbox), Taken::Request(1));
    assert_eq!(take(&mut mailbox), Taken::Request(2));
    assert_eq!(take(&mut mailbox), Taken::Empty);
}

#[test]
fn t3_a_request_whose_time_is_over_is_not_handed_out() {
    let mut mailbox = mailbox(4, 1);
    mailbox.offer(0, Some(NOW)).unwrap();
    mailbox.offer(1, Some(NOW + Duration::from_micros(1))).unwrap();
    assert!(mailbox.is_timed());
    let mut expired = Vec::new();
    assert_eq!(mailbox.take(NOW, &mut expired), Taken::Request(1));
    assert_eq!(expired, [0]);
    assert!(!mailbox.is_timed());
    assert_eq!(mailbox.counters().expired, 1);
}

#[test]
fn t3_a_request_in_hand_cannot_be_taken_back() {
    let mut mailbox = mailbox(4, 1);
    let (id, _) = mailbox.offer(0, None).unwrap();
    take(&mut mailbox);
    assert_eq!(mailbox.abandon(id), None);
    assert_eq!(mailbox.in_hand(), 1);
}

#[test]
fn t3_abandoned_requests_behind_one_that_waits_take_no_memory() {
    let mut mailbox = mailbox(4, 1);
    mailbox.offer(0, None).unwrap();
    for request in 1..10_000 {
        let (id, _) = mailbox.offer(request, None).unwrap();
        let (next, _) = mailbox.offer(request, None).unwrap();
        mailbox.abandon(id);
        mailbox.abandon(next);
        assert!(mailbox.queue.len() <= 8, "{} entries for one request", mailbox.queue.len());
    }
}

#[test]
fn each_request_wakes_one_worker_and_the_last_that_parked_first() {
    let mut mailbox = mailbox(8, 2);
    assert_eq!(mailbox.park(ONE, "one"), (true, None));
    assert_eq!(mailbox.park(TWO, "two"), (true, None));
    assert_eq!(mailbox.park(ONE, "one again"), (true, Some("one")));
    assert_eq!(mailbox.offer(0, None).unwrap().1, Some("two"));
    assert_eq!(mailbox.offer(1, None).unwrap().1, Some("one again"));
    assert_eq!(mailbox.offer(2, None).unwrap().1, None);
    assert_eq!(mailbox.park(TWO, "late"), (false, Some("late")), "there is something to take");
}

#[test]
fn a_worker_that_goes_away_after_it_was_woken_wakes_another() {
    let mut mailbox = mailbox(8, 2);
    mailbox.park(ONE, "one");
    mailbox.park(TWO, "two");
    assert_eq!(mailbox.offer(0, None).unwrap().1, Some("two"));
    assert_eq!(mailbox.gone(TWO, false), (vec![], Some("one")));
    assert_eq!(mailbox.gone(ONE, false), (vec![0], None), "the last one gives back what waits");
    assert_eq!(mailbox.offer(1, None), Err(OfferError::Stopped(1)));
}

#[test]
fn t1_a_panic_keeps_what_waits_and_pauses_for_longer_each_time() {
    let backoff = Backoff { restarts_max: 3, first: Duration::from_millis(10), ..Backoff::default() };
    let mut mailbox: TestMailbox = Mailbox::new(Config { backoff, ..Config::default() }, 7);
    let mut pauses = Vec::new();
    for request in 0..4 {
        mailbox.offer(request, None).unwrap();
    }
    for _ in 0..3 {
        take(&mut mailbox);
        let Next::Restart { after } = mailbox.panicked(ONE, true) else { panic!("it goes on") };
        pauses.push(after);
    }
    assert_eq!(pauses[0], Duration::ZERO);
    assert!((5..=10).contains(&pauses[1].as_millis()) && (10..=20).contains(&pauses[2].as_millis()), "{pauses:?}");
    assert_eq!((mailbox.waiting(), mailbox.in_hand()), (1, 0));
    take(&mut mailbox);
    assert_eq!(mailbox.panicked(ONE, true), Next::GiveUp);
}

#[test]
fn t1_an_answer_ends_a_row_of_panics() {
    let mut mailbox = mailbox(8, 1);
    for request in 0..5 {
        mailbox.offer(request, None).unwrap();
        take(&mut mailbox);
        assert_eq!(mailbox.panicked(ONE, true), Next::Restart { after: Duration::ZERO });
        mailbox.offer(request, None).unwrap();
        take(&mut mailbox);
        mailbox.done(ONE);
    }
}

#[test]
fn draining_hands_out_what_waits_and_stopping_gives_it_back() {
    for stop in [false, true] {
        let mut mailbox = mailbox(8, 1);
        mailbox.park(ONE, "one");
        mailbox.offer(0, None).unwrap();
        let mut wakes = Vec::new();
        if stop {
            assert_eq!(mailbox.stop(&mut wakes), [0]);
        } else {
            mailbox.drain(&mut wakes);
            assert_eq!(take(&mut mailbox), Taken::Request(0));
        }
        assert_eq!(take(&mut mailbox), Taken::Stopped);
        assert_eq!(mailbox.offer(1, None), Err(OfferError::Stopped(1)));
        assert_eq!(mailbox.park(ONE, "late"), (false, Some("late")));
    }
}
