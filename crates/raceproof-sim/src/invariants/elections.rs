//! E1: one leader per term. E2: terms increase. E3: observers see terms in order, and in the end the latest. E7: a
//! leadership that is handed over goes to the successor that was named, and is gone. E6: a candidate whose lease ended
//! is told so, and does not lead under another. (That nobody is told it leads without a live lease is judged with L8,
//! that the hub leaves no candidate without an answer with L5.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use raceproof_core::id::{SessionId, Token};
use raceproof_core::wire::{Election, Event, Request, Response};

use super::{Invariant, Ledger};
use crate::world::clock::Instant;
use crate::world::fact::Fact;
use crate::world::net::LinkId;

#[derive(Debug, Default)]
pub(super) struct Elections {
    leaders: BTreeMap<(Arc<str>, Token), SessionId>,
    newest: BTreeMap<Arc<str>, Token>,
    pushed: BTreeMap<(LinkId, Arc<str>), Token>,
    observed: BTreeMap<(usize, u64), (Arc<str>, Option<Token>)>,
    /// Who was named to follow.
    named: BTreeMap<Arc<str>, SessionId>,
    resigned: BTreeSet<Token>,
    /// Who was named by a resignation that has no answer yet, and for what.
    naming: BTreeMap<Token, (Arc<str>, SessionId)>,
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
            }
            Fact::Led(election) => return self.led(election),
            Fact::Believes { client, session, token, asked, .. } => {
                return stands_under_one_lease(ledger, *client, *session, *token, *asked);
            }
            // The successor may have been chosen, and have left before anybody heard of it.
            Fact::Asked { request, .. } if matches!(&***request, Request::Resume(_)) => {
                if let Request::Resume(resume) = &***request {
                    self.forget(|_, named| named == resume.session.id);
                }
            }
            Fact::Asked { link, session, request, .. } if matches!(&***request, Request::Cancel { .. }) => {
                let bound = ledger.links.get(link).and_then(|link| link.session);
                if let Request::Cancel { request } = &***request
                    && let Some(leaves) = session.as_ref().map(|key| key.id).or(bound)
                    && let Some(index) = ledger.by_id.get(&(leaves.as_u64(), request.clone()))
                {
                    self.stands_no_more(ledger, *index);
                }
            }
            // A retry is told the same, when the successor may have led and left; and a leader that came back without
            // its term had resigned by that, in favour of nobody.
            Fact::Asked { request, .. } => {
                if let Request::Resign(resign) = &***request
                    && let Some(to) = resign.to
                    && self.resigned.insert(resign.term)
                    && ledger.grants.get(&resign.term.as_u64()).is_some_and(|grant| grant.over.is_none())
                {
                    self.naming.insert(resign.term, (resign.election.clone(), to));
                }
            }
            Fact::Disconnected { link } => {
                let gone = ledger.pending.iter().filter(|((on, _), _)| on == link);
                for index in gone.filter_map(|(_, pending)| pending.taking) {
                    self.stands_no_more(ledger, index);
                }
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
                let seen = self.pushed.entry((*link, election.election.clone())).or_insert(leader.term);
                if leader.term < *seen {
                    return Err(format!("link {link} was told of term {seen}, and then of {}", leader.term));
                }
                *seen = leader.term;
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
    fn forget(&mut self, leaves: impl Fn(&Arc<str>, SessionId) -> bool) {
        self.named.retain(|election, named| !leaves(election, *named));
        self.naming.retain(|_, (election, named)| !leaves(election, *named));
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

    fn answered(&mut self, ledger: &Ledger, link: LinkId, seq: u64, response: &Response) -> Result<(), String> {
        let Some(pending) = ledger.pending.get(&(link, seq)) else { return Ok(()) };
        match (response, &*pending.request) {
            (Response::Elected(leader), _) => {
                let first = !self.leaders.contains_key(&(leader.election.clone(), leader.term));
                self.leads(&leader.election, leader.term, leader.session)?;
                if Some(leader.session) != pending.session {
                    return Err(format!("session {:?} was told that {} leads", pending.session, leader.session));
                }
                let newest = self.newest.entry(leader.election.clone()).or_insert(leader.term);
                if first && leader.term < *newest {
                    return Err(format!("{:?} had term {newest}, and then {}", leader.election, leader.term));
                }
                *newest = leader.term.max(*newest);
                self.follows(ledger, &leader.election, leader.session)
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
        if self.named.get(election) == Some(&session) {
            self.named.remove(election);
        }
        // Served before the resignation was answered, which a retry may be much later.
        self.naming.retain(|resigned, (of, named)| of != election || *named != session || *resigned > term);
        if leader == session {
            Ok(())
        } else {
            Err(format!("{election:?} has two leaders in term {term}: sessions {leader} and {session}"))
        }
    }

    /// The next leader is the one that was named, if it still stands.
    fn follows(&mut self, ledger: &Ledger, election: &Arc<str>, session: SessionId) -> Result<(), String> {
        let Some(named) = self.named.remove(election).filter(|named| *named != session) else { return Ok(()) };
        let stands = ledger
            .open
            .iter()
            .filter_map(|index| ledger.takings.get(*index))
            .any(|asked| asked.session == named && asked.taking.election && asked.taking.names.contains(election));
        // One that stopped standing, or was served and left already, is followed by the next in line.
        let lives = ledger.sessions.get(&named.as_u64()).is_some_and(|session| {
            session.ended.is_none() && session.believed_until > ledger.at && (session.link.is_some() || !session.socket)
        });
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
