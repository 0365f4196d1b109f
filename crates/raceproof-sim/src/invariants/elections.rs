//! E1: one leader per term. E2: terms increase. E3: observers see terms in order, and in the end the latest. E7: a
//! leadership that is handed over goes to the successor that was named. (E6, that nobody is told it leads without a
//! live lease and every candidate gets an answer, is judged with L1, L8 and the end of the run.)

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use raceproof_core::id::{SessionId, Token};
use raceproof_core::wire::{Event, Request, Response};

use super::{Invariant, Ledger};
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
    /// Who was named by a resignation that has no answer yet.
    naming: BTreeMap<Token, SessionId>,
}

impl Invariant for Elections {
    fn name(&self) -> &'static str {
        "elections"
    }

    fn see(&mut self, ledger: &Ledger, fact: &Fact<'_>) -> Result<(), String> {
        match fact {
            Fact::HubDown => self.forget(|_| true),
            // The successor may have been chosen, and have left before anybody heard of it.
            Fact::Asked { request, .. } if matches!(&***request, Request::Resume(_)) => {
                if let Request::Resume(resume) = &***request {
                    self.forget(|named| named == resume.session.id);
                }
            }
            Fact::Asked { link, session, request, .. } if matches!(&***request, Request::Cancel { .. }) => {
                let bound = ledger.links.get(link).and_then(|link| link.session);
                let leaves = session.as_ref().map(|key| key.id).or(bound);
                self.forget(|named| Some(named) == leaves);
            }
            // A retry is told the same, when the successor may have led and left; and a leader that came back without
            // its term had resigned by that, in favour of nobody.
            Fact::Asked { request, .. } => {
                if let Request::Resign(resign) = &***request
                    && let Some(to) = resign.to
                    && self.resigned.insert(resign.term)
                    && ledger.grants.get(&resign.term.as_u64()).is_some_and(|grant| grant.over.is_none())
                {
                    self.naming.insert(resign.term, to);
                }
            }
            Fact::Disconnected { link } => {
                let gone = ledger.pending.iter().filter(|((on, _), _)| on == link);
                let leave: Vec<_> = gone.filter_map(|(_, pending)| pending.session).collect();
                self.forget(|named| leave.contains(&named));
            }
            Fact::Answered { link, seq, result: Ok(response) } => return self.answered(ledger, *link, *seq, response),
            Fact::Answered { link, seq, result: Err(_) } => {
                let Some(refused) = ledger.pending.get(&(*link, *seq)) else { return Ok(()) };
                match &*refused.request {
                    Request::Resign(resign) => {
                        self.naming.remove(&resign.term);
                    }
                    // What was named is one request of the successor's, and it may stand with another.
                    Request::Campaign(_) => self.forget(|named| Some(named) == refused.session),
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
    fn forget(&mut self, leaves: impl Fn(SessionId) -> bool) {
        self.named.retain(|_, named| !leaves(*named));
        self.naming.retain(|_, named| !leaves(*named));
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
                if let Some(to) = self.naming.remove(&resign.term).filter(|_| resign.to.is_some()) {
                    self.named.insert(resign.election.clone(), to);
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
            session.ended.is_none() && session.believed_until > ledger.at && session.link.is_some()
        });
        if stands && lives {
            return Err(format!("{election:?} was handed to session {named}, and session {session} leads"));
        }
        Ok(())
    }
}
