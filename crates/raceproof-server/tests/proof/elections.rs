//! Elections over a bad network and a server that is killed. E1, E6: a leader behind a cut stops believing before the
//! next is elected; E2, E3: whoever looks on sees terms in order, and the latest, through broken connections.

use std::time::Duration;

use raceproof::{CampaignError, LostReason, Raceproof, clock};
use tokio::time::timeout;

use crate::process::Process;
use crate::proxy::{Proxy, Way};
use crate::support::{PATIENCE, client, start};

const LEASE: Duration = Duration::from_secs(3);
const TERMS: usize = 24;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e6_a_leader_behind_a_cut_stops_believing_before_the_next_is_elected() {
    let server = start().await;
    for cut in [&[Way::Up, Way::Down][..], &[Way::Up], &[Way::Down]] {
        let proxy = Proxy::start(server).await;
        let leader = client(proxy.addr, LEASE).connect().await.unwrap();
        let next = client(server, PATIENCE).connect().await.unwrap();
        let leads = leader.election("primary").campaign("first").await.unwrap();
        let campaigns = tokio::spawn({
            let election = next.election("primary").wait(PATIENCE);
            async move { election.campaign("second").await.map(|leads| (leads, clock::now())) }
        });
        candidates(&next, 1).await;
        assert!(leads.is_valid());
        cut.iter().for_each(|way| proxy.cut(*way));

        let (elected, at) = timeout(PATIENCE, campaigns).await.unwrap().unwrap().unwrap();
        assert!(leads.deadline() <= at, "{cut:?}: believed until {:?}, elected at {at:?}", leads.deadline());
        assert!(!leads.is_valid() && elected.term() > leads.term(), "{cut:?}");
        assert_eq!(timeout(PATIENCE, leads.lost()).await.unwrap(), LostReason::Expired);
        proxy.heal();
        assert!(leads.resign().await.is_err(), "{cut:?}: a leader of the past has nothing to give up");
        assert!(elected.is_valid());
        elected.resign().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e6_a_candidate_whose_lease_ends_is_told_so_and_never_leads() {
    let server = start().await;
    let proxy = Proxy::start(server).await;
    let leader = client(server, PATIENCE).connect().await.unwrap();
    let leads = leader.election("primary").campaign("leader").await.unwrap();
    let candidate = client(proxy.addr, LEASE).connect().await.unwrap();
    let campaigns = tokio::spawn({
        let election = candidate.election("primary").wait(PATIENCE * 4);
        async move { election.campaign("candidate").await }
    });
    candidates(&leader, 1).await;
    proxy.cut(Way::Up);
    proxy.cut(Way::Down);
    // Its place in the queue goes with its lease.
    candidates(&leader, 0).await;
    let told = timeout(PATIENCE, campaigns).await.unwrap().unwrap();
    assert!(matches!(&told, Err(CampaignError::Lost(LostReason::Expired))), "{told:?}");
    proxy.heal();
    let term = leads.term();
    leads.resign().await.unwrap();
    let next = timeout(PATIENCE, leader.election("primary").wait(PATIENCE).campaign("next")).await.unwrap().unwrap();
    assert!(next.term() > term);
    next.resign().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn e3_who_looks_on_through_broken_connections_and_kills_sees_terms_in_order_and_the_latest() {
    let dir = tempfile::tempdir().unwrap();
    let (mut process, server) = Process::server(dir.path(), None).await;
    let (watched, worked) = (Proxy::start(server).await, Proxy::start(server).await);
    let observer = client(watched.addr, PATIENCE).connect().await.unwrap();
    let leader = client(worked.addr, PATIENCE).connect().await.unwrap();
    let mut terms = observer.election("primary").observe().unwrap();
    let sees = tokio::spawn(async move {
        let mut seen = Vec::new();
        loop {
            let Some(leader) = terms.next().await.unwrap().leader else { continue };
            let last = leader.value.as_ref() == "last";
            seen.push(leader.term);
            if last {
                return seen;
            }
        }
    });
    for term in 0..TERMS {
        match term % 8 {
            2 | 5 => watched.break_all(),
            7 => {
                process.kill();
                let (next, server) = Process::server(dir.path(), None).await;
                process = next;
                watched.lead_to(server);
                worked.lead_to(server);
            }
            _ => {}
        }
        lead(&leader, &format!("term {term}")).await;
    }
    let last = leader.election("primary").wait(PATIENCE).campaign("last").await.unwrap();
    let seen = timeout(PATIENCE, sees).await.unwrap().unwrap();
    assert!(seen.is_sorted(), "{seen:?}");
    assert_eq!(seen.last(), Some(&last.term()));
    assert!(seen.len() > 2, "{seen:?}");
    last.resign().await.unwrap();
}

/// Returns when so many stand for election.
async fn candidates(rp: &Raceproof, count: usize) {
    let counted = async {
        while rp.election("primary").info().await.unwrap().candidates.len() != count {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, counted).await.unwrap();
}

async fn lead(leader: &Raceproof, value: &str) {
    let leads = timeout(PATIENCE, leader.election("primary").wait(PATIENCE).campaign(value)).await.unwrap().unwrap();
    leads.resign().await.unwrap();
}
