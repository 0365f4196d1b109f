//! Elections within one process.

use std::sync::{Arc, Mutex};

use raceproof_core::wire::LostReason;

use super::{assert_empty, inner};
use crate::{CampaignError, Raceproof};

#[tokio::test]
async fn e2_e3_observers_see_every_term_in_order() {
    let rp = Raceproof::local();
    let election = rp.election("primary");
    let mut observer = election.observe().unwrap();
    assert_eq!(observer.next().await.unwrap().leader, None);
    let mut last = None;
    for value in ["one", "two", "three"] {
        let leadership = election.campaign(value).await.unwrap();
        let leader = observer.next().await.unwrap().leader.expect("it leads");
        assert_eq!((&*leader.value, leader.term), (value, leadership.term()));
        assert!(last < Some(leader.term));
        last = Some(leader.term);
        leadership.resign().await.unwrap();
        assert_eq!(observer.next().await.unwrap().leader, None);
    }
    drop(observer);
    assert_empty(&rp);
}

#[tokio::test]
async fn e1_a_candidate_waits_for_the_leader() {
    let rp = Raceproof::local();
    let first = rp.election("e").campaign("first").await.unwrap();
    let tried = rp.election("e").wait(std::time::Duration::ZERO).campaign("second").await;
    assert!(matches!(tried, Err(CampaignError::Led(_))));
    let handle = rp.clone();
    let second = tokio::spawn(async move { handle.election("e").campaign("second").await });
    while rp.election("e").info().await.unwrap().candidates.is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(!second.is_finished());
    let term = first.term();
    drop(first);
    let second = second.await.unwrap().unwrap();
    assert!(second.term() > term);
    assert_eq!(rp.election_info("e").await.unwrap().leader.map(|leader| leader.term), Some(second.term()));
    drop(second);
    assert_empty(&rp);
}

#[tokio::test]
async fn e7_the_hook_runs_before_the_successor_leads() {
    let rp = Raceproof::local();
    let told = Arc::new(Mutex::new(Vec::new()));
    let first = rp.election("e").campaign("first").await.unwrap();
    let (local, term, seen) = (inner(&rp), first.term(), Arc::clone(&told));
    first.on_loss(move |reason| {
        let leader = local.ask(raceproof_core::wire::Request::Election { name: "e".into() }).unwrap();
        let raceproof_core::wire::Response::Election(state) = leader else { panic!("another answer") };
        seen.lock().unwrap().push((reason, state.leader.map(|leader| leader.term) == Some(term)));
    });
    let handle = rp.clone();
    let second = tokio::spawn(async move { handle.election("e").campaign("second").await });
    while rp.election("e").info().await.unwrap().candidates.is_empty() {
        tokio::task::yield_now().await;
    }
    let session = first.leader().session;
    first.transfer(session).await.unwrap();
    assert_eq!(*told.lock().unwrap(), [(LostReason::Released, true)]);
    drop(second.await.unwrap().unwrap());
    assert_empty(&rp);
}

#[tokio::test]
async fn e6_closing_tells_candidates_leaders_and_observers() {
    let rp = Raceproof::local();
    let leadership = rp.election("e").campaign("first").await.unwrap();
    let mut observer = rp.election("e").observe().unwrap();
    assert!(observer.next().await.unwrap().leader.is_some());
    let handle = rp.clone();
    let candidate = tokio::spawn(async move { handle.election("e").campaign("second").await });
    while rp.election("e").info().await.unwrap().candidates.is_empty() {
        tokio::task::yield_now().await;
    }
    rp.close().await.unwrap();
    assert!(matches!(candidate.await.unwrap(), Err(CampaignError::Closed)));
    assert_eq!(leadership.lost().await, LostReason::Ended);
    while observer.next().await.is_ok() {}
    assert!(rp.election("e").observe().is_err());
}
