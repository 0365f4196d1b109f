use super::*;
use crate::wire::{Election, Page};

fn campaign(value: &str, wait_ms: u64) -> Request {
    campaign_in("primary", value, wait_ms)
}

fn campaign_in(election: &str, value: &str, wait_ms: u64) -> Request {
    Request::Campaign(Campaign { election: election.into(), request: None, value: value.into(), wait_ms })
}

fn listing(prefix: &str, after: Option<&str>, limit: u32) -> Request {
    Request::Elections(Page { prefix: prefix.into(), after: after.map(Into::into), limit })
}

impl Bench {
    fn elected(&mut self, asked: Asked) -> Leader {
        match self.answer(asked) {
            Some(Ok(Response::Elected(leader))) => leader,
            other => panic!("not elected: {other:?}"),
        }
    }

    fn terms_seen(&mut self, conn: ConnId) -> Vec<Option<u64>> {
        let events = std::mem::take(&mut self.events);
        let leaders = events.into_iter().filter(|(to, _)| *to == conn).filter_map(|(_, event)| match event {
            Event::Leader(election) => Some(election.leader.map(|leader| leader.term.as_u64())),
            _ => None,
        });
        leaders.collect()
    }

    fn listed(&mut self, conn: ConnId, request: Request) -> (Vec<Election>, Option<Arc<str>>) {
        match self.ask(conn, request).expect("a page") {
            Response::Elections(page) => (page.elections, page.next),
            other => panic!("not a page of elections: {other:?}"),
        }
    }
}

#[test]
fn e1_e2_one_leader_at_a_time_with_increasing_terms() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let first = bench.send(a.conn, None, campaign("a:80", 0));
    let first = bench.elected(first);
    assert_eq!(&*first.value, "a:80");
    let second = bench.send(b.conn, None, campaign("b:80", u64::MAX));
    assert!(bench.waits(second));
    bench.crash();
    let (a, _) = bench.resume(a, vec![held(first.term, "primary", Class::Durable)], &[]);
    let (b, _) = bench.resume(b, vec![], &[]);
    let second = bench.send(b.conn, None, campaign("b:80", u64::MAX));
    assert!(bench.waits(second), "a leads through the restart");
    let resign = Resign { election: "primary".into(), term: first.term, to: None };
    bench.ask(a.conn, Request::Resign(resign)).expect("it led");
    assert!(bench.elected(second).term > first.term);
}

#[test]
fn e3_observers_see_every_term_in_order_and_the_latest_first() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let asked = bench.send(a.conn, None, campaign("a", 0));
    let first = bench.elected(asked);
    let watcher = bench.connect(ConnKind::Socket);
    let shown = bench.ask(watcher, Request::Observe { election: "primary".into() }).expect("shown");
    let Response::Observing(election) = shown else { panic!("{shown:?}") };
    assert_eq!(election.leader.map(|leader| leader.term), Some(first.term));
    let second = bench.send(b.conn, None, campaign("b", u64::MAX));
    bench.ask(a.conn, Request::End {}).expect("ended");
    let second = bench.elected(second).term;
    bench.ask(b.conn, Request::End {}).expect("ended");
    assert_eq!(bench.terms_seen(watcher), [Some(second.as_u64()), Some(second.as_u64()), None][1..]);
    bench.disconnect(watcher);
    let c = bench.client("c");
    let asked = bench.send(c.conn, None, campaign("c", 0));
    bench.elected(asked);
    assert_eq!(bench.terms_seen(watcher), []);
}

#[test]
fn e3_a_leader_is_announced_only_once_its_term_is_on_disk() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    let watcher = bench.connect(ConnKind::Socket);
    bench.ask(watcher, Request::Observe { election: "primary".into() }).expect("shown");
    bench.slow_disk = true;
    bench.send(a.conn, None, campaign("a", 0));
    assert_eq!(bench.terms_seen(watcher), []);
    bench.flush();
    assert_eq!(bench.terms_seen(watcher).len(), 1);
}

#[test]
fn e3_a_candidate_that_comes_or_goes_is_no_news_and_holds_nothing_up() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let watcher = bench.connect(ConnKind::Socket);
    let asked = bench.send(a.conn, None, campaign("a", 0));
    let term = bench.elected(asked).term;
    bench.ask(watcher, Request::Observe { election: "primary".into() }).expect("shown");
    let late = bench.send(b.conn, None, campaign("b", 50));
    bench.pass(50);
    assert_eq!(bench.refused(late).code, Code::WaitTimedOut);
    assert_eq!(bench.terms_seen(watcher), []);
    assert_eq!(bench.hub.stats().held, 0, "nobody waits for a record that is not written");
    bench.ask(watcher, Request::Election { name: "primary".into() }).expect("shown at once");
    // The next leader's record is asked to be flushed, not left to the store's leisure.
    let next = bench.send(b.conn, None, campaign("b", u64::MAX));
    let wishes = bench.flush_wishes;
    bench.ask(a.conn, Request::Resign(Resign { election: "primary".into(), term, to: None })).expect("it led");
    assert_eq!(bench.flush_wishes, wishes + 1);
    let next = bench.elected(next).term;
    assert_eq!(bench.terms_seen(watcher), [Some(next.as_u64())]);
}

#[test]
fn e6_a_candidate_whose_lease_ends_gets_an_error() {
    let mut bench = Bench::new();
    let a = bench.client_with("a", 60_000, OnDisconnect::Keep);
    let b = bench.client_with("b", 500, OnDisconnect::Keep);
    bench.send(a.conn, None, campaign("a", 0));
    let waiting = bench.send(b.conn, None, campaign("b", u64::MAX));
    bench.pass(500);
    assert_eq!(bench.refused(waiting).code, Code::SessionUnknown);
}

#[test]
fn e7_a_transfer_goes_to_the_named_candidate_before_all_others() {
    let mut bench = Bench::new();
    let (a, b, c) = (bench.client("a"), bench.client("b"), bench.client("c"));
    let asked = bench.send(a.conn, None, campaign("a", 0));
    let term = bench.elected(asked).term;
    let first_in_line = bench.send(b.conn, None, campaign("b", u64::MAX));
    let chosen = bench.send(c.conn, None, campaign("c", u64::MAX));
    let resign = |to| Request::Resign(Resign { election: "primary".into(), term, to });
    let stranger = SessionId::new(999);
    assert_eq!(bench.ask(a.conn, resign(Some(stranger))).expect_err("not standing").code, Code::NotCandidate);
    bench.ask(a.conn, resign(Some(c.key.id))).expect("it leads");
    assert!(bench.waits(first_in_line));
    assert!(bench.elected(chosen).term > term);
}

#[test]
fn l12_a_campaign_that_is_asked_again_after_its_term_is_answered_as_the_first_time() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    let named = || {
        let request = Some(RequestId::new("r"));
        Request::Campaign(Campaign { election: "primary".into(), request, value: "a:80".into(), wait_ms: 0 })
    };
    let asked = bench.send(a.conn, None, named());
    let leader = bench.elected(asked);
    let resign = Resign { election: "primary".into(), term: leader.term, to: None };
    bench.ask(a.conn, Request::Resign(resign)).expect("it led");
    let late = bench.send(a.conn, None, named());
    assert_eq!(bench.elected(late), leader);
}

#[test]
fn an_election_and_a_lock_of_one_name_are_strangers() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    bench.take(a, "primary");
    let asked = bench.send(b.conn, None, campaign("b", 0));
    bench.elected(asked);
    assert_eq!(bench.look("primary").0.len(), 1);
}

#[test]
fn a_listing_shows_each_election_as_a_look_at_it_does() {
    let mut bench = Bench::new();
    let (a, b, c) = (bench.client("a"), bench.client("b"), bench.client("c"));
    bench.hub.set_wall_clock(bench.now, 1_700_000_000_000);
    let asked = bench.send(a.conn, None, campaign("a:80", 0));
    let leader = bench.elected(asked);
    bench.pass(30);
    bench.send(b.conn, None, campaign("b:80", u64::MAX));
    bench.pass(20);
    bench.send(c.conn, None, campaign("c:80", u64::MAX));
    let watcher = bench.connect(ConnKind::Request);
    let (elections, next) = bench.listed(watcher, listing("", None, 100));
    let [election] = elections.as_slice() else { panic!("one election: {elections:?}") };
    assert_eq!((&election.leader, next), (&Some(leader), None));
    assert_eq!((election.led_ms, election.lease_left_ms), (Some(50), Some(9_950)));
    let candidates: Vec<_> = election.candidates.iter().map(|c| (&*c.session_name, c.position, c.age_ms)).collect();
    assert_eq!((candidates, election.candidates_count), (vec![("b", 1, 20), ("c", 2, 0)], Some(2)));
    let shown = bench.ask(watcher, Request::Election { name: "primary".into() }).expect("shown");
    assert_eq!(shown, Response::Election(election.clone()));
}

#[test]
fn elections_are_paged_in_name_order_and_one_that_nobody_cares_for_is_not_there() {
    let mut bench = Bench::new();
    let a = bench.client("a");
    for name in ["b/2", "a/1", "b/1", "b/3", "b/gone", "c"] {
        let asked = bench.send(a.conn, None, campaign_in(name, "a", 0));
        let term = bench.elected(asked).term;
        if name == "b/gone" {
            let resign = Resign { election: name.into(), term, to: None };
            bench.ask(a.conn, Request::Resign(resign)).expect("it led");
        }
    }
    bench.take(a, "b/lock");
    bench.ask(a.conn, Request::Observe { election: "b/observed".into() }).expect("shown");
    let mut page = |prefix: &str, after: Option<&str>, limit| {
        let (elections, next) = bench.listed(a.conn, listing(prefix, after, limit));
        let names: Vec<_> = elections.iter().map(|election| election.election.to_string()).collect();
        (names.join(" "), next)
    };
    assert_eq!(page("b/", None, 2), ("b/1 b/2".into(), Some("b/2".into())));
    assert_eq!(page("b/", Some("b/2"), 2), ("b/3".into(), None));
    assert_eq!(page("", None, 0), ("a/1".into(), Some("a/1".into())));
    assert_eq!(page("d", None, 100), (String::new(), None));
}

#[test]
fn e3_a_listing_shows_a_leader_only_once_its_term_is_on_disk() {
    let mut bench = Bench::new();
    let (a, watcher) = (bench.client("a"), bench.connect(ConnKind::Request));
    bench.slow_disk = true;
    let asked = bench.send(a.conn, None, campaign("a", 0));
    let listed = bench.send(watcher, None, listing("", None, 100));
    assert!(bench.waits(listed));
    bench.flush();
    let term = bench.elected(asked).term;
    let Some(Ok(Response::Elections(page))) = bench.answer(listed) else { panic!("a page of elections") };
    assert_eq!(page.elections[0].leader.as_ref().map(|leader| leader.term), Some(term));
}

#[test]
fn e3_an_event_says_who_leads_and_nothing_that_changes_without_one() {
    let mut bench = Bench::new();
    let (a, b) = (bench.client("a"), bench.client("b"));
    let watcher = bench.connect(ConnKind::Socket);
    bench.ask(watcher, Request::Observe { election: "primary".into() }).expect("shown");
    let asked = bench.send(a.conn, None, campaign("a", 0));
    let first = bench.elected(asked);
    let second = bench.send(b.conn, None, campaign("b", u64::MAX));
    bench.ask(a.conn, Request::Resign(Resign { election: "primary".into(), term: first.term, to: None })).expect("led");
    let second = bench.elected(second);
    let told = |leader| Event::Leader(Election { election: "primary".into(), leader, ..Election::default() });
    assert_eq!(bench.events, [(watcher, told(Some(first))), (watcher, told(Some(second)))]);
}
