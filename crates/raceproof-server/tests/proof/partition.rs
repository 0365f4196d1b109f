//! A network that delays, drops and cuts. L8: a holder behind a cut stops believing before anybody else is granted what
//! it held, whichever way is cut; it comes back by itself; and nothing that arrives late brings anything back.

use std::time::Duration;

use raceproof::{AcquireError, ConnectionState, LostReason, clock};
use tokio::time::{Instant, timeout};

use crate::proxy::{Proxy, Way};
use crate::support::{PATIENCE, client, lock_until, start};

const TTL: Duration = Duration::from_secs(3);
/// Less than a third of the lease, so that renewals get through, and far more than the margin for drift.
const DELAY: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l8_a_holder_behind_a_cut_in_both_directions_stops_believing_before_its_rival_is_granted() {
    behind_a_cut(&[Way::Up, Way::Down], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l8_the_same_if_only_what_the_holder_sends_is_lost() {
    behind_a_cut(&[Way::Up], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l8_the_same_if_only_what_the_holder_should_hear_is_lost() {
    behind_a_cut(&[Way::Down], &[]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l8_the_same_if_the_last_answers_were_long_on_their_way() {
    behind_a_cut(&[Way::Up, Way::Down], &[Way::Down]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l8_the_same_if_the_last_renewals_were_long_on_their_way() {
    behind_a_cut(&[Way::Up, Way::Down], &[Way::Up]).await;
}

async fn behind_a_cut(cut: &[Way], slow: &[Way]) {
    let server = start().await;
    let proxy = Proxy::start(server).await;
    let holder = client(proxy.addr, TTL).name("holder").connect().await.unwrap();
    let rival = client(server, PATIENCE).name("rival").connect().await.unwrap();
    let guard = holder.lock("x").acquire().await.unwrap();
    for way in slow {
        proxy.delay(*way, DELAY);
    }
    // Some renewals are answered under these conditions, so that the lease that counts is one of them.
    for _ in 0..4 {
        let before = guard.deadline();
        let end = Instant::now() + PATIENCE;
        while guard.deadline() == before {
            assert!(Instant::now() < end, "no renewal");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    assert!(guard.is_valid());
    let waits = tokio::spawn({
        let lock = rival.lock("x").wait(PATIENCE);
        async move { lock.acquire().await.map(|guard| (guard, clock::now())) }
    });
    lock_until(server, "x", |lock| lock["waiters_count"] == 1).await;
    let lost = tokio::spawn(guard.lost());
    for way in cut {
        proxy.cut(*way);
    }

    let (rivals, granted) = timeout(PATIENCE, waits).await.unwrap().unwrap().unwrap();
    assert!(guard.deadline() <= granted, "believed until {:?}, the rival was told at {granted:?}", guard.deadline());
    assert!(!guard.is_valid());
    assert!(rivals.is_valid() && rivals.token() > guard.token());
    assert_eq!(timeout(PATIENCE, lost).await.unwrap().unwrap(), LostReason::Expired);

    // The server hears and says late what was held back.
    proxy.heal();
    let again = timeout(PATIENCE, holder.lock("y").wait(PATIENCE).acquire()).await.unwrap().unwrap();
    assert!(again.is_valid() && again.token() > rivals.token());
    assert!(!guard.is_valid());
    assert!(rivals.is_valid());
    let refused = holder.lock("x").try_acquire().await;
    assert!(matches!(&refused, Err(AcquireError::Held(_))), "{refused:?}");
    assert!(guard.release().await.is_err(), "what was lost cannot be given back");
    assert!(rivals.is_valid());
    rivals.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l11_a_holder_whose_connection_breaks_again_and_again_comes_back_and_keeps_its_lock() {
    let server = start().await;
    let proxy = Proxy::start(server).await;
    let holder = client(proxy.addr, Duration::from_secs(30)).connect().await.unwrap();
    let guard = holder.lock("x").acquire().await.unwrap();
    let mut states = holder.connection_states();
    for round in 1..=10 {
        proxy.break_all();
        let back = async {
            while proxy.accepted() <= round || *states.borrow_and_update() != ConnectionState::Connected {
                let _ = timeout(Duration::from_millis(5), states.changed()).await;
            }
        };
        timeout(PATIENCE, back).await.unwrap();
        assert!(guard.is_valid(), "after break {round}: {:?}", guard.lost_reason());
        let other = holder.lock("y").acquire().await.unwrap();
        assert!(other.token() > guard.token());
        other.release().await.unwrap();
    }
    let lock = lock_until(server, "x", |_| true).await;
    assert_eq!(lock["holders"][0]["token"], guard.token().as_u64(), "{lock}");
    guard.release().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn l4_a_wait_that_was_cancelled_behind_a_cut_is_over_at_the_server_once_it_hears_of_it() {
    let server = start().await;
    let proxy = Proxy::start(server).await;
    let waiter = client(proxy.addr, Duration::from_secs(30)).connect().await.unwrap();
    let direct = client(server, Duration::from_secs(30)).connect().await.unwrap();
    let held = direct.lock("x").acquire().await.unwrap();
    let waits = tokio::spawn({
        let lock = waiter.lock("x").wait(PATIENCE);
        async move { lock.acquire().await }
    });
    lock_until(server, "x", |lock| lock["waiters_count"] == 1).await;
    proxy.cut(Way::Up);
    waits.abort();
    assert!(waits.await.unwrap_err().is_cancelled());
    // The server does not know, and grants it: nobody claims that, so it passes on.
    held.release().await.unwrap();
    proxy.heal();
    let next = timeout(PATIENCE, direct.lock("x").wait(PATIENCE).acquire()).await.unwrap().unwrap();
    next.release().await.unwrap();
}
