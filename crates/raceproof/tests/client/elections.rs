//! Elections over a server.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use raceproof::wire::Page;
use raceproof::{CampaignError, LostReason, Raceproof, TransferError};

use crate::place::{Mode, Proxy, Running, soon};

async fn until_candidates(rp: &Raceproof, wanted: usize) {
    soon(async {
        while rp.election_info("e").await.unwrap().candidates.len() != wanted {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn e1_e2_e3_campaign_observe_resign() {
    let server = Running::start().await;
    let (one, two) = (server.client().await, server.client().await);
    let mut observer = two.election("e").observe().unwrap();
    assert_eq!(soon(observer.next()).await.unwrap().leader, None);
    let first = soon(one.election("e").campaign("one:1")).await.unwrap();
    let seen = soon(observer.next()).await.unwrap().leader.unwrap();
    assert_eq!((seen.term, &*seen.value), (first.term(), "one:1"));

    let second = tokio::spawn({
        let two = two.clone();
        async move { two.election("e").campaign("two:2").await }
    });
    until_candidates(&one, 1).await;
    let term = first.term();
    soon(first.resign()).await.unwrap();
    let second = soon(second).await.unwrap().unwrap();
    assert!(second.term() > term);
    let mut seen = soon(observer.next()).await.unwrap();
    if seen.leader.is_none() {
        seen = soon(observer.next()).await.unwrap();
    }
    assert_eq!(seen.leader.map(|leader| leader.term), Some(second.term()));
}

#[tokio::test]
async fn elections_are_listed_over_a_server_as_within_one_process() {
    let server = Running::start().await;
    for rp in [server.client().await, Raceproof::local()] {
        let mut leaders = Vec::new();
        for name in ["e/2", "e/1", "f"] {
            leaders.push(soon(rp.election(name).campaign(name)).await.unwrap());
        }
        let page = Page { prefix: "e/".into(), limit: 1, ..Page::default() };
        let first = soon(rp.elections(page.clone())).await.unwrap();
        let next = soon(rp.elections(Page { after: first.next.clone(), ..page })).await.unwrap();
        assert_eq!((first.next.as_deref(), next.next), (Some("e/1"), None));
        for (page, leader) in [(first.elections, &leaders[1]), (next.elections, &leaders[0])] {
            assert_eq!(page.len(), 1);
            assert_eq!((page[0].leader.as_ref(), page[0].candidates_count), (Some(leader.leader()), Some(0)));
        }
    }
}

#[tokio::test]
async fn e6_a_leader_that_is_cut_off_is_told_before_its_successor_leads() {
    let server = Running::start().await;
    let proxy = Proxy::before(server.addr).await;
    let one = soon(proxy.builder().ttl(Duration::from_millis(600)).connect()).await.unwrap();
    let two = server.client().await;
    let first = soon(one.election("e").campaign("one")).await.unwrap();
    let told = Arc::new(Mutex::new(None));
    let at = Arc::clone(&told);
    first.on_loss(move |reason| *at.lock().unwrap() = Some((reason, tokio::time::Instant::now())));
    let second = tokio::spawn(async move { (two.election("e").campaign("two").await, tokio::time::Instant::now()) });
    proxy.set(Mode::Hold);
    let (second, elected) = soon(second).await.unwrap();
    let (reason, told) = told.lock().unwrap().expect("nobody told it");
    assert_eq!(reason, LostReason::Expired);
    assert!(told < elected && second.unwrap().term() > first.term() && !first.is_valid());
}

#[tokio::test]
async fn e6_a_candidate_whose_session_ends_is_told() {
    let server = Running::start().await;
    let (one, two) = (server.client().await, server.client().await);
    let _leads = soon(one.election("e").campaign("one")).await.unwrap();
    let candidate = tokio::spawn({
        let two = two.clone();
        async move { two.election("e").campaign("two").await }
    });
    until_candidates(&one, 1).await;
    soon(raceproof::end_session(&server.url(), None, two.session_key().unwrap())).await.unwrap();
    let result = soon(candidate).await.unwrap();
    assert!(matches!(result, Err(CampaignError::Lost(_))), "{result:?}");
}

#[tokio::test]
async fn e7_a_leadership_is_handed_over_and_its_hook_runs_first() {
    let server = Running::start().await;
    let (one, two) = (server.client().await, server.client().await);
    let first = soon(one.election("e").campaign("one")).await.unwrap();
    let stranger = raceproof::SessionId::new(9_999);
    let Err(TransferError::NotCandidate(first)) = soon(first.transfer(stranger)).await else { panic!("handed over") };
    assert!(first.is_valid(), "it leads on");

    let order = Arc::new(Mutex::new(Vec::new()));
    let hook = Arc::clone(&order);
    first.on_loss(move |_| hook.lock().unwrap().push("lost"));
    let second = tokio::spawn({
        let (two, order) = (two.clone(), Arc::clone(&order));
        async move {
            let second = two.election("e").campaign("two").await;
            order.lock().unwrap().push("elected");
            second
        }
    });
    until_candidates(&one, 1).await;
    let to = two.session_key().unwrap().id;
    soon(first.transfer(to)).await.unwrap();
    assert_eq!(soon(second).await.unwrap().unwrap().leader().session, to);
    assert_eq!(*order.lock().unwrap(), ["lost", "elected"]);
}
