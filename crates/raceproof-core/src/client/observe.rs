//! Observers of elections: subscribed again on each connection, and told only what is newer than what they know (E3).

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use super::connection::{InFlight, Link};
use super::error::{OpError, Refused, RefusedReason};
use super::{Client, Output};
use crate::id::Token;
use crate::time::Time;
use crate::wire::{Election, Problem, Request, Response};

/// Names an observer within its client; never reused.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct ObserverId(u64);

type News = VecDeque<Result<Election, OpError>>;

#[derive(Debug, Default)]
pub(super) struct Observers {
    started: u64,
    elections: BTreeMap<Arc<str>, Subscription>,
    observers: BTreeMap<ObserverId, (Arc<str>, News)>,
}

/// What all observers of one election know.
#[derive(Debug, Default)]
struct Subscription {
    observers: usize,
    term_max: Option<Token>,
    last: Option<Election>,
}

impl Subscription {
    /// Whether this is newer than what is known: a later term, or the end of the known one.
    fn accepts(&self, election: &Election) -> bool {
        match (&election.leader, &self.last) {
            (_, None) => true,
            (Some(leader), Some(_)) => self.term_max.is_none_or(|term| leader.term > term),
            (None, Some(last)) => last.leader.is_some(),
        }
    }
}

impl Client {
    /// Observes an election: the leader as the hub knows it, then every change.
    ///
    /// # Errors
    /// Gives the name back when the client takes no more.
    pub fn observe(&mut self, now: Time, election: Arc<str>) -> Result<ObserverId, Refused<Arc<str>>> {
        let limit = self.config.pending_max;
        if self.closing || matches!(self.link, Link::Over) {
            let reason = match (&self.failure, self.closing) {
                (Some(failure), false) => RefusedReason::Failed(failure.clone()),
                _ => RefusedReason::Closed,
            };
            return Err(Refused { item: election, reason });
        }
        if self.observers.observers.len() >= limit {
            return Err(Refused { item: election, reason: RefusedReason::Full { limit } });
        }
        self.observers.started += 1;
        let id = ObserverId(self.observers.started);
        let subscription = self.observers.elections.entry(Arc::clone(&election)).or_default();
        subscription.observers += 1;
        let first = subscription.observers == 1;
        let known: News = subscription.last.clone().map(Ok).into_iter().collect();
        if !known.is_empty() {
            self.outputs.push_back(Output::Observed { observer: id });
        }
        self.observers.observers.insert(id, (Arc::clone(&election), known));
        if first && self.is_bound() {
            let about = InFlight::Observe(Arc::clone(&election));
            self.send(Request::Observe { election }, about);
        }
        self.tick(now);
        Ok(id)
    }

    /// The next news for an observer. After an error there is none.
    pub fn observed(&mut self, observer: ObserverId) -> Option<Result<Election, OpError>> {
        self.observers.observers.get_mut(&observer)?.1.pop_front()
    }

    /// The observer is gone.
    pub fn unobserve(&mut self, now: Time, observer: ObserverId) {
        if let Some((election, _)) = self.observers.observers.remove(&observer)
            && let Some(subscription) = self.observers.elections.get_mut(&election)
        {
            subscription.observers -= 1;
            if subscription.observers == 0 {
                self.observers.elections.remove(&election);
                if self.is_bound() {
                    self.send(Request::Unobserve { election }, InFlight::Aside);
                }
            }
        }
        self.tick(now);
    }

    pub(super) fn resubscribe(&mut self) {
        let elections: Vec<Arc<str>> = self.observers.elections.keys().cloned().collect();
        for election in elections {
            let about = InFlight::Observe(Arc::clone(&election));
            self.send(Request::Observe { election }, about);
        }
    }

    pub(super) fn observe_answered(
        &mut self,
        now: Time,
        election: &Arc<str>,
        answer: Result<Box<Response>, Box<Problem>>,
    ) {
        match answer.map(|response| *response) {
            Ok(Response::Observing(state)) => self.leader_changed(state),
            Ok(_) => self.wrong_answer(now, "observe"),
            Err(problem) => {
                self.observers.elections.remove(election);
                self.tell(election, &Err(OpError::Refused(problem)));
            }
        }
    }

    pub(super) fn leader_changed(&mut self, election: Election) {
        let Some(subscription) = self.observers.elections.get_mut(&election.election) else { return };
        if !subscription.accepts(&election) {
            return;
        }
        if let Some(leader) = &election.leader {
            subscription.term_max = Some(leader.term);
        }
        subscription.last = Some(election.clone());
        let name = Arc::clone(&election.election);
        self.tell(&name, &Ok(election));
    }

    pub(super) fn end_observations(&mut self, error: &OpError) {
        for (election, _) in std::mem::take(&mut self.observers.elections) {
            self.tell(&election, &Err(error.clone()));
        }
    }

    fn tell(&mut self, election: &Arc<str>, news: &Result<Election, OpError>) {
        for (id, (of, queue)) in &mut self.observers.observers {
            if of == election {
                if queue.len() >= self.config.observed_max {
                    // A slow observer skips terms; it never sees them out of order, and the latest is always there.
                    queue.pop_front();
                }
                queue.push_back(news.clone());
                self.outputs.push_back(Output::Observed { observer: *id });
            }
        }
    }
}
