//! E1: one leader per term. E2: terms increase. E3: observers see terms in order, and each is told of every leader no
//! later than the leader is. E7: a leadership that is handed over goes to the successor that was named, and is gone. E6:
//! a candidate whose lease ended is told so, and does not lead under another. (That nobody is told it leads without a
//! live lease is judged with L8, that the hub leaves no candidate without an answer with L5.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use raceproof_core::id::{SessionId, Token};
use raceproof_core::wire::{Election, Event, Request, Response};

use super::{Invariant, Ledger, Pending};
use crate::world::clock::{Instant, SECOND};
use crate::world::fact::Fact;
use crate::world::net::LinkId;

/// The longest time in which a grant can be claimed whose candidate is not there to be told.
const CLAIM: u64 = 5 * SECOND;

/// Who was named to follow, when, and on which term: a copy of a campaign is told again of a term before it, which says
/// nothing of who follows.
#[derive(Clone, Copy, Debug)]
struct Named {
    session: SessionId,
    at: Instant,
    term: Token,
}

#[derive(Debug, Default)]
pub(super) struct Elections {
    leaders: BTreeMap<(Arc<str>, Token), SessionId>,
    newest: BTreeMap<Arc<str>, Token>,
    /// The last term that each observing connection was told of.
    pushed: BTreeMap<(LinkId, Arc<str>), Token>,
    /// Connections that observe, as the hub has it.
    observing: BTreeSet<(LinkId, Arc<str>)>,
    /// Leaders who were told so for the first time in the present input.
    told: Vec<(Arc<str>, Token)>,
    observed: BTreeMap<(usize, u64), (Arc<str>, Option<Token>)>,
    named: BTreeMap<Arc<str>, Named>,
    resigned: BTreeSet<Token>,
    /// Who was named by a resignation that has no answer yet, and for what.
    naming: BTreeMap<Token, (Arc<str>, Named)>,
    /// Terms that the hub has said are over. A crash may undo what was not on disk.
    over: BTreeSet<Token>,
}

impl Invariant for Elections {
    fn name(&self) -> &'static str {
        "elections"
    }

    fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::HubDown => {
                self.forget(|_, _| true);
                self.over.clear();
                self.observing.clear();
                self.told.clear();
            }
            Fact::Led(election) => return self.led(election),
            Fact::Handled { .. } => return self.observers_are_told(),
            Fact::Believes { client, session, token, asked, .. } => {
                return stands_under_one_lease(ledger, *client, *session, *token, *asked);
            }
            Fact::Asked { link, session, request, .. } => self.asked(ledger, *link, session.map(|key| key.id), request),
            Fact::Disconnected { link } => {
                let gone = ledger.pending.iter().filter(|((on, _), _)| on == link);
                for index in gone.filter_map(|(_, pending)| pending.taking) {
                    self.stands_no_more(ledger, index);
                }
                self.observing.retain(|(on, _)| on != link);
            }
            Fact::Answered { link, seq, result: Ok(response) } => return self.answered(ledger, *link, *seq, response),
            Fact::Answered { link, seq, result: Err(_) } => {
                let Some(refused) = ledger.pending.get(&(*link, *seq)) else { return Ok(()) };
                match &*refused.request {
                    Request::Resign(resign) => {
                        self.naming.remove(&resign.term);
                    }
                    // What was named is one request of the successor's, and it may stand with another.
                    Request::Campaign(campaign) => {
                        self.forget(|election, named| *election == campaign.election && Some(named) == refused.session);
                    }
                    _ => {}
                }
            }
            Fact::Pushed { link, event: Event::Leader(election) } => {
                let Some(leader) = &election.leader else { return Ok(()) };
                self.leads(&election.election, leader.term, leader.session)?;
                return self.shown(*link, &election.election, leader.term);
            }
            Fact::Observed { client, observer, election, term } => {
                let seen = self.observed.entry((*client, *observer)).or_insert_with(|| ((*election).into(), None));
                if let (Some(before), Some(term)) = (seen.1, *term)
                    && term < before
                {
                    return Err(format!("an observer of client {client} saw term {before}, and then {term}"));
                }
                seen.1 = term.or(seen.1);
            }
            _ => {}
        }
        Ok(())
    }
}

impl Elections {
    fn asked(&mut self, ledger: &Ledger, link: LinkId, session: Option<SessionId>, request: &Request) {
        match request {
            // The successor may have been chosen, and have left before anybody heard of it.
            Request::Resume(resume) => self.forget(|_, named| named == resume.session.id),
            Request::Cancel { request } => {
                let bound = ledger.links.get(&link).and_then(|link| link.session);
                if let Some(leaves) = session.or(bound)
                    && let Some(index) = ledger.by_id.get(&(leaves.as_u64(), request.clone()))
                {
                    self.stands_no_more(ledger, *index);
                }
            }
            // A retry is told the same, when the successor may have led and left; and a leader that came back without
            // its term had resigned by that, in favour of nobody.
            Request::Resign(resign) => {
                if let Some(session) = resign.to
                    && self.resigned.insert(resign.term)
                    && ledger.grants.get(&resign.term.as_u64()).is_some_and(|grant| grant.over.is_none())
                {
                    let named = Named { session, at: ledger.at, term: resign.term };
                    self.naming.insert(resign.term, (resign.election.clone(), named));
                }
            }
            Request::Unobserve { election } => {
                self.observing.remove(&(link, election.clone()));
            }
            _ => {}
        }
    }

    fn forget(&mut self, leaves: impl Fn(&Arc<str>, SessionId) -> bool) {
        self.named.retain(|election, named| !leaves(election, named.session));
        self.naming.retain(|_, (election, named)| !leaves(election, named.session));
    }

    /// A request ends, which may have been what was chosen.
    fn stands_no_more(&mut self, ledger: &Ledger, index: usize) {
        if let Some(asked) = ledger.takings.get(index).filter(|asked| asked.taking.election) {
            self.forget(|election, named| named == asked.session && asked.taking.names.contains(election));
        }
    }

    /// The hub's own view: who leads has not stepped down.
    fn led(&mut self, election: &Election) -> Result<(), String> {
        let Some(leader) = &election.leader else { return Ok(()) };
        if self.over.contains(&leader.term) {
            return Err(format!("{:?} is led in term {}, which was given up", election.election, leader.term));
        }
        match self.leaders.get(&(election.election.clone(), leader.term)) {
            // A crash may yet undo what nobody was told of.
            Some(told) if *told != leader.session => {
                Err(format!("{:?} has two leaders in term {}", election.election, leader.term))
            }
            _ => Ok(()),
        }
    }

    /// A connection is told of a leader.
    fn shown(&mut self, link: LinkId, election: &Arc<str>, term: Token) -> Result<(), String> {
        let seen = self.pushed.entry((link, election.clone())).or_insert(term);
        if term < *seen {
            return Err(format!("link {link} was told of term {seen}, and then of {term}"));
        }
        *seen = term;
        Ok(())
    }

    /// Whoever observes hears of a leader in the same breath as the leader itself.
    fn observers_are_told(&mut self) -> Result<(), String> {
        for (election, term) in std::mem::take(&mut self.told) {
            for (link, _) in self.observing.iter().filter(|(_, of)| *of == election) {
                let seen = self.pushed.get(&(*link, election.clone()));
                if seen.is_none_or(|seen| *seen < term) {
                    return Err(format!(
                        "link {link} observes {election:?} and was told of {seen:?}, when {term} was told that it leads"
                    ));
                }
            }
        }
        Ok(())
    }

    fn answered(&mut self, ledger: &Ledger, link: LinkId, seq: u64, response: &Response) -> Result<(), String> {
        let Some(pending) = ledger.pending.get(&(link, seq)) else { return Ok(()) };
        match (response, &*pending.request) {
            (Response::Elected(leader), _) => {
                let first = !self.leaders.contains_key(&(leader.election.clone(), leader.term));
                self.leads(&leader.election, leader.term, leader.session)?;
                if Some(leader.session) != pending.session {
                    return Err(format!("session {:?} was told that {} leads", pending.session, leader.session));
                }
                if first {
                    self.told.push((leader.election.clone(), leader.term));
                }
                let newest = self.newest.entry(leader.election.clone()).or_insert(leader.term);
                if first && leader.term < *newest {
                    return Err(format!("{:?} had term {newest}, and then {}", leader.election, leader.term));
                }
                *newest = leader.term.max(*newest);
                self.follows(ledger, &leader.election, leader.term, leader.session)
            }
            (Response::Observing(state), Request::Observe { election }) => {
                self.observing.insert((link, election.clone()));
                state.leader.as_ref().map_or(Ok(()), |leader| self.shown(link, election, leader.term))
            }
            (Response::Released {}, Request::Resign(resign)) => {
                self.over.insert(resign.term);
                if let Some((election, to)) = self.naming.remove(&resign.term).filter(|_| resign.to.is_some()) {
                    self.named.insert(election, to);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn leads(&mut self, election: &Arc<str>, term: Token, session: SessionId) -> Result<(), String> {
        let leader = *self.leaders.entry((election.clone(), term)).or_insert(session);
        if self.named.get(election).is_some_and(|named| named.session == session && named.term < term) {
            self.named.remove(election);
        }
        // Served before the resignation was answered, which a retry may be much later.
        self.naming.retain(|resigned, (of, named)| of != election || named.session != session || *resigned > term);
        if leader == session {
            Ok(())
        } else {
            Err(format!("{election:?} has two leaders in term {term}: sessions {leader} and {session}"))
        }
    }

    /// The next leader is the one that was named, if it still stands.
    fn follows(&mut self, ledger: &Ledger, election: &Arc<str>, term: Token, session: SessionId) -> Result<(), String> {
        if self.named.get(election).is_some_and(|named| named.term > term) {
            return Ok(());
        }
        let named = self.named.remove(election).filter(|named| named.session != session);
        let Some(Named { session: named, at, .. }) = named else { return Ok(()) };
        let Some(leads) = ledger.sessions.get(&named.as_u64()) else { return Ok(()) };
        // Whoever is not there to be told has a while to claim the lead, and then it passes on (L4). A clock that runs
        // fast makes it shorter.
        let claim = CLAIM.min(leads.ttl / 2);
        let is_too_soon = ledger.at < at + claim - claim / 64;
        let stood = ledger.open.iter().filter_map(|index| Some((*index, ledger.takings.get(*index)?)));
        let stands = stood
            .filter(|(_, asked)| {
                asked.session == named && asked.taking.election && asked.taking.names.contains(election)
            })
            .any(|(index, _)| {
                let is_there = |pending: &Pending| pending.taking == Some(index) && pending.at <= at;
                is_too_soon || ledger.pending.values().any(is_there)
            });
        // One that stopped standing, or was served and left already, is followed by the next in line.
        let lives =
            leads.ended.is_none() && leads.believed_until > ledger.at && (leads.link.is_some() || !leads.socket);
        if stands && lives {
            return Err(format!("{election:?} was handed to session {named}, and session {session} leads"));
        }
        Ok(())
    }
}

/// Whoever leads has not stood for it under an earlier lease, the end of which it was not told of.
fn stands_under_one_lease(
    ledger: &Ledger,
    client: usize,
    session: SessionId,
    term: Token,
    asked: Instant,
) -> Result<(), String> {
    let Some(grant) = ledger.grants.get(&term.as_u64()).filter(|grant| grant.taking.election) else { return Ok(()) };
    let started = ledger.started.get(&client).copied().unwrap_or_default();
    let earlier = ledger.takings.iter().rev().take_while(|stood| stood.at >= asked).find(|stood| {
        let under = ledger.sessions.get(&stood.session.as_u64());
        stood.taking.election
            && stood.taking.id == grant.taking.id
            && stood.session != session
            && under.is_some_and(|under| under.client == client && under.believed_from.is_some_and(|at| at >= started))
    });
    match earlier {
        Some(stood) => Err(format!(
            "client {client} leads in term {term} of session {session}, and stood for it in session {}, which is over",
            stood.session
        )),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use raceproof_core::id::{Epoch, RequestId, SessionKey};
    use raceproof_core::wire::{Campaign, Leader, LockPage, OnDisconnect, Open, Resign, Resume};

    use super::*;
    use crate::world::clock::MS;

    #[derive(Default)]
    struct Bench {
        ledger: Ledger,
        elections: Elections,
        seq: u64,
    }

    fn session(id: u64) -> SessionKey {
        SessionKey { id: SessionId::new(id), secret: 0 }
    }

    fn elected(term: u64, id: u64) -> Response {
        Response::Elected(Leader {
            election: "e".into(),
            term: Token::new(term),
            value: "".into(),
            session: SessionId::new(id),
            session_name: "".into(),
            lease_ms: 200,
        })
    }

    fn campaign() -> Request {
        campaign_as("c")
    }

    fn campaign_as(id: &str) -> Request {
        let request = Some(RequestId::new(id));
        Request::Campaign(Campaign { election: "e".into(), request, value: "".into(), wait_ms: 1_000 })
    }

    impl Bench {
        /// Sessions 1 to 3, with a lease of 200 ms, each on the link of its number.
        fn new() -> Self {
            let mut bench = Self::default();
            let none = LockPage { locks: Vec::new(), next: None };
            bench.see(&Fact::HubUp { run: 1, table: &none }).expect("fine");
            for id in 1..=3 {
                bench.connect(id);
                let open = Open { name: "".into(), ttl_ms: 200, on_disconnect: OnDisconnect::Keep };
                let seq = bench.ask(id, Request::Open(open));
                let opened = Response::Opened { session: session(id as u64), ttl_ms: 200, epoch: Epoch::new(1) };
                bench.answer(id, seq, opened).expect("fine");
                let until = SECOND;
                bench.see(&Fact::Lease { client: id, session: SessionId::new(id as u64), until }).expect("fine");
            }
            bench
        }

        fn see(&mut self, fact: &Fact<'_>) -> Result<(), String> {
            let seen = self.elections.see(&self.ledger, fact);
            self.ledger.apply(fact);
            seen
        }

        fn connect(&mut self, link: LinkId) {
            self.see(&Fact::Connected { link, client: link, http: false }).expect("fine");
        }

        fn ask(&mut self, link: LinkId, request: Request) -> u64 {
            self.seq += 1;
            let seq = self.seq;
            self.see(&Fact::Asked { link, seq, session: None, request: &Rc::new(request) }).expect("fine");
            seq
        }

        fn answer(&mut self, link: LinkId, seq: u64, response: Response) -> Result<(), String> {
            self.see(&Fact::Answered { link, seq, result: &Ok(Box::new(response)) })
        }

        /// Session 2 stands on a connection that goes, and comes back on link 4.
        fn comes_back(&mut self) {
            self.ask(2, campaign());
            self.see(&Fact::Disconnected { link: 2 }).expect("fine");
            self.connect(4);
            let pending = vec![RequestId::new("c")];
            let seq = self.ask(4, Request::Resume(Resume { session: session(2), attempt: 1, held: vec![], pending }));
            let resumed = Response::Resumed { ttl_ms: 200, epoch: Epoch::new(1), held: vec![], lost: vec![] };
            self.answer(4, seq, resumed).expect("fine");
        }

        /// Session 1 hands over to session 2 at 10 ms, and session 3 leads at `at`.
        fn another_leads(&mut self, led: u64, at: Instant) -> Result<(), String> {
            let stands = self.ask(3, campaign());
            self.answer(1, led, elected(1, 1)).expect("fine");
            self.ledger.at = 10 * MS;
            let resign = Resign { election: "e".into(), term: Token::new(1), to: Some(SessionId::new(2)) };
            let seq = self.ask(1, Request::Resign(resign));
            self.answer(1, seq, Response::Released {}).expect("fine");
            self.ledger.at = at;
            self.answer(3, stands, elected(3, 3))
        }
    }

    #[test]
    fn e7_a_lead_passes_on_when_the_successor_is_not_there_to_claim_it() {
        for (at, is_fine) in [(20 * MS, false), (100 * MS, false), (110 * MS, true)] {
            let mut bench = Bench::new();
            let led = bench.ask(1, campaign());
            bench.comes_back();
            assert_eq!(bench.another_leads(led, at).is_ok(), is_fine, "at {at}");
        }
    }

    #[test]
    fn e7_a_lead_does_not_pass_on_while_the_successor_waits_for_its_answer() {
        for at in [20 * MS, 110 * MS, 150 * MS] {
            let mut bench = Bench::new();
            let led = bench.ask(1, campaign());
            bench.comes_back();
            bench.ask(4, campaign());
            assert!(bench.another_leads(led, at).is_err(), "at {at}");
        }
    }

    #[test]
    fn e7_a_copy_of_a_campaign_is_told_of_an_earlier_term_and_takes_nothing_from_the_successor() {
        for copy_of in [2, 3] {
            let mut bench = Bench::new();
            let before = bench.ask(copy_of, campaign_as("copied"));
            bench.answer(copy_of, before, elected(4, copy_of as u64)).expect("fine");
            let (led, copy, stands) =
                (bench.ask(1, campaign()), bench.ask(copy_of, campaign_as("copied")), bench.ask(3, campaign()));
            bench.ask(2, campaign());
            bench.answer(1, led, elected(5, 1)).expect("fine");
            let resign = Resign { election: "e".into(), term: Token::new(5), to: Some(SessionId::new(2)) };
            let seq = bench.ask(1, Request::Resign(resign));
            bench.answer(1, seq, Response::Released {}).expect("fine");
            assert!(bench.answer(copy_of, copy, elected(4, copy_of as u64)).is_ok(), "it led before");
            assert!(
                bench.answer(3, stands, elected(6, 3)).is_err(),
                "another leads after the one that was handed over"
            );
        }
    }

    #[test]
    fn e3_observers_hear_of_a_leader_no_later_than_the_leader() {
        let mut bench = Bench::new();
        let seq = bench.ask(3, Request::Observe { election: "e".into() });
        let nobody = Election { election: "e".into(), ..Election::default() };
        bench.answer(3, seq, Response::Observing(nobody.clone())).expect("fine");
        let lead = |bench: &mut Bench, term, pushed: bool| {
            let seq = bench.ask(
                1,
                Request::Campaign(Campaign { election: "e".into(), request: None, value: "".into(), wait_ms: 0 }),
            );
            bench.answer(1, seq, elected(term, 1)).expect("fine");
            if pushed {
                let Response::Elected(leader) = elected(term, 1) else { panic!("a leader") };
                let event = Event::Leader(Election { leader: Some(leader), ..nobody.clone() });
                bench.see(&Fact::Pushed { link: 3, event: &event }).expect("fine");
            }
            bench.see(&Fact::Handled { appends: 1, release: false })
        };
        assert!(lead(&mut bench, 1, true).is_ok());
        assert!(lead(&mut bench, 2, false).is_err());
        bench.see(&Fact::Disconnected { link: 3 }).expect("fine");
        assert!(lead(&mut bench, 3, false).is_ok(), "it does not observe any more");
    }
}
